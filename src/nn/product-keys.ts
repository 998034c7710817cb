/**
 * Product keys: the best k of N = n * n slots found with 2 n comparisons. Paper: "Large Memory Layers with Product
 * Keys", https://arxiv.org/abs/1907.05242, section 3.2; several heads merged into one bag as in "Memory Layers at
 * Scale", https://arxiv.org/abs/2412.09764. A slot's key is a pair of half keys, so its score is the sum of two, and
 * only the k best of either half can be among the k best sums.
 * Letters: M queries, H heads, D key width, n half keys, K slots read per head, N slots, W value width.
 */
import {
  add,
  cast,
  div,
  gather,
  integer,
  matmul,
  mul,
  neg,
  reshape,
  slice,
  softmax,
  sqrt,
  square,
  sum,
  takeAlongAxis,
  topK,
  transpose,
} from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";
import { expectShape } from "../tensor/shape.ts";

/** Which slots a query reads, and how much of each: one bag of all heads. */
export interface SlotReads {
  /** int32 [M, H K]; a slot that several heads chose stands there several times. */
  readonly slots: Tensor;
  /** [M, H K]; those of a head add up to 1. */
  readonly weights: Tensor;
}

/**
 * The K best sums of two half scores, halves [H, 2, M, n] -> scores and int32 slots [H, M, K]: highest first, of equal
 * ones the lowest slot. Where rounding makes sums equal that are not, another of the equal ones may be among them.
 */
export function topSlots(halves: Tensor, k: number): { readonly scores: Tensor; readonly slots: Tensor } {
  const { H, M, n } = expectShape("topSlots", halves.shape, "H 2 M n");
  const [best, at] = topK(halves, k);
  // In rising order of half keys the sums below stand in rising order of slots, and topK prefers what comes first
  const [, order] = topK(neg(cast(at, "float32")), k);
  const half = (x: Tensor, i: number): Tensor =>
    reshape(slice(takeAlongAxis(x, order), { axis: 1, start: i, end: i + 1 }), [H, M, ...(i === 0 ? [k, 1] : [1, k])]);
  const sums = reshape(add(half(best, 0), half(best, 1)), [H, M, k * k]);
  const pairs = reshape(add(mul(half(at, 0), integer(Number(n))), half(at, 1)), [H, M, k * k]);
  const [scores, chosen] = topK(sums, k);
  return { scores, slots: takeAlongAxis(pairs, chosen) };
}

/** x / |x| over the last axis. */
const unit = (x: Tensor): Tensor => div(x, sqrt(add(sum(square(x), { axes: [-1], keepDims: true }), 1e-12)));

export interface LookUpOptions {
  /** K. */
  readonly knn: number;
  /** Half queries and half keys of length 1: the score is the mean of two cosines times this. Else their products. */
  readonly temperature?: number;
}

/** Slots and weights for queries [M, H D] by keys [H, 2, n, D/2]; a softmax per head. */
export function lookUpSlots(queries: Tensor, keys: Tensor, { knn, temperature }: LookUpOptions): SlotReads {
  const { H, n, D } = expectShape("lookUpSlots (keys)", keys.shape, "H 2 n D");
  const { M } = expectShape("lookUpSlots (queries)", queries.shape, "M Q", { Q: 2 * Number(H) * Number(D) });
  const asked = transpose(reshape(queries, [M, H, 2, D]), [1, 2, 0, 3]);
  const [q, k] = temperature === undefined ? [asked, keys] : [unit(asked), unit(keys)];
  const halves = matmul(q, k, { transposeB: true, scale: temperature === undefined ? 1 : temperature / 2 });
  const { scores, slots } = topSlots(reshape(halves, [H, 2, M, n]), knn);
  const bag = (x: Tensor): Tensor => reshape(transpose(x, [1, 0, 2]), [M, Number(H) * knn]);
  return { slots: bag(slots), weights: bag(softmax(scores)) };
}

/** The weighted sums of the rows read, [M, W], of a table [N, W]. Its gradient can stay rows (`sparseGradients`). */
export function readSlots(values: Tensor, { slots, weights }: SlotReads): Tensor {
  const { M, S } = expectShape("readSlots", slots.shape, "M S");
  const rows = gather(values, slots);
  return reshape(matmul(reshape(weights, [M, 1, S]), rows), [M, values.shape[1]]);
}
