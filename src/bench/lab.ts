/**
 * `mneme bench lab`: what a run of the laboratory costs, for every method of the catalogue on the embedded base model
 * and a small stream of fixed size, and what is won by answering many questions together.
 * docs/benchmarks.md says what each measure is and what disturbs it.
 */
import { join } from "node:path";
import { defaultModel, embeddedFolder } from "../models/embedded.ts";
import { batchSpeedup } from "./lab-batch.ts";
import { outsideRuntimeShare, secondsPer100Questions, secondsPer1000TrainingTokens } from "./lab-methods.ts";
import { defineSuite } from "./suite.ts";

export const labBench = defineSuite(
  "lab",
  { secondsPer1000TrainingTokens, secondsPer100Questions, outsideRuntimeShare, batchSpeedup },
  { model: join(embeddedFolder, defaultModel) },
);
