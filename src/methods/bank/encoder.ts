/**
 * Texts to slots: the encoders of memory bank compression (https://arxiv.org/abs/2601.00756 section 3, from MAC,
 * https://arxiv.org/abs/2403.04317). Learned prompts read the text's states by cross-attention and leave as T slots; a
 * small network that is told the slot's number finishes each.
 *
 * We differ. The states are those of the frozen base itself (the papers: a T5 of its own), both encoders share all but
 * prompts and outputs, and a document's slots begin with its tokens in order: V neighbouring ones to a slot, P numbers
 * each, to which the prompts add. From random numbers, a fit as short as ours finds no way through T slots at all.
 * Padding is masked everywhere. Letters as in shape.ts; B texts, N tokens. T5 as encoder: t5-encoder.ts.
 */
import type { LoadedModel } from "../../models/load.ts";
import { attention, mergeHeads, paddingBias, splitHeads } from "../../nn/attention.ts";
import { initialize } from "../../nn/init.ts";
import { linearLayer } from "../../nn/linear.ts";
import type { Params } from "../../nn/params.ts";
import {
  add,
  broadcastTo,
  cast,
  constant,
  concat,
  div,
  equal,
  gather,
  geluTanh,
  iota,
  integer,
  linear,
  matmul,
  minimum,
  mul,
  reshape,
  rmsNorm,
  stopGradient,
  sum,
} from "../../tensor/functions.ts";
import { float32Host, sizeOf } from "../../tensor/dtype.ts";
import type { Tensor } from "../../tensor/graph.ts";
import type { Dim } from "../../tensor/shape.ts";
import { promptIdsOf } from "../stated.ts";
import { type BankShape, encoderShapes, networkRule, placesOf, ROOT } from "./shape.ts";
import type { Role, SlotEncoder, TextInputs } from "./slot-encoder.ts";

const EPS = 1e-6;

export const normed = (x: Tensor, p: Params, name = "norm"): Tensor =>
  rmsNorm(x, p.at(name).get("weight"), { eps: EPS });

/** x + W2 gelu(W1 (norm(x) + what is added)). */
export function innerLayer(x: Tensor, p: Params, added?: Tensor): Tensor {
  const seen = normed(x, p);
  return add(x, linearLayer(geluTanh(linearLayer(added ? add(seen, added) : seen, p.at("up"))), p.at("down")));
}

/** What the attention of x over other states adds to x. `bias` hides padding. */
function attended(x: Tensor, states: Tensor, p: Params, heads: number, bias?: Tensor): Tensor {
  const q = splitHeads(linearLayer(x, p.at("query")), heads);
  const key = splitHeads(linearLayer(states, p.at("key")), heads);
  const value = splitHeads(linearLayer(states, p.at("value")), heads);
  return linearLayer(mergeHeads(attention(q, [{ key, value }], { bias }).output), p.at("output"));
}

/** The inputs of the base's layers, each brought to a root mean square of 1: [B, N, C] of L layers -> [B, N, S]. */
export function statesOf(hidden: readonly Tensor[]): Tensor {
  const width = Number(hidden[0].shape[2]);
  const ones = constant(float32Host([width], new Float32Array(width).fill(1)));
  return concat(
    hidden.slice(0, -1).map((x) => rmsNorm(x, ones, { eps: EPS })),
    { axis: 2 },
  );
}

export interface EncodedTexts {
  /** [B, N, S]. */
  readonly states: Tensor;
  /** int32 [B, N]: 1 for tokens, 0 for padding. */
  readonly mask: Tensor;
}

/** T prompts read the states: [B, T, D]. */
function prompted(p: Params, shape: BankShape, { states, mask }: EncodedTexts, role: Role): Tensor {
  const { encoderHeads: heads, encoderLayers, encoderWidth: E, slots: T, context } = shape;
  const [B, N] = mask.shape as readonly Dim[];
  const bias = paddingBias(mask);
  const places = minimum(iota(N), integer(context - 1));
  let x = add(linearLayer(states, p.at("read")), gather(p.at("positions").get("weight"), places));
  for (let layer = 0; layer < encoderLayers; layer++) {
    const block = p.at(`layers.${layer}`);
    const seen = normed(x, block.at("attention"));
    x = add(x, attended(seen, seen, block.at("attention"), heads, bias));
    x = innerLayer(x, block.at("mlp"));
  }
  const own = p.at(role);
  const decoder = p.at("prompted");
  let y = broadcastTo(own.at("prompts").get("weight"), [B, T, E]);
  const self = normed(y, decoder.at("self"));
  y = add(y, attended(self, self, decoder.at("self"), heads));
  const cross = decoder.at("cross");
  y = add(y, attended(normed(y, cross), normed(x, cross, "states_norm"), cross, heads, bias));
  y = innerLayer(y, decoder.at("mlp"));
  return linearLayer(normed(y, decoder), own.at("output"));
}

/** Slots of a role, finished by the network that all share. */
export const finished = (p: Params, slots: Tensor, role: Role): Tensor =>
  innerLayer(slots, p.at("slots"), p.at(role).at("slots").get("weight"));

/**
 * The token that each place begins with, for texts of that many tokens: mask [B, N] -> int32 [B, M, 1]. Spread evenly, so
 * that short texts repeat some.
 */
export function centresOf(mask: Tensor, M: number): Tensor {
  const lengths = sum(cast(mask, "float32"), { axes: [1], keepDims: true }); // [B, 1]
  // Whole numbers below 2^24 until they are divided: what is cut off is exact
  const centres = cast(div(mul(lengths, cast(iota(M), "float32")), M), "int32");
  return reshape(centres, [mask.shape[0], M, 1]);
}

/** θ_amort: documents -> slots [B, T, D]. */
export function documentSlots(params: Params, shape: BankShape, texts: EncodedTexts): Tensor {
  const { slots: T, width: D } = shape;
  const p = params.at(ROOT);
  const [B, N] = texts.mask.shape as readonly Dim[];
  const M = placesOf(shape);
  const codes = linear(texts.states, p.at("patch").get("weight"), p.at("patch").get("bias")); // [B, N, P]
  const chosen = equal(centresOf(texts.mask, M), reshape(iota(N), [1, 1, N]));
  const patches = reshape(matmul(cast(chosen, "float32"), codes), [B, T, D]);
  return finished(p, add(patches, prompted(p, shape, texts, "document")), "document");
}

/** θ_input: questions -> what the aggregator starts from, [B, T, D]. */
export function questionSlots(params: Params, shape: BankShape, texts: EncodedTexts): Tensor {
  const p = params.at(ROOT);
  return finished(p, prompted(p, shape, texts, "question"), "question");
}

/** This encoder beside a base. */
export function ownEncoder(
  { definition, config, geometry, tokenizer, weights }: Omit<LoadedModel, "folder" | "eosIds" | "hash">,
  shape: BankShape,
): SlotEncoder {
  const context = Math.min(shape.context, geometry.context);
  const shapes = encoderShapes(shape, geometry);
  const perToken = /^bank\.(patch|read|layers|prompted)/;
  const numbersIn = (all: readonly (readonly number[])[]): number => all.reduce((total, own) => total + sizeOf(own), 0);
  const encoded = (p: Params, { ids, mask }: TextInputs): EncodedTexts => ({
    states: stopGradient(statesOf(definition.forward(p, config, { ids }).hidden)),
    mask,
  });
  return {
    context,
    documentIds: (text) => tokenizer.encode(text.trim(), { addSpecialTokens: false }),
    questionIds: (query) => promptIdsOf(tokenizer, query).slice(-context),
    weights: {},
    fresh: (seed) => initialize(shapes, networkRule(shape), seed),
    parameters:
      numbersIn(Object.values(weights).map((tensor) => tensor.shape)) +
      numbersIn(Object.keys(shapes).flatMap((name) => (perToken.test(name) ? [shapes[name]] : []))),
    documents: (p, texts) => documentSlots(p, shape, encoded(p, texts)),
    questions: (p, texts) => questionSlots(p, shape, encoded(p, texts)),
  };
}
