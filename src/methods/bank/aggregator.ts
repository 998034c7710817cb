/**
 * The aggregator ψ of memory bank compression (MAC, https://arxiv.org/abs/2403.04317; its blocks from the released
 * code): what starts as the question's slots reads the bank by blocks of cross-attention and ends as the latent that the
 * prefix is made of: x = x + Attn(norm(x), bank); x = x + FF(norm(x)).
 *
 * We differ. A slot's number takes part in queries and keys (the papers: none), so that a slot can ask for the like one
 * of a document; values are not normed, so that what was stored can come out as it is. Over documents the blocks
 * are invariant to order, as in the papers. And a document may come with a bias on the attention to all of its slots.
 * Letters as in shape.ts; G groups (each with a bank of its own), Q questions to a group, N documents in a bank.
 */
import { attention, mergeHeads, splitHeads } from "../../nn/attention.ts";
import { linearLayer } from "../../nn/linear.ts";
import type { Params } from "../../nn/params.ts";
import { add, broadcastTo, mean, mul, reshape, sum } from "../../tensor/functions.ts";
import type { Tensor } from "../../tensor/graph.ts";
import { type Dim, multiplyDims } from "../../tensor/shape.ts";
import { innerLayer, normed } from "./encoder.ts";
import { type BankShape, ROOT } from "./shape.ts";

export interface AggregatedBank {
  /** [G, N, T, D]. */
  readonly slots: Tensor;
  /** Added to the scores of all slots of a document, [G, Q, N]: 0, or far below it where a question may not see one. */
  readonly bias: Tensor;
}

export interface Aggregated {
  /** [G, Q, T, D]. */
  readonly latents: Tensor;
  /** How much each question attends to each document, [G, Q, N]: means over slots, heads and blocks; rows sum to 1. */
  readonly weights: Tensor;
}

/** Questions [G, Q, T, D] over their group's bank. */
export function aggregated(
  params: Params,
  shape: BankShape,
  questions: Tensor,
  { slots, bias }: AggregatedBank,
): Aggregated {
  const { slots: T, width: D, blocks, blockHeads } = shape;
  const [G, Q] = questions.shape as readonly Dim[];
  const N = slots.shape[1];
  const QT = multiplyDims(Q, T);
  const NT = multiplyDims(N, T);
  const wide = broadcastTo(reshape(bias, [G, Q, 1, N, 1]), [G, Q, T, N, T]);
  const scores = reshape(wide, [G, 1, QT, NT]);
  const p = params.at(ROOT);
  const flat = (x: Tensor, count: Dim): Tensor => splitHeads(reshape(x, [G, multiplyDims(count, T), D]), blockHeads);
  let x = questions;
  const parts: Tensor[] = [];
  for (let block = 0; block < blocks; block++) {
    const own = p.at(`blocks.${block}`);
    const at = own.at("attention");
    const q = add(linearLayer(normed(x, at), at.at("query")), at.at("asking").get("weight"));
    const key = add(linearLayer(normed(slots, at, "context_norm"), at.at("key")), at.at("asked").get("weight"));
    const value = linearLayer(slots, at.at("value"));
    const { output, weights } = attention(flat(q, Q), [{ key: flat(key, N), value: flat(value, N) }], { bias: scores });
    x = add(x, linearLayer(reshape(mergeHeads(output), [G, Q, T, D]), at.at("output")));
    x = innerLayer(x, own.at("mlp"));
    const overHeads = reshape(mean(weights, { axes: [1] }), [G, Q, T, N, T]);
    parts.push(mean(sum(overHeads, { axes: [4] }), { axes: [2] }));
  }
  const total = parts.reduce((a, b) => add(a, b));
  return { latents: x, weights: mul(total, 1 / blocks) };
}
