/**
 * The primitives: one exhaustive typed table of parameters and shape rules. Gradient rules (grad.ts) and
 * lowering (runtime/lower.ts) are records over the same keys, so a forgotten entry does not compile.
 * Whatever is not here is a composition in functions.ts or nn/.
 */
import { UserError } from "../errors.ts";
import type { DType, HostTensor } from "./dtype.ts";
import { type Node, Tensor, type TensorType } from "./graph.ts";
import {
  addDims,
  broadcastShapes,
  type Dim,
  elementCount,
  expectShape,
  formatShape,
  type Shape,
  subtractDims,
} from "./shape.ts";

type None = Record<never, never>;
export type ReduceParams = { readonly axes: readonly number[]; readonly keepDims: boolean };
export type ConvParams = {
  readonly stride: number;
  readonly padding: number;
  readonly dilation: number;
  readonly groups: number;
};

/** Parameters of every primitive. Axes are non-negative here; functions.ts normalises what users pass. */
export interface PrimitiveParams {
  // Leaves
  input: { readonly name: string; readonly dtype: DType; readonly shape: Shape };
  constant: { readonly value: HostTensor };
  /** 0, 1, ..., size-1 as int32. */
  iota: { readonly size: Dim };
  /** Uniform numbers in [0, 1), filled by the runtime from the run's seed; `stream` tells several leaves apart. */
  random: { readonly shape: Shape; readonly stream: string };
  // Element-wise, two arguments, broadcasting
  add: None;
  sub: None;
  mul: None;
  div: None;
  pow: None;
  maximum: None;
  minimum: None;
  equal: None;
  less: None;
  lessEqual: None;
  logicalAnd: None;
  where: None;
  // Element-wise, one argument
  neg: None;
  exp: None;
  log: None;
  sqrt: None;
  tanh: None;
  sigmoid: None;
  erf: None;
  abs: None;
  sin: None;
  cos: None;
  sign: None;
  relu: None;
  gelu: None;
  geluTanh: None;
  silu: None;
  logicalNot: None;
  cast: { readonly dtype: DType };
  stopGradient: None;
  // Reductions and scans
  sum: ReduceParams;
  mean: ReduceParams;
  max: ReduceParams;
  argmax: { readonly axis: number };
  cumsum: { readonly axis: number; readonly reverse: boolean };
  topK: { readonly k: number };
  // Products
  /** scale * op(a) @ op(b), batch axes broadcast. */
  matmul: { readonly transposeA: boolean; readonly transposeB: boolean; readonly scale: number };
  /** x[..., I] @ w (+ bias[O]); w is [O, I], or [I, O] when `inputFirst` (GPT-2's Conv1D). */
  linear: { readonly inputFirst: boolean };
  conv1d: ConvParams;
  /** Gradient of conv1d towards its input: (dy[B,O,M], w[O,C/groups,K]) -> [B,C,L]. */
  conv1dInputGradient: ConvParams & { readonly length: number };
  // Normalisations over the last axis
  softmax: None;
  logSoftmax: None;
  /** Outputs y, mean, 1/sqrt(var + eps): the backward pass reads the statistics instead of computing them again. */
  layerNorm: { readonly eps: number };
  /** Outputs y, 1/sqrt(mean(x^2) + eps). */
  rmsNorm: { readonly eps: number };
  /** -ln softmax(logits)[target] per row: logits [N, V], targets [N] -> [N]. One primitive, for its lean gradient. */
  crossEntropy: None;
  /** Gradient of crossEntropy towards the logits: (logits [N, V], targets [N], g [N]) -> g (softmax - onehot). */
  crossEntropyGradient: None;
  // Layout
  reshape: { readonly shape: Shape };
  transpose: { readonly perm: readonly number[] };
  broadcastTo: { readonly shape: Shape };
  slice: { readonly axis: number; readonly start: Dim; readonly end: Dim };
  concat: { readonly axis: number };
  /** One output per size. */
  split: { readonly axis: number; readonly sizes: readonly number[] };
  pad: { readonly axis: number; readonly before: Dim; readonly after: Dim; readonly value: number };
  // Indexing
  gather: { readonly axis: number };
  /** zeros(rows, D...) with updates[N..., D...] added at indices[N...]. */
  scatterAdd: { readonly rows: Dim };
  takeAlongAxis: { readonly axis: number };
  /** zeros(shape) with updates added where takeAlongAxis would have read. */
  scatterAlongAxis: { readonly axis: number; readonly size: Dim };
  // Rotary positions: (x[B,H,T,D], cos[T,D/2], sin[T,D/2] or [B,T,D/2]), half-split pairs
  rotary: None;
}

export type Primitive = keyof PrimitiveParams;

type ShapeRule<P extends Primitive> = (params: PrimitiveParams[P], inputs: readonly Tensor[]) => TensorType[];

const typeError = (op: string, expected: string, got: string): never => {
  throw new UserError(`${op}: expected ${expected}, got ${got}`);
};

function sameDType(op: string, a: Tensor, b: Tensor): DType {
  return a.dtype === b.dtype ? a.dtype : typeError(op, "equal element types", `${a} and ${b}; use cast`);
}

const binary =
  (op: string) =>
  (_: None, [a, b]: readonly Tensor[]): TensorType[] => [
    { dtype: sameDType(op, a, b), shape: broadcastShapes(op, a.shape, b.shape) },
  ];

const comparison =
  (op: string) =>
  (_: None, [a, b]: readonly Tensor[]): TensorType[] => {
    sameDType(op, a, b);
    return [{ dtype: "bool", shape: broadcastShapes(op, a.shape, b.shape) }];
  };

const unary = (_: unknown, [x]: readonly Tensor[]): TensorType[] => [{ dtype: x.dtype, shape: x.shape }];

function reducedShape(shape: Shape, { axes, keepDims }: ReduceParams): Shape {
  return keepDims ? shape.map((dim, i) => (axes.includes(i) ? 1 : dim)) : shape.filter((_, i) => !axes.includes(i));
}

const reduction = (params: ReduceParams, [x]: readonly Tensor[]): TensorType[] => [
  { dtype: x.dtype, shape: reducedShape(x.shape, params) },
];

const replaceAxis = (shape: Shape, axis: number, dim: Dim): Shape => shape.map((d, i) => (i === axis ? dim : d));

/** Output length of a convolution: floor((L + 2p - d(K-1) - 1) / s) + 1. */
function convLength(length: number, kernel: number, { stride, padding, dilation }: ConvParams): number {
  return Math.floor((length + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1;
}

function staticDim(op: string, dim: Dim): number {
  return typeof dim === "number" ? dim : typeError(op, "a static axis", `"${dim}"`);
}

function requireIndices(op: string, indices: Tensor): void {
  if (indices.dtype !== "int32" && indices.dtype !== "int64") typeError(op, "int32 or int64 indices", String(indices));
}

const shapeRules: { [P in Primitive]: ShapeRule<P> } = {
  input: ({ dtype, shape }) => [{ dtype, shape }],
  constant: ({ value }) => [{ dtype: value.dtype, shape: value.shape }],
  iota: ({ size }) => [{ dtype: "int32", shape: [size] }],
  random: ({ shape }) => [{ dtype: "float32", shape }],
  add: binary("add"),
  sub: binary("sub"),
  mul: binary("mul"),
  div: binary("div"),
  pow: binary("pow"),
  maximum: binary("maximum"),
  minimum: binary("minimum"),
  equal: comparison("equal"),
  less: comparison("less"),
  lessEqual: comparison("lessEqual"),
  logicalAnd: comparison("logicalAnd"),
  where: (_, [condition, a, b]) => {
    if (condition.dtype !== "bool") typeError("where", "a bool condition", String(condition));
    const branches = broadcastShapes("where", a.shape, b.shape);
    return [{ dtype: sameDType("where", a, b), shape: broadcastShapes("where", condition.shape, branches) }];
  },
  neg: unary,
  exp: unary,
  log: unary,
  sqrt: unary,
  tanh: unary,
  sigmoid: unary,
  erf: unary,
  abs: unary,
  sin: unary,
  cos: unary,
  sign: unary,
  relu: unary,
  gelu: unary,
  geluTanh: unary,
  silu: unary,
  logicalNot: unary,
  cast: ({ dtype }, [x]) => [{ dtype, shape: x.shape }],
  stopGradient: unary,
  sum: reduction,
  mean: reduction,
  max: reduction,
  argmax: ({ axis }, [x]) => [{ dtype: "int32", shape: x.shape.filter((_, i) => i !== axis) }],
  cumsum: unary,
  topK: ({ k }, [x]) => {
    const last = x.shape[x.rank - 1];
    if (!Number.isInteger(k) || k < 1 || (typeof last === "number" && k > last)) {
      typeError("topK", `k from 1 to the last axis of ${formatShape(x.shape)}`, String(k));
    }
    const shape = replaceAxis(x.shape, x.rank - 1, k);
    return [
      { dtype: x.dtype, shape },
      { dtype: "int32", shape },
    ];
  },
  matmul: ({ transposeA, transposeB }, [a, b]) => {
    const shapes = `${formatShape(a.shape)} and ${formatShape(b.shape)}`;
    if (a.rank < 2 || b.rank < 2) typeError("matmul", "two tensors of rank 2 or more", shapes);
    const rows = a.shape[a.rank - (transposeA ? 1 : 2)];
    const innerA = a.shape[a.rank - (transposeA ? 2 : 1)];
    const innerB = b.shape[b.rank - (transposeB ? 1 : 2)];
    const columns = b.shape[b.rank - (transposeB ? 2 : 1)];
    if (innerA !== innerB) typeError("matmul", "equal inner axes", `${shapes} (${innerA} against ${innerB})`);
    const batch = broadcastShapes("matmul", a.shape.slice(0, -2), b.shape.slice(0, -2));
    return [{ dtype: sameDType("matmul", a, b), shape: [...batch, rows, columns] }];
  },
  linear: ({ inputFirst }, [x, w, bias]) => {
    if (x.rank < 1) typeError("linear", "an input of rank 1 or more", formatShape(x.shape));
    const known = { I: x.shape[x.rank - 1] };
    const { O } = expectShape("linear (weight)", w.shape, inputFirst ? "I O" : "O I", known);
    if (bias) expectShape("linear (bias)", bias.shape, "O", { O });
    return [{ dtype: sameDType("linear", x, w), shape: [...x.shape.slice(0, -1), O] }];
  },
  conv1d: (params, [x, w, bias]) => {
    const { B, C, L } = expectShape("conv1d (input)", x.shape, "B C L");
    const inner = staticDim("conv1d", C) / params.groups;
    const { O, K } = expectShape("conv1d (weight)", w.shape, "O I K", { I: inner });
    if (bias) expectShape("conv1d (bias)", bias.shape, "O", { O });
    const length = convLength(staticDim("conv1d", L), staticDim("conv1d", K), params);
    return [{ dtype: sameDType("conv1d", x, w), shape: [B, O, length] }];
  },
  conv1dInputGradient: ({ groups, length }, [dy, w]) => {
    return [{ dtype: dy.dtype, shape: [dy.shape[0], staticDim("conv1d", w.shape[1]) * groups, length] }];
  },
  softmax: unary,
  logSoftmax: unary,
  layerNorm: (_, [x, weight, bias]) => {
    const known = { C: x.shape[x.rank - 1] };
    expectShape("layerNorm (weight)", weight.shape, "C", known);
    expectShape("layerNorm (bias)", bias.shape, "C", known);
    const statistics: TensorType = { dtype: x.dtype, shape: replaceAxis(x.shape, x.rank - 1, 1) };
    return [{ dtype: x.dtype, shape: x.shape }, statistics, statistics];
  },
  rmsNorm: (_, [x, weight]) => {
    expectShape("rmsNorm (weight)", weight.shape, "C", { C: x.shape[x.rank - 1] });
    return [
      { dtype: x.dtype, shape: x.shape },
      { dtype: x.dtype, shape: replaceAxis(x.shape, x.rank - 1, 1) },
    ];
  },
  crossEntropy: (_, [logits, targets]) => {
    const { N } = expectShape("crossEntropy (logits)", logits.shape, "N V");
    expectShape("crossEntropy (targets)", targets.shape, "N", { N });
    return [{ dtype: logits.dtype, shape: [N] }];
  },
  crossEntropyGradient: unary,
  reshape: ({ shape }, [x]) => {
    if (elementCount(shape) !== elementCount(x.shape)) {
      typeError("reshape", `a shape with ${elementCount(x.shape)} elements`, formatShape(shape));
    }
    return [{ dtype: x.dtype, shape }];
  },
  transpose: ({ perm }, [x]) => {
    if ([...perm].sort((a, b) => a - b).join() !== [...x.shape.keys()].join()) {
      typeError("transpose", `a permutation of ${x.rank} axes`, formatShape(perm));
    }
    return [{ dtype: x.dtype, shape: perm.map((axis) => x.shape[axis]) }];
  },
  broadcastTo: ({ shape }, [x]) => {
    const result = broadcastShapes("broadcastTo", x.shape, shape);
    if (formatShape(result) !== formatShape(shape)) {
      typeError("broadcastTo", `a shape that ${formatShape(x.shape)} stretches to`, formatShape(shape));
    }
    return [{ dtype: x.dtype, shape }];
  },
  slice: ({ axis, start, end }, [x]) => {
    const size = subtractDims(end, start);
    const limit = x.shape[axis];
    const reversed = typeof size === "number" && size < 0;
    const beyond = typeof end === "number" && Number(limit) < end;
    const before = typeof start === "number" && start < 0;
    if (reversed || beyond || before) typeError("slice", `0 <= start <= end <= ${limit}`, `${start} to ${end}`);
    return [{ dtype: x.dtype, shape: replaceAxis(x.shape, axis, size) }];
  },
  concat: ({ axis }, inputs) => {
    const [first, ...rest] = inputs;
    for (const other of rest) {
      sameDType("concat", first, other);
      const fits = other.rank === first.rank && other.shape.every((dim, i) => i === axis || dim === first.shape[i]);
      if (!fits) typeError("concat", `shapes equal but for axis ${axis}`, inputs.map(String).join(", "));
    }
    const size = inputs.map((x) => x.shape[axis]).reduce(addDims);
    return [{ dtype: first.dtype, shape: replaceAxis(first.shape, axis, size) }];
  },
  split: ({ axis, sizes }, [x]) => {
    const total = sizes.reduce((a, b) => a + b, 0);
    if (total !== x.shape[axis]) typeError("split", `sizes that add up to ${x.shape[axis]}`, sizes.join(" + "));
    return sizes.map((size) => ({ dtype: x.dtype, shape: replaceAxis(x.shape, axis, size) }));
  },
  pad: ({ axis, before, after }, [x]) => [
    { dtype: x.dtype, shape: replaceAxis(x.shape, axis, addDims(addDims(before, x.shape[axis]), after)) },
  ],
  gather: ({ axis }, [x, indices]) => {
    requireIndices("gather", indices);
    return [{ dtype: x.dtype, shape: [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)] }];
  },
  scatterAdd: ({ rows }, [indices, updates]) => {
    requireIndices("scatterAdd", indices);
    const leading = updates.shape.slice(0, indices.rank);
    if (formatShape(leading) !== formatShape(indices.shape)) {
      typeError("scatterAdd", `updates that begin with ${formatShape(indices.shape)}`, formatShape(updates.shape));
    }
    return [{ dtype: updates.dtype, shape: [rows, ...updates.shape.slice(indices.rank)] }];
  },
  takeAlongAxis: ({ axis }, [x, indices]) => {
    requireIndices("takeAlongAxis", indices);
    const fits = x.rank === indices.rank && x.shape.every((dim, i) => i === axis || dim === indices.shape[i]);
    if (!fits)
      typeError("takeAlongAxis", `indices shaped like ${formatShape(x.shape)} but for axis ${axis}`, String(indices));
    return [{ dtype: x.dtype, shape: indices.shape }];
  },
  scatterAlongAxis: ({ axis, size }, [indices, updates]) => [
    { dtype: updates.dtype, shape: replaceAxis(indices.shape, axis, size) },
  ],
  rotary: (_, [x, cos, sin]) => {
    const { T, D } = expectShape("rotary", x.shape, "B H T D");
    const half = staticDim("rotary", D) / 2;
    if (!Number.isInteger(half)) typeError("rotary", "an even head size", String(D));
    for (const table of [cos, sin]) {
      if (table.rank === 3) expectShape("rotary (cos, sin)", table.shape, "B T H", { B: x.shape[0], T, H: half });
      else expectShape("rotary (cos, sin)", table.shape, "T H", { T, H: half });
    }
    return [{ dtype: x.dtype, shape: x.shape }];
  },
};

/** Apply a primitive: checks shapes and adds a node. */
export function apply<P extends Primitive>(
  op: P,
  params: PrimitiveParams[P],
  inputs: readonly Tensor[],
): readonly Tensor[] {
  const outputs: Tensor[] = [];
  const node: Node = { op, params, inputs, outputs };
  for (const [index, type] of shapeRules[op](params, inputs).entries()) outputs.push(new Tensor(node, index, type));
  return outputs;
}
