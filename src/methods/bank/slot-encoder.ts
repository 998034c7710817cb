/**
 * What makes slots of texts in memory bank compression, θ_amort and θ_input: tokens, and the graph over them. There are
 * two: our own, which reads states of the base (encoder.ts), and a T5 as in the papers (t5-encoder.ts). Letters as in
 * shape.ts; B texts of N tokens.
 */
import type { Weights } from "../../models/load.ts";
import type { Params } from "../../nn/params.ts";
import type { Tensor } from "../../tensor/graph.ts";
import type { Query } from "../method.ts";

export type Role = "document" | "question";

/** Texts with padding behind them, int32 [B, N] both; mask: 1 for tokens, 0 for padding. */
export interface TextInputs {
  readonly ids: Tensor;
  readonly mask: Tensor;
}

export interface SlotEncoder {
  /** Most tokens of a text. */
  readonly context: number;
  /** A document's tokens, however many. */
  documentIds(text: string): number[];
  /** A question's tokens, at most `context`: of longer ones the end. */
  questionIds(query: Query): number[];
  /** Frozen numbers that it has beside the base's and the module's, by name. */
  readonly weights: Weights;
  /** Its tensors in a module that no fit has seen: all that a fit trains of it. */
  fresh(seed: number): Weights;
  /** Numbers that a document's token meets on its way to the slots. */
  readonly parameters: number;
  /** Documents -> slots [B, T, D]; `p`: base, module and `weights`, without adapters. */
  documents(p: Params, texts: TextInputs): Tensor;
  /** Questions -> what the aggregator starts from, [B, T, D]. */
  questions(p: Params, texts: TextInputs): Tensor;
}
