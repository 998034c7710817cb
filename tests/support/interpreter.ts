/**
 * A second, independent evaluation of graphs: one plain loop per primitive, in float64, written from the definitions
 * and not from the lowering. Slow and short; the oracle of the property tests. Integers and truth values are numbers too.
 */
import { internal } from "../../src/errors.ts";
import { sizeOf } from "../../src/tensor/dtype.ts";
import { type Node, type Tensor, topologicalOrder } from "../../src/tensor/graph.ts";
import type { ConvParams, Primitive, PrimitiveParams, ReduceParams } from "../../src/tensor/ops.ts";
import { broadcastShapes, type Dim, evaluateDim } from "../../src/tensor/shape.ts";

export interface Value {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

interface Context<P extends Primitive> {
  readonly params: PrimitiveParams[P];
  readonly inputs: readonly Value[];
  readonly node: Node<P>;
  readonly size: (dim: Dim) => number;
}

type Kernel<P extends Primitive> = (context: Context<P>) => Value | Value[];

/** The entry at an index; axes are aligned at the end, and an axis of size 1 has one entry for all. */
function at({ shape, data }: Value, index: readonly number[]): number {
  let offset = 0;
  const skip = index.length - shape.length;
  for (const [axis, dim] of shape.entries()) offset = offset * dim + (dim === 1 ? 0 : index[axis + skip]);
  return data[offset];
}

/** A value from a function of the index. */
function build(shape: readonly number[], entry: (index: number[]) => number): Value {
  const data = new Float64Array(sizeOf(shape));
  const index = shape.map(() => 0);
  for (let i = 0; i < data.length; i++) {
    data[i] = entry(index);
    for (let axis = shape.length - 1; axis >= 0 && ++index[axis] === shape[axis]; axis--) index[axis] = 0;
  }
  return { shape, data };
}

/** Add entries into zeros. */
function scatter(shape: readonly number[], from: Value, target: (index: number[]) => number[]): Value {
  const result = { shape, data: new Float64Array(sizeOf(shape)) };
  build(from.shape, (index) => {
    let offset = 0;
    for (const [axis, i] of target(index).entries()) offset = offset * shape[axis] + i;
    result.data[offset] += at(from, index);
    return 0;
  });
  return result;
}

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const total = (n: number, term: (i: number) => number): number => range(n).reduce((sum, i) => sum + term(i), 0);
const replace = (index: readonly number[], axis: number, i: number): number[] =>
  index.map((old, a) => (a === axis ? i : old));
const lastOf = (shape: readonly number[]): number => shape[shape.length - 1];
/** The row of the last axis that an index lies in. */
const row = (x: Value, index: readonly number[]): number[] =>
  range(lastOf(x.shape)).map((i) => at(x, replace(index, index.length - 1, i)));

const unary =
  (f: (x: number) => number): Kernel<Primitive> =>
  ({ inputs: [x] }) => ({ shape: x.shape, data: x.data.map(f) });

const binary =
  (f: (a: number, b: number) => number): Kernel<Primitive> =>
  ({ inputs: [a, b] }) =>
    build(broadcastShapes("oracle", a.shape, b.shape) as number[], (index) => f(at(a, index), at(b, index)));

const reduction =
  (f: (values: number[]) => number): Kernel<"sum" | "mean" | "max"> =>
  ({ params, inputs: [x] }) => {
    const { axes, keepDims } = params as ReduceParams;
    const kept = x.shape.map((dim, i) => (axes.includes(i) ? 1 : dim));
    const groups = new Map<number, number[]>();
    const group = { shape: kept, data: Float64Array.from(range(sizeOf(kept))) };
    build(x.shape, (index) => {
      const key = at(group, index);
      groups.set(key, [...(groups.get(key) ?? []), at(x, index)]);
      return 0;
    });
    const shape = keepDims ? kept : x.shape.filter((_, i) => !axes.includes(i));
    return { shape, data: Float64Array.from(group.data, (key) => f(groups.get(key) ?? [])) };
  };

/** 2/sqrt(pi) exp(-x^2) sum of 2^n x^(2n+1) / (1*3*...*(2n+1)): all terms of one sign, so nothing cancels. */
function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; n < 200; n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

function matmul({ params: { transposeA, transposeB, scale }, inputs: [a, b] }: Context<"matmul">): Value {
  const swap = ({ shape }: Value, yes: boolean): readonly number[] =>
    yes ? [...shape.slice(0, -2), shape[shape.length - 1], shape[shape.length - 2]] : shape;
  const [left, right] = [swap(a, transposeA), swap(b, transposeB)];
  const batch = broadcastShapes("oracle", left.slice(0, -2), right.slice(0, -2)) as number[];
  return build([...batch, left[left.length - 2], lastOf(right)], (index) => {
    const [m, n] = index.slice(-2);
    const lead = index.slice(0, -2);
    return (
      scale *
      total(lastOf(left), (k) => {
        return (
          at(a, [...lead, ...(transposeA ? [k, m] : [m, k])]) * at(b, [...lead, ...(transposeB ? [n, k] : [k, n])])
        );
      })
    );
  });
}

/** Every (output position, input position, kernel position) that a convolution over one axis pairs. */
function convPairs(length: number, outputs: number, kernel: number, params: ConvParams): [number, number, number][] {
  const pairs: [number, number, number][] = [];
  for (const m of range(outputs)) {
    for (const k of range(kernel)) {
      const l = m * params.stride + k * params.dilation - params.padding;
      if (l >= 0 && l < length) pairs.push([m, l, k]);
    }
  }
  return pairs;
}

function convolve(
  params: ConvParams,
  w: Value,
  batch: number,
  use: (b: number, o: number, c: number, k: number) => void,
): void {
  const perGroup = w.shape[0] / params.groups;
  for (const b of range(batch)) {
    for (const o of range(w.shape[0])) {
      for (const i of range(w.shape[1])) use(b, o, Math.floor(o / perGroup) * w.shape[1] + i, i);
    }
  }
}

const rmsOf = (values: number[], eps: number): number =>
  1 / Math.sqrt(total(values.length, (i) => values[i] ** 2) / values.length + eps);
const meanOf = (values: number[]): number => total(values.length, (i) => values[i]) / values.length;
const logSum = (values: number[]): number => {
  const top = Math.max(...values);
  return top + Math.log(total(values.length, (i) => Math.exp(values[i] - top)));
};

const kernels: { [P in Primitive]: Kernel<P> } = {
  input: () => internal("oracle: a leaf has no kernel"),
  random: () => internal("oracle: a leaf has no kernel"),
  constant: ({ params: { value } }) => ({
    shape: value.shape,
    data: Float64Array.from(value.data as ArrayLike<number>, Number),
  }),
  iota: ({ params, size }) => build([size(params.size)], ([i]) => i),
  add: binary((a, b) => a + b),
  sub: binary((a, b) => a - b),
  mul: binary((a, b) => a * b),
  div: binary((a, b) => a / b),
  pow: binary((a, b) => a ** b),
  maximum: binary(Math.max),
  minimum: binary(Math.min),
  equal: binary((a, b) => Number(a === b)),
  less: binary((a, b) => Number(a < b)),
  lessEqual: binary((a, b) => Number(a <= b)),
  logicalAnd: binary((a, b) => Number(a !== 0 && b !== 0)),
  logicalNot: unary((x) => Number(x === 0)),
  where: ({ inputs: [condition, a, b] }) => {
    const branches = broadcastShapes("oracle", a.shape, b.shape);
    return build(broadcastShapes("oracle", condition.shape, branches) as number[], (index) =>
      at(condition, index) === 0 ? at(b, index) : at(a, index),
    );
  },
  neg: unary((x) => -x),
  exp: unary(Math.exp),
  log: unary(Math.log),
  sqrt: unary(Math.sqrt),
  tanh: unary(Math.tanh),
  sigmoid: unary(sigmoid),
  erf: unary(erf),
  abs: unary(Math.abs),
  sin: unary(Math.sin),
  cos: unary(Math.cos),
  sign: unary(Math.sign),
  relu: unary((x) => Math.max(x, 0)),
  gelu: unary((x) => (x * (1 + erf(x / Math.SQRT2))) / 2),
  geluTanh: unary((x) => (x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))) / 2),
  silu: unary((x) => x * sigmoid(x)),
  cast: ({ params: { dtype }, inputs: [x] }) => {
    if (dtype === "bool") return { shape: x.shape, data: x.data.map((v) => Number(v !== 0)) };
    return dtype.startsWith("float") ? x : { shape: x.shape, data: x.data.map(Math.trunc) };
  },
  stopGradient: ({ inputs: [x] }) => x,
  sum: reduction((values) => total(values.length, (i) => values[i])),
  mean: reduction(meanOf),
  max: reduction((values) => Math.max(...values)),
  argmax: ({ params: { axis }, inputs: [x] }) =>
    build(
      x.shape.filter((_, i) => i !== axis),
      (index) => {
        const values = range(x.shape[axis]).map((i) => at(x, [...index.slice(0, axis), i, ...index.slice(axis)]));
        return values.indexOf(Math.max(...values));
      },
    ),
  cumsum: ({ params: { axis, reverse }, inputs: [x] }) =>
    build(x.shape, (index) => {
      const wanted = range(x.shape[axis]).filter((i) => (reverse ? i >= index[axis] : i <= index[axis]));
      return total(wanted.length, (i) => at(x, replace(index, axis, wanted[i])));
    }),
  topK: ({ params: { k }, inputs: [x] }) => {
    const shape = [...x.shape.slice(0, -1), k];
    const order = (index: number[]): number[] => {
      const values = row(x, index);
      return range(values.length).sort((a, b) => values[b] - values[a] || a - b);
    };
    return [
      build(shape, (index) => row(x, index)[order(index)[lastOf(index)]]),
      build(shape, (index) => order(index)[lastOf(index)]),
    ];
  },
  matmul,
  linear: ({ params: { inputFirst }, inputs: [x, w, bias] }) =>
    build([...x.shape.slice(0, -1), w.shape[inputFirst ? 1 : 0]], (index) => {
      const o = lastOf(index);
      const values = row(x, index);
      return (bias ? bias.data[o] : 0) + total(values.length, (i) => values[i] * at(w, inputFirst ? [i, o] : [o, i]));
    }),
  conv1d: ({ params, inputs: [x, w, bias], node, size }) => {
    const y = build(node.outputs[0].shape.map(size), ([, o]) => (bias ? bias.data[o] : 0));
    const pairs = convPairs(x.shape[2], y.shape[2], w.shape[2], params);
    convolve(params, w, x.shape[0], (b, o, c, i) => {
      for (const [m, l, k] of pairs)
        y.data[(b * y.shape[1] + o) * y.shape[2] + m] += at(x, [b, c, l]) * at(w, [o, i, k]);
    });
    return y;
  },
  conv1dInputGradient: ({ params, inputs: [dy, w], node, size }) => {
    const dx = build(node.outputs[0].shape.map(size), () => 0);
    const pairs = convPairs(params.length, dy.shape[2], w.shape[2], params);
    convolve(params, w, dy.shape[0], (b, o, c, i) => {
      for (const [m, l, k] of pairs)
        dx.data[(b * dx.shape[1] + c) * dx.shape[2] + l] += at(dy, [b, o, m]) * at(w, [o, i, k]);
    });
    return dx;
  },
  softmax: ({ inputs: [x] }) => build(x.shape, (index) => Math.exp(at(x, index) - logSum(row(x, index)))),
  logSoftmax: ({ inputs: [x] }) => build(x.shape, (index) => at(x, index) - logSum(row(x, index))),
  layerNorm: ({ params: { eps }, inputs: [x, weight, bias] }) => {
    const statistics = (index: number[]): [number, number] => {
      const values = row(x, index);
      const mean = meanOf(values);
      return [
        mean,
        rmsOf(
          values.map((v) => v - mean),
          eps,
        ),
      ];
    };
    const rows = [...x.shape.slice(0, -1), 1];
    const y = build(x.shape, (index) => {
      const [mean, scale] = statistics(index);
      return (at(x, index) - mean) * scale * at(weight, index) + at(bias, index);
    });
    return [y, build(rows, (index) => statistics(index)[0]), build(rows, (index) => statistics(index)[1])];
  },
  rmsNorm: ({ params: { eps }, inputs: [x, weight] }) => [
    build(x.shape, (index) => at(x, index) * rmsOf(row(x, index), eps) * at(weight, index)),
    build([...x.shape.slice(0, -1), 1], (index) => rmsOf(row(x, index), eps)),
  ],
  crossEntropy: ({ inputs: [logits, targets] }) =>
    build(targets.shape, ([n]) => logSum(row(logits, [n, 0])) - at(logits, [n, targets.data[n]])),
  crossEntropyGradient: ({ inputs: [logits, targets, g] }) =>
    build(logits.shape, ([n, v]) => {
      const p = Math.exp(at(logits, [n, v]) - logSum(row(logits, [n, v])));
      return g.data[n] * (p - Number(v === targets.data[n]));
    }),
  reshape: ({ params, inputs: [x], size }) => ({ shape: params.shape.map(size), data: x.data }),
  transpose: ({ params: { perm }, inputs: [x] }) =>
    build(
      perm.map((axis) => x.shape[axis]),
      (index) =>
        at(
          x,
          x.shape.map((_, axis) => index[perm.indexOf(axis)]),
        ),
    ),
  broadcastTo: ({ params, inputs: [x], size }) => build(params.shape.map(size), (index) => at(x, index)),
  slice: ({ params: { axis, start, end }, inputs: [x], size }) => {
    const shape = replace(x.shape, axis, size(end) - size(start));
    return build(shape, (index) => at(x, replace(index, axis, index[axis] + size(start))));
  },
  concat: ({ params: { axis }, inputs }) => {
    const sizes = inputs.map((x) => x.shape[axis]);
    return build(
      replace(
        inputs[0].shape,
        axis,
        total(sizes.length, (i) => sizes[i]),
      ),
      (index) => {
        let [part, i] = [0, index[axis]];
        while (i >= sizes[part]) i -= sizes[part++];
        return at(inputs[part], replace(index, axis, i));
      },
    );
  },
  split: ({ params: { axis, sizes }, inputs: [x] }) =>
    sizes.map((count, part) => {
      const start = total(part, (i) => sizes[i]);
      return build(replace(x.shape, axis, count), (index) => at(x, replace(index, axis, index[axis] + start)));
    }),
  pad: ({ params: { axis, before, after, value }, inputs: [x], size }) =>
    build(replace(x.shape, axis, size(before) + x.shape[axis] + size(after)), (index) => {
      const i = index[axis] - size(before);
      return i >= 0 && i < x.shape[axis] ? at(x, replace(index, axis, i)) : value;
    }),
  gather: ({ params: { axis }, inputs: [x, indices] }) => {
    const end = axis + indices.shape.length;
    return build([...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)], (index) =>
      at(x, [...index.slice(0, axis), at(indices, index.slice(axis, end)), ...index.slice(end)]),
    );
  },
  scatterAdd: ({ params, inputs: [indices, updates], size }) => {
    const rank = indices.shape.length;
    return scatter([size(params.rows), ...updates.shape.slice(rank)], updates, (index) => [
      at(indices, index.slice(0, rank)),
      ...index.slice(rank),
    ]);
  },
  takeAlongAxis: ({ params: { axis }, inputs: [x, indices] }) =>
    build(indices.shape, (index) => at(x, replace(index, axis, at(indices, index)))),
  scatterAlongAxis: ({ params, inputs: [indices, updates], size }) =>
    scatter(replace(updates.shape, params.axis, size(params.size)), updates, (index) =>
      replace(index, params.axis, at(indices, index)),
    ),
  rotary: ({ inputs: [x, cosine, sine] }) => {
    const half = lastOf(x.shape) / 2;
    const angle = (table: Value, [b, , t]: number[], i: number): number =>
      at(table, table.shape.length === 3 ? [b, t, i] : [t, i]);
    return build(x.shape, (index) => {
      const i = index[3] % half;
      const [x1, x2] = [at(x, replace(index, 3, i)), at(x, replace(index, 3, i + half))];
      const [c, s] = [angle(cosine, index, i), angle(sine, index, i)];
      return index[3] < half ? x1 * c - x2 * s : x2 * c + x1 * s;
    });
  },
};

/** Values of named outputs. Leaves: inputs by name, random leaves by stream. */
export function interpret(
  outputs: Readonly<Record<string, Tensor>>,
  leaves: Readonly<Record<string, Value>>,
): Record<string, Value> {
  const order = topologicalOrder(Object.values(outputs));
  const sizes = new Map<string, number>();
  for (const node of order) {
    if (node.op !== "input") continue;
    const { name, shape } = (node as Node<"input">).params;
    for (const [axis, dim] of shape.entries()) if (typeof dim === "string") sizes.set(dim, leaves[name].shape[axis]);
  }
  const size = (dim: Dim): number => evaluateDim(dim, sizes);
  const values = new Map<Tensor, Value>();
  for (const node of order) {
    let results: Value | Value[];
    if (node.op === "input") results = leaves[(node as Node<"input">).params.name];
    else if (node.op === "random") results = leaves[(node as Node<"random">).params.stream];
    else
      results = run(
        node,
        node.inputs.map((x) => values.get(x) as Value),
        size,
      );
    for (const [i, value] of (Array.isArray(results) ? results : [results]).entries())
      values.set(node.outputs[i], value);
  }
  return Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, values.get(tensor) as Value]));
}

function run<P extends Primitive>(
  node: Node<P>,
  inputs: readonly Value[],
  size: (dim: Dim) => number,
): Value | Value[] {
  return (kernels[node.op] as Kernel<P>)({ params: node.params, inputs, node, size });
}
