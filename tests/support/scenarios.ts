/** Random small programs for the property tests: for each differentiable primitive, shapes and options as fast-check draws them. */
import fc from "fast-check";
import { int32Host, sizeOf } from "../../src/tensor/dtype.ts";
import * as f from "../../src/tensor/functions.ts";
import type { Tensor } from "../../src/tensor/graph.ts";
import { apply, type Primitive } from "../../src/tensor/ops.ts";
import { randomStream } from "../../src/tensor/random.ts";

/** Where an input's values lie: "positive" keeps away from poles and from the logarithm's edge. */
type Domain = "any" | "positive";

export interface Scenario {
  readonly inputs: readonly { readonly shape: readonly number[]; readonly domain: Domain }[];
  readonly make: (inputs: readonly Tensor[]) => Tensor;
  readonly seed: number;
}

type Draft = Omit<Scenario, "seed">;

const size = fc.integer({ min: 1, max: 4 });
const shapeOf = (minLength: number, maxLength = 3): fc.Arbitrary<number[]> => fc.array(size, { minLength, maxLength });
const anyShape = shapeOf(0);
const matrixLike = shapeOf(1);
/** A shape that broadcasts to the given one: leading axes dropped, others set to 1. */
const stretchable = (shape: readonly number[]): fc.Arbitrary<number[]> =>
  fc
    .tuple(fc.nat(shape.length), fc.array(fc.boolean(), { minLength: shape.length, maxLength: shape.length }))
    .map(([drop, ones]) => shape.map((dim, i) => (ones[i] ? 1 : dim)).slice(drop));
const withAxis = (shapes: fc.Arbitrary<number[]>): fc.Arbitrary<{ shape: number[]; axis: number }> =>
  shapes.chain((shape) => fc.record({ shape: fc.constant(shape), axis: fc.nat(shape.length - 1) }));
const indicesBelow = (limit: number, shape: readonly number[]): fc.Arbitrary<Tensor> =>
  fc
    .array(fc.nat(limit - 1), { minLength: sizeOf(shape), maxLength: sizeOf(shape) })
    .map((values) => f.constant(int32Host(shape, values)));

const one = (make: (x: Tensor) => Tensor, domain: Domain = "any"): fc.Arbitrary<Draft> =>
  anyShape.map((shape) => ({ inputs: [{ shape, domain }], make: ([x]) => make(x) }));

const two = (
  make: (a: Tensor, b: Tensor) => Tensor,
  domains: readonly [Domain, Domain] = ["any", "any"],
): fc.Arbitrary<Draft> =>
  anyShape
    .chain((shape) => fc.tuple(stretchable(shape), stretchable(shape)))
    .map(([a, b]) => ({
      inputs: [
        { shape: a, domain: domains[0] },
        { shape: b, domain: domains[1] },
      ],
      make: ([x, y]) => make(x, y),
    }));

const inputs = (...shapes: readonly (readonly number[])[]): Draft["inputs"] =>
  shapes.map((shape) => ({ shape, domain: "any" }));

const reduction = (make: typeof f.sum): fc.Arbitrary<Draft> =>
  matrixLike
    .chain((shape) => fc.tuple(fc.constant(shape), fc.subarray([...shape.keys()], { minLength: 1 }), fc.boolean()))
    .map(([shape, axes, keepDims]) => ({ inputs: inputs(shape), make: ([x]) => make(x, { axes, keepDims }) }));

const rowWise = (make: (x: Tensor) => Tensor): fc.Arbitrary<Draft> =>
  matrixLike.map((shape) => ({ inputs: inputs(shape), make: ([x]) => make(x) }));

const conv = fc
  .record({
    batch: fc.integer({ min: 1, max: 2 }),
    groups: fc.integer({ min: 1, max: 2 }),
    perGroup: fc.integer({ min: 1, max: 2 }),
    outPerGroup: fc.integer({ min: 1, max: 2 }),
    kernel: fc.integer({ min: 1, max: 3 }),
    stride: fc.integer({ min: 1, max: 3 }),
    padding: fc.nat(2),
    dilation: fc.integer({ min: 1, max: 2 }),
    length: fc.integer({ min: 5, max: 8 }),
    bias: fc.boolean(),
  })
  .map(
    ({ batch, groups, perGroup, outPerGroup, kernel, length, bias, ...rest }): Draft => ({
      inputs: inputs(
        [batch, groups * perGroup, length],
        [groups * outPerGroup, perGroup, kernel],
        ...(bias ? [[groups * outPerGroup]] : []),
      ),
      make: ([x, w, b]) => f.conv1d(x, w, b, { groups, ...rest }),
    }),
  );

/** Primitives without a gradient of their own, or whose gradient is refused. */
export type Smooth = Exclude<
  Primitive,
  | "input"
  | "constant"
  | "iota"
  | "random"
  | "equal"
  | "less"
  | "lessEqual"
  | "logicalAnd"
  | "logicalNot"
  | "argmax"
  | "stopGradient"
  | "sign"
  | "conv1dInputGradient"
  | "crossEntropyGradient"
>;

const drafts: { [P in Smooth]: fc.Arbitrary<Draft> } = {
  add: two(f.add),
  sub: two(f.sub),
  mul: two(f.mul),
  div: two(f.div, ["any", "positive"]),
  pow: two(f.pow, ["positive", "any"]),
  maximum: two(f.maximum),
  minimum: two(f.minimum),
  where: two((a, b) => f.where(f.less(f.sin(f.mul(a, 7)), b), a, b)),
  neg: one(f.neg),
  exp: one(f.exp),
  log: one(f.log, "positive"),
  sqrt: one(f.sqrt, "positive"),
  tanh: one(f.tanh),
  sigmoid: one(f.sigmoid),
  erf: one(f.erf),
  abs: one(f.abs),
  sin: one(f.sin),
  cos: one(f.cos),
  relu: one(f.relu),
  gelu: one(f.gelu),
  geluTanh: one(f.geluTanh),
  silu: one(f.silu),
  // Truth values and integers in the middle pass no gradient on; the product's other side does
  cast: one((x) => f.mul(x, f.add(f.cast(f.less(x, 0), "float32"), f.cast(f.cast(f.mul(x, 3), "int32"), "float32")))),
  sum: reduction(f.sum),
  mean: reduction(f.mean),
  max: reduction(f.max),
  cumsum: fc.tuple(withAxis(matrixLike), fc.boolean()).map(([{ shape, axis }, reverse]) => ({
    inputs: inputs(shape),
    make: ([x]) => f.cumsum(x, { axis, reverse }),
  })),
  topK: matrixLike
    .chain((shape) => fc.tuple(fc.constant(shape), fc.integer({ min: 1, max: shape[shape.length - 1] })))
    .map(([shape, k]) => ({ inputs: inputs(shape), make: ([x]) => f.topK(x, k)[0] })),
  matmul: fc
    .record({ m: size, k: size, n: size, transposeA: fc.boolean(), transposeB: fc.boolean(), batch: shapeOf(0, 2) })
    .chain((sizes) => fc.tuple(fc.constant(sizes), stretchable(sizes.batch), stretchable(sizes.batch)))
    .map(([{ m, k, n, transposeA, transposeB }, batchA, batchB]) => ({
      inputs: inputs([...batchA, ...(transposeA ? [k, m] : [m, k])], [...batchB, ...(transposeB ? [n, k] : [k, n])]),
      make: ([a, b]) => f.matmul(a, b, { transposeA, transposeB, scale: 0.7 }),
    })),
  linear: fc.tuple(matrixLike, size, fc.boolean(), fc.boolean()).map(([shape, out, bias, inputFirst]) => {
    const inner = shape[shape.length - 1];
    return {
      inputs: inputs(shape, inputFirst ? [inner, out] : [out, inner], ...(bias ? [[out]] : [])),
      make: ([x, w, b]) => f.linear(x, w, b, { inputFirst }),
    };
  }),
  conv1d: conv,
  softmax: rowWise(f.softmax),
  logSoftmax: rowWise(f.logSoftmax),
  layerNorm: matrixLike.map((shape) => ({
    inputs: inputs(shape, shape.slice(-1), shape.slice(-1)),
    make: ([x, w, b]) => f.layerNorm(x, w, b, { eps: 0.1 }),
  })),
  rmsNorm: matrixLike.map((shape) => ({
    inputs: inputs(shape, shape.slice(-1)),
    make: ([x, w]) => f.rmsNorm(x, w, { eps: 0.1 }),
  })),
  crossEntropy: fc
    .tuple(size, size)
    .chain(([rows, classes]) => fc.tuple(fc.constant([rows, classes]), indicesBelow(classes, [rows])))
    .map(([shape, targets]) => ({ inputs: inputs(shape), make: ([x]) => f.crossEntropy(x, targets) })),
  reshape: anyShape.map((shape) => ({ inputs: inputs(shape), make: ([x]) => f.reshape(x, [1, sizeOf(shape)]) })),
  transpose: anyShape
    .chain((shape) => fc.tuple(fc.constant(shape), fc.shuffledSubarray([...shape.keys()], { minLength: shape.length })))
    .map(([shape, perm]) => ({ inputs: inputs(shape), make: ([x]) => f.transpose(x, perm) })),
  broadcastTo: anyShape
    .chain((shape) => fc.tuple(fc.constant(shape), stretchable(shape)))
    .map(([shape, small]) => ({ inputs: inputs(small), make: ([x]) => f.broadcastTo(x, shape) })),
  slice: withAxis(matrixLike)
    .chain(({ shape, axis }) => fc.tuple(fc.constant({ shape, axis }), fc.nat(shape[axis]), fc.nat(shape[axis])))
    .map(([{ shape, axis }, a, b]) => ({
      inputs: inputs(shape),
      make: ([x]) => f.slice(x, { axis, start: Math.min(a, b), end: Math.max(a, b) }),
    })),
  concat: fc
    .tuple(withAxis(matrixLike), fc.array(size, { minLength: 1, maxLength: 3 }))
    .map(([{ shape, axis }, sizes]) => ({
      inputs: inputs(...sizes.map((dim) => shape.map((old, i) => (i === axis ? dim : old)))),
      make: (parts) => f.concat(parts, { axis }),
    })),
  // One piece of several: the others pass nothing back
  split: fc
    .tuple(withAxis(matrixLike), fc.array(size, { minLength: 1, maxLength: 3 }))
    .chain(([{ shape, axis }, sizes]) => fc.tuple(fc.constant({ shape, axis, sizes }), fc.nat(sizes.length - 1)))
    .map(([{ shape, axis, sizes }, wanted]) => ({
      inputs: inputs(shape.map((old, i) => (i === axis ? sizes.reduce((a, b) => a + b) : old))),
      make: ([x]) => f.split(x, sizes, { axis })[wanted],
    })),
  pad: fc.tuple(withAxis(matrixLike), fc.nat(2), fc.nat(2)).map(([{ shape, axis }, before, after]) => ({
    inputs: inputs(shape),
    make: ([x]) => f.pad(x, { axis, before, after, value: 1.5 }),
  })),
  gather: fc
    .tuple(withAxis(matrixLike), shapeOf(0, 2))
    .chain(([{ shape, axis }, wanted]) => fc.tuple(fc.constant({ shape, axis }), indicesBelow(shape[axis], wanted)))
    .map(([{ shape, axis }, indices]) => ({ inputs: inputs(shape), make: ([x]) => f.gather(x, indices, { axis }) })),
  scatterAdd: fc
    .tuple(shapeOf(1, 2), shapeOf(0, 2), size)
    .chain(([lead, inner, rows]) =>
      fc.tuple(fc.constant({ shape: [...lead, ...inner], rows }), indicesBelow(rows, lead)),
    )
    .map(([{ shape, rows }, indices]) => ({
      inputs: inputs(shape),
      make: ([x]) => f.scatterAdd(indices, x, { rows }),
    })),
  takeAlongAxis: fc
    .tuple(withAxis(matrixLike), size)
    .chain(([{ shape, axis }, count]) =>
      fc.tuple(
        fc.constant({ shape, axis }),
        indicesBelow(
          shape[axis],
          shape.map((dim, i) => (i === axis ? count : dim)),
        ),
      ),
    )
    .map(([{ shape, axis }, indices]) => ({
      inputs: inputs(shape),
      make: ([x]) => f.takeAlongAxis(x, indices, { axis }),
    })),
  scatterAlongAxis: fc
    .tuple(withAxis(matrixLike), size)
    .chain(([{ shape, axis }, count]) => fc.tuple(fc.constant({ shape, axis, count }), indicesBelow(count, shape)))
    .map(([{ shape, axis, count }, indices]) => ({
      inputs: inputs(shape),
      make: ([x]) => apply("scatterAlongAxis", { axis, size: count }, [indices, x])[0],
    })),
  rotary: fc.tuple(size, size, size, fc.integer({ min: 1, max: 2 })).map(([B, H, T, half]) => {
    const angles = f.mul(f.reshape(f.cast(f.iota(T * half), "float32"), [T, half]), 0.3);
    return { inputs: inputs([B, H, T, 2 * half]), make: ([x]) => f.rotary(x, f.cos(angles), f.sin(angles)) };
  }),
};

export const scenarios: { [P in Smooth]: fc.Arbitrary<Scenario> } = Object.fromEntries(
  Object.entries(drafts).map(([op, draft]) => [
    op,
    fc.tuple(draft, fc.nat(1_000_000)).map(([rest, seed]): Scenario => ({ ...rest, seed })),
  ]),
) as { [P in Smooth]: fc.Arbitrary<Scenario> };

/**
 * Values for a scenario's inputs: a shuffled grid, so that no two are near each other, nor any near 0, a whole number
 * over 3, or a zero of sin(7a): kinks and steps lie further away than a finite difference reaches.
 */
export function drawValues({ inputs: wanted, seed }: Scenario): Float64Array[] {
  const count = wanted.reduce((n, { shape }) => n + sizeOf(shape), 0);
  const order = randomStream(seed, "grid").permutation(count);
  let next = 0;
  return wanted.map(({ shape, domain }) =>
    Float64Array.from({ length: sizeOf(shape) }, () => {
      const place = (order[next++] + 0.5371) / count; // in (0, 1)
      return Math.fround(domain === "positive" ? 0.4 + 1.8 * place : 3.6 * place - 1.8);
    }),
  );
}
