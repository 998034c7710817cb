/**
 * What a model is told beside its text, row by row: in every layer one more key and value that all tokens see, and
 * something added to the embeddings. A method computes it (from a memory, say); here it takes its way into the graph.
 * Letters: B rows, T tokens, L layers, K key/value heads, D head size, C width, A kinds of places.
 */
import { internal } from "../errors.ts";
import type { KeyValues } from "../nn/attention.ts";
import { float32Host, type HostTensor } from "../tensor/dtype.ts";
import { input, reshape, slice } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";
import type { ForwardInputs, Geometry } from "./model.ts";

export interface Condition {
  /** [L, K, D]: in each layer key and value alike, seen by every token. */
  readonly slots: Float32Array;
  /**
   * [A, C], added to the embeddings: row 1 + i to the token i places behind the prompt's last, row 0 to all before it
   * and to those behind the last row.
   */
  readonly added: Float32Array;
}

/** The condition of a row whose prompt ends at this position. */
export interface RowCondition extends Condition {
  readonly last: number;
}

/** A vector per layer, the same for key and value: slots [B, L, K, D] -> one place more for every layer. */
export function slotPrefix(slots: Tensor): KeyValues[] {
  const [B, L, K, D] = slots.shape;
  return Array.from({ length: Number(L) }, (_, layer) => {
    const own = reshape(slice(slots, { axis: 1, start: layer, end: layer + 1 }), [B, K, 1, D]);
    return { key: own, value: own };
  });
}

/** Graph inputs of a model that is told conditions. */
export function conditionInputs({
  layers,
  kvHeads,
  headDim,
  width,
}: Geometry): Pick<ForwardInputs, "prefix" | "added"> {
  return {
    prefix: slotPrefix(input("slots", "float32", ["B", layers, kvHeads, headDim])),
    added: input("added", "float32", ["B", "T", width]),
  };
}

/** Which row of `added` the token at a position gets. */
export function addedRow(position: number, last: number, count: number): number {
  const row = position - last + 1;
  return position >= last && row < count ? row : 0;
}

/** What those inputs are fed: conditions of B rows, positions [B, T] (negative: padding). */
export function conditionFeeds(
  { layers, kvHeads, headDim, width: C }: Geometry,
  rows: readonly RowCondition[],
  positions: ArrayLike<number>,
): Record<"slots" | "added", HostTensor<"float32">> {
  const B = rows.length;
  const T = positions.length / B;
  const size = layers * kvHeads * headDim;
  const slots = new Float32Array(B * size);
  const added = new Float32Array(B * T * C);
  for (const [b, row] of rows.entries()) {
    if (row.slots.length !== size || row.added.length % C !== 0)
      internal(`condition: ${row.slots.length} and ${row.added.length} numbers for ${size} and rows of ${C}`);
    slots.set(row.slots, b * size);
    for (let t = 0; t < T; t++) {
      const from = C * addedRow(positions[b * T + t], row.last, row.added.length / C);
      added.set(row.added.subarray(from, from + C), (b * T + t) * C);
    }
  }
  return {
    slots: float32Host([B, layers, kvHeads, headDim], slots),
    added: float32Host([B, T, C], added),
  };
}
