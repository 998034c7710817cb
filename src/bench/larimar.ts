/**
 * `mneme bench larimar`: what a write and a forget of the memory cost, how they and the bytes grow with the number of
 * facts, and how much faster a whole edit is than training it into weights. docs/benchmarks.md says what each measure is.
 */
import { join } from "node:path";
import { defaultModel, embeddedFolder } from "../models/embedded.ts";
import { editSpeedup, smallEditSpeedup } from "./larimar-edit.ts";
import { writeForgetMs, writeGrowth } from "./larimar-memory.ts";
import { defineSuite } from "./suite.ts";

export const larimarBench = defineSuite(
  "larimar",
  { writeForgetMs, writeGrowth, editSpeedup, smallEditSpeedup },
  { model: join(embeddedFolder, defaultModel), data: ["module"] },
);
