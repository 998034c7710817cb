/** What a model card says by the kind of model; the rest is the same for all (export-model.ts). */
import type { Pretrained } from "../methods/pretrain.ts";
import type { Recipe } from "../methods/pretrain-recipe.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Session } from "./session.ts";

/** A validation text. */
export interface CardFile {
  readonly name: string;
  readonly bytes: number;
  readonly text: string;
}

export interface MeasureOptions {
  readonly recipe: Recipe;
  readonly validation: readonly CardFile[];
  readonly runtime: Runtime;
  readonly session: Session;
}

/** Scores of the float16 weights as they were written. */
export interface Measured {
  /** As fields of the command's result. */
  readonly fields: Readonly<Record<string, unknown>>;
  /** Rows of the card's first table. */
  readonly facts: readonly (readonly [name: string, value: string])[];
  /** A section of the card, in Markdown; empty for none. */
  readonly section: readonly string[];
  /** What is printed at the end. */
  readonly lines: readonly string[];
}

export interface CardKind {
  readonly pipeline: string;
  /** Ends in ", trained from nothing by this command:". */
  readonly summary: string;
  readonly lossUnit: string;
  /** JSON files beside config.json. */
  files(config: Pretrained["config"]): Readonly<Record<string, unknown>>;
  /** `folder` holds the finished model. */
  measure(folder: string, options: MeasureOptions): Promise<Measured>;
}

/** A Markdown table, its numbers to the right. */
export const tableOf = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map((_, i) => (i === 0 ? "---" : "---:")), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
