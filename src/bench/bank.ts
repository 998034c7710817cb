/**
 * `mneme bench bank`: what reading, encoding, asking and keeping cost a memory of compressed documents.
 * docs/benchmarks.md says what each measure is.
 */
import { join } from "node:path";
import { defaultModel, embeddedFolder } from "../models/embedded.ts";
import { bytes } from "./bank-bytes.ts";
import { askMs, encodeMs } from "./bank-documents.ts";
import { readGrowth } from "./bank-read.ts";
import { defineSuite } from "./suite.ts";

export const bankBench = defineSuite(
  "bank",
  { readGrowth, encodeMs, askMs, bytes },
  { model: join(embeddedFolder, defaultModel), data: ["module"] },
);
