/**
 * The exact fast read of a bank of one code for a slot: attention over all its entries is attention over the K codes,
 * with the logarithm of how often each is in use added to its score, so it costs the same for ten documents and for a
 * million. What the codebook becomes in each block is computed once. Letters as in shape.ts; K codes, Q questions,
 * n[t, c] how often code c stands in slot t.
 *
 * A slot's number takes part in its key (aggregator.ts): the score of code c in slot t is q·k_c + q·s_t. So the n[t, c]
 * entries of (t, c) weigh e^(q·k_c) n[t, c] e^(q·s_t), and over all slots code c has the bias ln Σ_t n[t, c] e^(q·s_t).
 */
import { attention, mergeHeads, splitHeads } from "../../nn/attention.ts";
import { linearLayer } from "../../nn/linear.ts";
import type { Params } from "../../nn/params.ts";
import { add, exp, less, log, matmul, max, maximum, reshape, scalar, sub, where } from "../../tensor/functions.ts";
import type { Tensor } from "../../tensor/graph.ts";
import { multiplyDims } from "../../tensor/shape.ts";
import { innerLayer, normed } from "./encoder.ts";
import { type BankShape, ROOT } from "./shape.ts";

/** What a codebook [K, D] becomes in a block: keys and values [1, heads, K, D / heads]. */
export function projectedCodes(params: Params, shape: BankShape, codes: Tensor): { keys: Tensor; values: Tensor }[] {
  const { blocks, blockHeads, width: D } = shape;
  const [K] = codes.shape;
  const p = params.at(ROOT);
  return Array.from({ length: blocks }, (_, block) => {
    const at = p.at(`blocks.${block}`).at("attention");
    const flat = (x: Tensor): Tensor => splitHeads(reshape(x, [1, K, D]), blockHeads);
    return {
      keys: flat(linearLayer(normed(codes, at, "context_norm"), at.at("key"))),
      values: flat(linearLayer(codes, at.at("value"))),
    };
  });
}

/** Far below any score; a code that is nowhere has no weight. */
const NOWHERE = -1e9;

/** Questions [Q, T, D] over counts n [T, K] (float32) of projected codes -> latents [Q, T, D]. */
export function fastRead(
  params: Params,
  shape: BankShape,
  questions: Tensor,
  counts: Tensor,
  codes: readonly { keys: Tensor; values: Tensor }[],
): Tensor {
  const { slots: T, width: D, blockHeads: heads } = shape;
  const [Q] = questions.shape;
  const QT = multiplyDims(Q, T);
  const scale = 1 / Math.sqrt(D / heads);
  const p = params.at(ROOT);
  const flat = (x: Tensor, count: typeof QT): Tensor => splitHeads(reshape(x, [1, count, D]), heads);
  let x = questions;
  for (const [block, { keys, values }] of codes.entries()) {
    const own = p.at(`blocks.${block}`);
    const at = own.at("attention");
    const asking = add(linearLayer(normed(x, at), at.at("query")), at.at("asking").get("weight"));
    const q = flat(asking, QT); // [1, heads, Q T, H]
    const addresses = flat(at.at("asked").get("weight"), T); // [1, heads, T, H]
    const bySlot = matmul(q, addresses, { transposeB: true, scale }); // [1, heads, Q T, T]
    const most = max(bySlot, { axes: [3], keepDims: true });
    const mass = matmul(exp(sub(bySlot, most)), counts); // [1, heads, Q T, K]
    const bias = where(less(scalar(0), mass), add(log(maximum(mass, 1e-37)), most), NOWHERE);
    const { output } = attention(q, [{ key: keys, value: values }], { bias, scale });
    x = add(x, linearLayer(reshape(mergeHeads(output), [Q, T, D]), at.at("output")));
    x = innerLayer(x, own.at("mlp"));
  }
  return x;
}
