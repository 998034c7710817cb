/**
 * `mneme bench engine`: every number that the engine is held to, measured on this machine in one run. One file per
 * measure; docs/benchmarks.md says what each is and what disturbs it.
 */
import { join } from "node:path";
import { defaultModel, embeddedFolder } from "../models/embedded.ts";
import { coldStartMs } from "./cold-start.ts";
import { decodeBandwidthFraction } from "./decode.ts";
import { gemmFraction } from "./gemm.ts";
import { loadMs } from "./load.ts";
import { sparseRowUpdate } from "./sparse-rows.ts";
import { defineSuite } from "./suite.ts";
import { trainStepRatio } from "./train-step.ts";

export const engineBench = defineSuite(
  "engine",
  { trainStepRatio, gemmFraction, decodeBandwidthFraction, coldStartMs, loadMs, sparseRowUpdate },
  { model: join(embeddedFolder, defaultModel) },
);
