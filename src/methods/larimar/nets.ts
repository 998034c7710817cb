/**
 * The two networks of Larimar (https://arxiv.org/abs/2403.11901, section 2) as functions over tensors: the encoder from
 * a text to its latent, and the maps by which a latent conditions a decoder.
 * Letters: B texts, T tokens, D width of the base, L layers, K key/value heads, H head size; C numbers in a latent, in
 * M blocks of S each; E width of the encoder.
 *
 * We differ. The encoder is small, trained in the fit and reads the base's own token embeddings (the paper: BERT-large
 * and its pooler), and it is told which tokens are the answer. A latent is M blocks, each gathered from the tokens by an
 * attention of its own and brought to a root mean square of 1, so that every latent has the length sqrt(C). And block i
 * is added once more, through one small matrix for all blocks, to the token from which the i-th token of the answer is
 * predicted (`bound`): the paper's one slot per layer and one sum for all tokens (both are here too) leave a decoder of
 * millions of parameters to find out by itself where in the answer it is. docs/larimar.md has what each is worth.
 */
import { attention, mergeHeads, paddingBias, splitHeads } from "../../nn/attention.ts";
import { type InitRule, kaimingUniform, fillWith, normal } from "../../nn/init.ts";
import { linearLayer } from "../../nn/linear.ts";
import { isNorm } from "../../nn/names.ts";
import type { Params } from "../../nn/params.ts";
import type { Geometry } from "../../models/model.ts";
import {
  add,
  broadcastTo,
  cast,
  concat,
  constant,
  gather,
  geluTanh,
  integer,
  iota,
  linear,
  matmul,
  minimum,
  mul,
  reshape,
  rmsNorm,
  rows,
  softmax,
} from "../../tensor/functions.ts";
import { float32Host } from "../../tensor/dtype.ts";
import type { Tensor } from "../../tensor/graph.ts";
import type { Dim } from "../../tensor/shape.ts";

/** Sizes of a module; the rest follows from the base. */
export interface LatentShape {
  /** C. */
  readonly width: number;
  /** M; divides C. */
  readonly blocks: number;
  /** E. */
  readonly encoderWidth: number;
  readonly encoderLayers: number;
  readonly encoderHeads: number;
  /** Of the feed-forward layers. */
  readonly encoderInner: number;
  /** Most tokens that the encoder reads. */
  readonly encoderContext: number;
}

/** All tensors of the module but the adapters live below this name. */
const ROOT = "larimar";
export const networkName = (name: string): string => `${ROOT}.${name}`;
const EPS = 1e-6;

/** Tensors of the networks, by name. */
export function latentShapes(shape: LatentShape, geometry: Geometry): Record<string, readonly number[]> {
  const { width: C, blocks: M, encoderWidth: E, encoderInner: F, encoderLayers, encoderContext: T } = shape;
  const { layers: L, kvHeads: K, headDim: H, width: D } = geometry;
  const shapes: Record<string, readonly number[]> = {
    "encoder.words.weight": [E, D],
    "encoder.words_norm.weight": [D],
    "encoder.positions.weight": [T, E],
    "encoder.offsets.weight": [T + 1, E],
    "encoder.norm.weight": [E],
    "pool.queries.weight": [M, E],
    "pool.keys.weight": [E, E],
    "pool.values.weight": [C / M, E],
    "pool.values.bias": [M, C / M],
    "slots.weight": [L * K * H, C],
    "added.weight": [D, C],
    "bound.weight": [D, C / M],
  };
  for (let layer = 0; layer < encoderLayers; layer++) {
    for (const [name, own] of Object.entries({
      "attention_norm.weight": [E],
      "query.weight": [E, E],
      "key.weight": [E, E],
      "value.weight": [E, E],
      "output.weight": [E, E],
      "inner_norm.weight": [E],
      "up.weight": [F, E],
      "down.weight": [E, F],
    }))
      shapes[`encoder.layers.${layer}.${name}`] = own;
  }
  return Object.fromEntries(Object.entries(shapes).map(([name, own]) => [networkName(name), own]));
}

/** Values before the first step: slots and sum reach the decoder faintly. `wordScale`: r.m.s. of the base's embeddings. */
export const latentRule =
  ({ encoderLayers, width }: LatentShape, wordScale: number): InitRule =>
  (name) => {
    const own = name.slice(ROOT.length + 1);
    if (isNorm(own)) return fillWith(1);
    if (own.endsWith(".bias")) return fillWith(0);
    if (own === "encoder.offsets.weight") return normal(0.5);
    if (own === "encoder.positions.weight") return normal(0.1);
    if (own === "slots.weight") return normal(0.5 / Math.sqrt(width));
    if (own === "added.weight") return normal((0.1 * wordScale) / Math.sqrt(width));
    // The bound blocks begin as bind.ts says
    if (/\.(output|down)\.weight$/.test(own)) return normal(0.02 / Math.sqrt(2 * encoderLayers));
    return kaimingUniform();
  };

export interface EncodedText {
  /** The base's embeddings of the tokens, [B, T, D]. */
  readonly words: Tensor;
  /** int32 [B, T]: 0 for tokens of the prompt and padding, i + 1 for the i-th of the answer. */
  readonly offsets: Tensor;
  /** int32 [B, T]: 1 for tokens, 0 for padding. */
  readonly mask: Tensor;
}

const scaled = (x: Tensor, p: Params): Tensor => rmsNorm(x, p.get("weight"), { eps: EPS });

function block(p: Params, x: Tensor, bias: Tensor, heads: number): Tensor {
  const seen = scaled(x, p.at("attention_norm"));
  const of = (name: string): Tensor => splitHeads(linearLayer(seen, p.at(name)), heads);
  const { output } = attention(of("query"), [{ key: of("key"), value: of("value") }], { bias });
  const attended = add(x, linearLayer(mergeHeads(output), p.at("output")));
  const inner = linearLayer(scaled(attended, p.at("inner_norm")), p.at("up"));
  return add(attended, linearLayer(geluTanh(inner), p.at("down")));
}

/** e: texts -> latents [B, C], each block of root mean square 1. */
export function latentsOf(params: Params, shape: LatentShape, { words, offsets, mask }: EncodedText): Tensor {
  const { width: C, blocks: M, encoderWidth: E, encoderLayers, encoderHeads, encoderContext } = shape;
  const p = params.at(ROOT);
  const encoder = p.at("encoder");
  const [B, T] = offsets.shape;
  const places = minimum(iota(T), integer(encoderContext - 1));
  const read = linearLayer(scaled(words, encoder.at("words_norm")), encoder.at("words"));
  const where = add(
    gather(encoder.at("offsets").get("weight"), offsets),
    gather(encoder.at("positions").get("weight"), places),
  );
  const bias = paddingBias(mask); // [B, 1, 1, T]
  let x = add(read, where);
  for (let layer = 0; layer < encoderLayers; layer++) x = block(encoder.at(`layers.${layer}`), x, bias, encoderHeads);
  x = scaled(x, encoder.at("norm"));
  const pool = p.at("pool");
  const keys = linearLayer(x, pool.at("keys"));
  const scores = matmul(pool.at("queries").get("weight"), keys, { transposeB: true, scale: 1 / Math.sqrt(E) });
  const weights = softmax(add(scores, reshape(bias, [B, 1, T]))); // [B, M, T]
  const values = pool.at("values");
  const blocks = add(linear(matmul(weights, x), values.get("weight")), values.get("bias")); // [B, M, S]
  const ones = constant(float32Host([C / M], new Float32Array(C / M).fill(1)));
  return reshape(rmsNorm(blocks, ones, { eps: EPS }), [B, C]);
}

/** What latents [B, C] tell a decoder: slots [B, L, K, H] and added [B, 1 + M, D] (models/condition.ts). */
export function conditionsOf(
  params: Params,
  { width: C, blocks: M }: LatentShape,
  { layers, kvHeads, headDim, width: D }: Geometry,
  latents: Tensor,
): { slots: Tensor; added: Tensor } {
  const p = params.at(ROOT);
  const [B] = latents.shape;
  const slots = reshape(linear(latents, p.at("slots").get("weight")), [B, layers, kvHeads, headDim]);
  const all = reshape(linear(latents, p.at("added").get("weight")), [B, 1, D]);
  const bound = linear(reshape(latents, [B, M, C / M]), p.at("bound").get("weight"));
  return { slots, added: concat([all, add(bound, all)], { axis: 1 }) };
}

/** Rows of a table per text: added [B, A, D] at kinds (int32 [B, T]) -> [B, T, D]. B is a number. */
export function rowsAt(added: Tensor, kinds: Tensor): Tensor {
  const [B, A] = added.shape as readonly Dim[];
  const starts = reshape(mul(cast(iota(B), "float32"), Number(A)), [B, 1]);
  const flat = add(broadcastTo(cast(starts, "int32"), kinds.shape), kinds);
  return gather(rows(added), flat);
}
