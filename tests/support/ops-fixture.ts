/**
 * The cases of tests/fixtures/ops.json (written by tools/reference.py in PyTorch, computed in float64) and, for each
 * op they name, the graph that this project builds for it.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { openSafetensors, readAll } from "../../src/checkpoint/safetensors.ts";
import { attention, causalBias } from "../../src/nn/attention.ts";
import { crossEntropy, klDivergence } from "../../src/nn/loss.ts";
import type { DType, HostTensor } from "../../src/tensor/dtype.ts";
import * as f from "../../src/tensor/functions.ts";
import type { Tensor } from "../../src/tensor/graph.ts";
import { apply } from "../../src/tensor/ops.ts";
import { addDims } from "../../src/tensor/shape.ts";

export interface OpCase {
  readonly op: string;
  readonly params: Record<string, unknown>;
  readonly inputs: readonly { readonly name: string; readonly dtype: DType; readonly shape: readonly number[] }[];
  readonly outputs: readonly string[];
  /** Per output: the vector that the gradients below are products with; null for integers. */
  readonly cotangents: readonly (string | null)[];
  /** Per input: null where none is asked for. */
  readonly grads: readonly (string | null)[];
}

const fixtures = fileURLToPath(new URL("../fixtures/", import.meta.url));

export const opCases: readonly OpCase[] = JSON.parse(readFileSync(`${fixtures}ops.json`, "utf8"));

export async function opTensors(): Promise<ReadonlyMap<string, HostTensor>> {
  const file = await openSafetensors(`${fixtures}ops.safetensors`);
  try {
    return await readAll(file);
  } finally {
    await file.close();
  }
}

type Builder = (inputs: readonly Tensor[], params: OpCase["params"]) => readonly Tensor[];

const one =
  (make: (x: Tensor) => Tensor): Builder =>
  ([x]) => [make(x)];
const two =
  (make: (a: Tensor, b: Tensor) => Tensor): Builder =>
  ([a, b]) => [make(a, b)];
/** Ops whose options bear the fixture's names. */
const withOptions =
  <O>(make: (x: Tensor, options: O) => Tensor): Builder =>
  ([x], params) => [make(x, params as O)];
/** The fixture keeps truth values as int32. */
const truth =
  (make: (a: Tensor, b: Tensor) => Tensor): Builder =>
  ([a, b]) => [f.cast(make(a, b), "int32")];

export const builders: Readonly<Record<string, Builder>> = {
  add: two(f.add),
  sub: two(f.sub),
  mul: two(f.mul),
  div: two(f.div),
  pow: two(f.pow),
  maximum: two(f.maximum),
  minimum: two(f.minimum),
  equal: truth(f.equal),
  less: truth(f.less),
  lessEqual: truth(f.lessEqual),
  logicalAnd: truth(f.logicalAnd),
  logicalNot: truth(f.logicalNot),
  where: ([condition, a, b]) => [f.where(condition, a, b)],
  neg: one(f.neg),
  exp: one(f.exp),
  log: one(f.log),
  sqrt: one(f.sqrt),
  tanh: one(f.tanh),
  sigmoid: one(f.sigmoid),
  erf: one(f.erf),
  abs: one(f.abs),
  sin: one(f.sin),
  cos: one(f.cos),
  sign: one(f.sign),
  relu: one(f.relu),
  gelu: one(f.gelu),
  geluTanh: one(f.geluTanh),
  silu: one(f.silu),
  square: one(f.square),
  reciprocal: one(f.reciprocal),
  stopGradient: one(f.stopGradient),
  // float16 lives only inside the graph: its round trip is what the fixture holds
  cast: ([x], { dtype }) => [dtype === "float16" ? f.cast(f.cast(x, "float16"), "float32") : f.cast(x, dtype as DType)],
  sum: withOptions(f.sum),
  mean: withOptions(f.mean),
  max: withOptions(f.max),
  argmax: withOptions(f.argmax),
  cumsum: withOptions(f.cumsum),
  topK: ([x], { k }) => f.topK(x, k as number),
  iota: (_, { end }) => [f.iota(end as number)],
  matmul: ([a, b], params) => [f.matmul(a, b, params)],
  linear: ([x, weight, bias]) => [f.linear(x, weight, bias)],
  conv1d: ([x, weight, bias], params) => [f.conv1d(x, weight, bias, params)],
  softmax: one(f.softmax),
  logSoftmax: one(f.logSoftmax),
  layerNorm: ([x, weight, bias], params) => [f.layerNorm(x, weight, bias, params)],
  rmsNorm: ([x, weight], params) => [f.rmsNorm(x, weight, params)],
  rotary: ([x, cosine, sine]) => [f.rotary(x, cosine, sine)],
  reshape: ([x], { shape }) => [f.reshape(x, shape as number[])],
  transpose: ([x], { perm }) => [f.transpose(x, perm as number[])],
  broadcastTo: ([x], { shape }) => [f.broadcastTo(x, shape as number[])],
  slice: withOptions(f.slice),
  concat: (inputs, params) => [f.concat(inputs, params as { axis: number })],
  split: ([x], { sizes, axis }) => f.split(x, sizes as number[], { axis: axis as number }),
  pad: withOptions(f.pad),
  gather: ([x, indices], params) => [f.gather(x, indices, params)],
  scatterAdd: ([indices, updates], params) => [f.scatterAdd(indices, updates, params as { rows: number })],
  takeAlongAxis: ([x, indices], params) => [f.takeAlongAxis(x, indices, params)],
  scatterAlongAxis: (inputs, params) => apply("scatterAlongAxis", params as { axis: number; size: number }, inputs),
  attention: ([q, key, value], { causal, scale }) => {
    const [T, S] = [q.shape[2], key.shape[2]];
    // The last query sees the last key, as when the first S - T keys come from a cache
    const offset = f.integer(Number(addDims(S, -Number(T))));
    const bias = causal ? causalBias(f.add(f.iota(T), offset), f.iota(S)) : undefined;
    return [attention(q, [{ key, value }], { bias, scale: scale as number }).output];
  },
  crossEntropy: ([logits, targets, mask]) => [crossEntropy(logits, targets, mask)],
  klDivergence: ([p, q, mask]) => [klDivergence(p, q, mask)],
};

export interface BuiltCase {
  readonly inputs: readonly Tensor[];
  readonly outputs: Readonly<Record<string, Tensor>>;
  /** Sum of output times cotangent; undefined when no gradient is asked for. */
  readonly loss: Tensor | undefined;
  /** Inputs with a gradient in the fixture: [name of the gradient, input]. */
  readonly wanted: readonly (readonly [string, Tensor])[];
}

/** The graph of one case, its inputs named as in the fixture. */
export function buildCase({ op, params, inputs, outputs, cotangents, grads }: OpCase): BuiltCase {
  const leaves = inputs.map(({ name, dtype, shape }) => f.input(name, dtype, shape));
  const results = builders[op](leaves, params);
  const wanted = leaves.flatMap((leaf, i): (readonly [string, Tensor])[] =>
    grads[i] === null ? [] : [[grads[i], leaf]],
  );
  const terms = cotangents.flatMap((name, i) =>
    name === null ? [] : [f.sum(f.mul(results[i], f.input(name, "float32", results[i].shape)))],
  );
  return {
    inputs: leaves,
    outputs: Object.fromEntries(outputs.map((name, i) => [name, results[i]])),
    loss: wanted.length > 0 ? terms.reduce((a, b) => f.add(a, b)) : undefined,
    wanted,
  };
}
