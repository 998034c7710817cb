/**
 * A memory layer: a linear query chooses a few slots of a large table by product keys, and a gate forms what they give
 * into what joins the residual sum. Paper: "Memory Layers at Scale", https://arxiv.org/abs/2412.09764, section 3.1:
 * y = W2 (bag * silu(W1 x)), here with a bias each. Several layers may read one table. Optional, after the adaptations
 * to trained models: sigmoid(r x) as a factor, so that a token may turn the memory off; half keys of length 1.
 */
import { mul, reshape, rows, sigmoid, silu } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";
import { fillWith, type InitRule, normal } from "./init.ts";
import { linearLayer } from "./linear.ts";
import { isBias } from "./names.ts";
import type { Params } from "./params.ts";
import { lookUpSlots, readSlots, type SlotReads } from "./product-keys.ts";

export interface MemoryLayerOptions {
  /** N, a square. */
  readonly slots: number;
  readonly heads: number;
  /** Slots that a head reads. */
  readonly knn: number;
  /** Of both halves together. */
  readonly keyWidth: number;
  readonly valueWidth: number;
  /** A factor sigmoid(r x) on what the memory gives. */
  readonly gate: boolean;
  /** Queries and keys of length 1, with `temperature`. */
  readonly normalise: boolean;
  readonly temperature: number;
}

/** Where the linear layers are stored [in, out]. */
interface Layout {
  readonly inputFirst?: boolean;
}

/** The linear layers among its parameters. */
export const memoryLinears: readonly string[] = ["query", "gate_proj", "down_proj"];
/** By how much the memory counts beside a feed-forward layer, before training. */
const START_SCALE = 0.01;

/** Parameters of one layer that is C wide, the table apart. */
export function memoryLayerShapes(
  { slots, heads, keyWidth, valueWidth, gate }: MemoryLayerOptions,
  C: number,
  { inputFirst = false }: Layout = {},
): Record<string, readonly number[]> {
  const linear = (outputs: number, inputs: number): readonly number[] =>
    inputFirst ? [inputs, outputs] : [outputs, inputs];
  return {
    "query.weight": linear(heads * keyWidth, C),
    "query.bias": [heads * keyWidth],
    keys: [heads, 2, Math.sqrt(slots), keyWidth / 2],
    "gate_proj.weight": linear(valueWidth, C),
    "gate_proj.bias": [valueWidth],
    "down_proj.weight": linear(C, valueWidth),
    "down_proj.bias": [C],
    ...(gate ? { "relevance.weight": linear(1, C), "relevance.bias": [1] } : {}),
  };
}

/** What tokens x [..., C] get from a table [N, W], [..., C]; and what they read, M tokens in a row. */
export function memoryLayer(
  x: Tensor,
  p: Params,
  values: Tensor,
  { knn, gate, normalise, temperature }: MemoryLayerOptions,
  { inputFirst = false }: Layout = {},
): { readonly y: Tensor; readonly reads: SlotReads } {
  const flat = rows(x);
  const linear = (name: string, input: Tensor): Tensor => linearLayer(input, p.at(name), { inputFirst });
  const reads = lookUpSlots(linear("query", flat), p.get("keys"), {
    knn,
    ...(normalise ? { temperature } : {}),
  });
  const formed = linear("down_proj", mul(readSlots(values, reads), silu(linear("gate_proj", flat))));
  const y = gate ? mul(formed, sigmoid(linear("relevance", flat))) : formed;
  return { y: reshape(y, x.shape), reads };
}

const uniform =
  (bound: number): ReturnType<InitRule> =>
  (out, _, random) => {
    random.fillUniform(out, -bound, bound);
  };

/**
 * Initial values of memory layers as in the paper's released code, those of everything else by `rule`. A memory begins
 * small, so a model whose feed-forward layer it replaces starts as if that layer were left out.
 */
export function withMemory(rule: InitRule): InitRule {
  return (name, shape) => {
    const [, part] = /(?:^|\.)memory\.([^.]+)/.exec(name) ?? [];
    if (part === undefined || isBias(name)) return rule(name, shape);
    const [first, last] = [shape[0], shape[shape.length - 1]];
    switch (part) {
      case "scale":
        return fillWith(START_SCALE);
      case "keys":
        return uniform(1 / Math.sqrt(2 * last));
      case "query":
        return uniform(Math.sqrt(6 / (first + last)));
      case "values":
        return normal(1 / Math.sqrt(last));
      default:
        // The layer's width is one of both axes, and so is that of the values: close enough to either
        return normal(1 / Math.sqrt(Math.max(first, last)));
    }
  };
}
