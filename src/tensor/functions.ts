/** The functions users build graphs with: primitives with friendly arguments, and their everyday compositions. */
import type { DType, HostTensor } from "./dtype.ts";
import { float32Host, int32Host } from "./dtype.ts";
import type { Tensor } from "./graph.ts";
import { apply, type ConvParams, type PrimitiveParams } from "./ops.ts";
import { type Dim, elementCount, normalizeAxis, sameShape, type Shape } from "./shape.ts";

// ── leaves ──

/** A value given at each run. Symbolic axes ("B", "T") take their sizes from what is fed. */
export const input = (name: string, dtype: DType, shape: Shape): Tensor =>
  apply("input", { name, dtype, shape }, [])[0];

export const constant = (value: HostTensor): Tensor => apply("constant", { value }, [])[0];

/** A float32 scalar constant. */
export const scalar = (value: number): Tensor => constant(float32Host([], [value]));

/** An int32 scalar constant. */
export const integer = (value: number): Tensor => constant(int32Host([], [value]));

/** 0, 1, ..., size-1 as int32 [size]. */
export const iota = (size: Dim): Tensor => apply("iota", { size }, [])[0];

/** Uniform numbers in [0, 1) from the seed of the run. Streams of equal name and run seed repeat exactly. */
export const random = (shape: Shape, stream: string): Tensor => apply("random", { shape, stream }, [])[0];

// ── element-wise ──

type Operand = Tensor | number;
const lift = (x: Operand): Tensor => (typeof x === "number" ? scalar(x) : x);
const binary =
  (op: "add" | "sub" | "mul" | "div" | "pow" | "maximum" | "minimum" | "equal" | "less" | "lessEqual" | "logicalAnd") =>
  (a: Operand, b: Operand): Tensor =>
    apply(op, {}, [lift(a), lift(b)])[0];
const unary =
  (
    op:
      | "neg"
      | "exp"
      | "log"
      | "sqrt"
      | "tanh"
      | "sigmoid"
      | "erf"
      | "abs"
      | "sin"
      | "cos"
      | "sign"
      | "relu"
      | "gelu"
      | "geluTanh"
      | "silu"
      | "logicalNot"
      | "stopGradient"
      | "softmax"
      | "logSoftmax",
  ) =>
  (x: Tensor): Tensor =>
    apply(op, {}, [x])[0];

export const add = binary("add");
export const sub = binary("sub");
export const mul = binary("mul");
export const div = binary("div");
export const pow = binary("pow");
export const maximum = binary("maximum");
export const minimum = binary("minimum");
export const equal = binary("equal");
export const less = binary("less");
export const lessEqual = binary("lessEqual");
export const logicalAnd = binary("logicalAnd");
export const logicalNot = unary("logicalNot");
export const neg = unary("neg");
export const exp = unary("exp");
export const log = unary("log");
export const sqrt = unary("sqrt");
export const tanh = unary("tanh");
export const sigmoid = unary("sigmoid");
export const erf = unary("erf");
export const abs = unary("abs");
export const sin = unary("sin");
export const cos = unary("cos");
export const sign = unary("sign");
export const relu = unary("relu");
/** x * Phi(x), exact. */
export const gelu = unary("gelu");
/** The tanh approximation of GELU (GPT-2's gelu_new). */
export const geluTanh = unary("geluTanh");
/** x * sigmoid(x). */
export const silu = unary("silu");
export const square = (x: Tensor): Tensor => mul(x, x);
export const reciprocal = (x: Tensor): Tensor => div(1, x);
export const where = (condition: Tensor, a: Operand, b: Operand): Tensor =>
  apply("where", {}, [condition, lift(a), lift(b)])[0];
export const cast = (x: Tensor, dtype: DType): Tensor => (x.dtype === dtype ? x : apply("cast", { dtype }, [x])[0]);
/** The value passes, the gradient does not. */
export const stopGradient = unary("stopGradient");

// ── reductions ──

interface ReduceOptions {
  axes?: readonly number[];
  keepDims?: boolean;
}

const reduce =
  (op: "sum" | "mean" | "max") =>
  (x: Tensor, { axes, keepDims = false }: ReduceOptions = {}): Tensor => {
    const normal = (axes ?? x.shape.map((_, i) => i)).map((axis) => normalizeAxis(op, axis, x.rank));
    return normal.length === 0 ? x : apply(op, { axes: normal, keepDims }, [x])[0];
  };

/** Over all axes unless `axes` is given. */
export const sum = reduce("sum");
export const mean = reduce("mean");
export const max = reduce("max");
/** int32 index of the largest value along an axis (the first of equals). */
export const argmax = (x: Tensor, { axis = -1 }: { axis?: number } = {}): Tensor =>
  apply("argmax", { axis: normalizeAxis("argmax", axis, x.rank) }, [x])[0];
export const cumsum = (x: Tensor, { axis = -1, reverse = false }: { axis?: number; reverse?: boolean } = {}): Tensor =>
  apply("cumsum", { axis: normalizeAxis("cumsum", axis, x.rank), reverse }, [x])[0];
/** The k largest of the last axis, descending: [values, int32 indices]. */
export const topK = (x: Tensor, k: number): readonly [values: Tensor, indices: Tensor] => {
  const [values, indices] = apply("topK", { k }, [x]);
  return [values, indices];
};

// ── products ──

/** scale * op(a) @ op(b); a [..., M, K], b [..., K, N]; leading axes broadcast. */
export const matmul = (
  a: Tensor,
  b: Tensor,
  { transposeA = false, transposeB = false, scale = 1 }: Partial<PrimitiveParams["matmul"]> = {},
): Tensor => apply("matmul", { transposeA, transposeB, scale }, [a, b])[0];

/** x [..., I] times weight [O, I] ([I, O] when `inputFirst`) plus bias [O] -> [..., O]. */
export const linear = (x: Tensor, weight: Tensor, bias?: Tensor, { inputFirst = false } = {}): Tensor =>
  apply("linear", { inputFirst }, bias ? [x, weight, bias] : [x, weight])[0];

/** x [B, C, L], weight [O, C/groups, K], bias [O] -> [B, O, M]. */
export const conv1d = (
  x: Tensor,
  weight: Tensor,
  bias?: Tensor,
  { stride = 1, padding = 0, dilation = 1, groups = 1 }: Partial<ConvParams> = {},
): Tensor => apply("conv1d", { stride, padding, dilation, groups }, bias ? [x, weight, bias] : [x, weight])[0];

// ── normalisations over the last axis ──

export const softmax = unary("softmax");
export const logSoftmax = unary("logSoftmax");
/** (x - mean) / sqrt(var + eps) * weight + bias (1607.06450, Eq. 4). */
export const layerNorm = (x: Tensor, weight: Tensor, bias: Tensor, { eps = 1e-5 } = {}): Tensor =>
  apply("layerNorm", { eps }, [x, weight, bias])[0];
/** x / sqrt(mean(x^2) + eps) * weight (1910.07467, Eq. 4). */
export const rmsNorm = (x: Tensor, weight: Tensor, { eps = 1e-6 } = {}): Tensor =>
  apply("rmsNorm", { eps }, [x, weight])[0];

/** -ln softmax(logits)[target] per row, in nats: logits [N, V], targets [N] (int32) -> [N]. */
export const crossEntropy = (logits: Tensor, targets: Tensor): Tensor =>
  apply("crossEntropy", {}, [logits, targets])[0];

// ── layout ──

export const reshape = (x: Tensor, shape: Shape): Tensor =>
  sameShape(x.shape, shape) ? x : apply("reshape", { shape }, [x])[0];
/** Reorder axes; without `perm` the last two are swapped. */
export const transpose = (x: Tensor, perm?: readonly number[]): Tensor => {
  const order = perm ?? [...x.shape.keys()].map((i) => (i < x.rank - 2 ? i : 2 * x.rank - 3 - i));
  return apply("transpose", { perm: order.map((axis) => normalizeAxis("transpose", axis, x.rank)) }, [x])[0];
};
export const broadcastTo = (x: Tensor, shape: Shape): Tensor =>
  sameShape(x.shape, shape) ? x : apply("broadcastTo", { shape }, [x])[0];
export const slice = (
  x: Tensor,
  { axis, start = 0, end, step = 1 }: { axis: number; start?: Dim; end?: Dim; step?: number },
): Tensor => {
  const normal = normalizeAxis("slice", axis, x.rank);
  const stop = end ?? x.shape[normal];
  if (step === 1) return apply("slice", { axis: normal, start, end: stop }, [x])[0];
  const kept: number[] = [];
  for (let i = Number(start); i < Number(stop); i += step) kept.push(i);
  return gather(x, constant(int32Host([kept.length], kept)), { axis: normal });
};
export const concat = (inputs: readonly Tensor[], { axis }: { axis: number }): Tensor =>
  inputs.length === 1 ? inputs[0] : apply("concat", { axis: normalizeAxis("concat", axis, inputs[0].rank) }, inputs)[0];
/** Cut an axis into pieces of the given sizes. */
export const split = (x: Tensor, sizes: readonly number[], { axis = -1 }: { axis?: number } = {}): readonly Tensor[] =>
  apply("split", { axis: normalizeAxis("split", axis, x.rank), sizes }, [x]);
export const pad = (
  x: Tensor,
  { axis, before = 0, after = 0, value = 0 }: { axis: number; before?: Dim; after?: Dim; value?: number },
): Tensor => apply("pad", { axis: normalizeAxis("pad", axis, x.rank), before, after, value }, [x])[0];
/** Flatten all axes but the last: [..., C] -> [N, C]. */
export const rows = (x: Tensor): Tensor => reshape(x, [elementCount(x.shape.slice(0, -1)), x.shape[x.rank - 1]]);

// ── indexing ──

/** Entries of x along `axis` at integer indices of any shape. */
export const gather = (x: Tensor, indices: Tensor, { axis = 0 }: { axis?: number } = {}): Tensor =>
  apply("gather", { axis: normalizeAxis("gather", axis, x.rank) }, [x, indices])[0];
/** zeros [rows, D...] with updates [N..., D...] added at indices [N...]; repeated indices add up. */
export const scatterAdd = (indices: Tensor, updates: Tensor, { rows: count }: { rows: Dim }): Tensor =>
  apply("scatterAdd", { rows: count }, [indices, updates])[0];
/** out[i][j] = x[i][indices[i][j]] along `axis`; ranks equal. */
export const takeAlongAxis = (x: Tensor, indices: Tensor, { axis = -1 }: { axis?: number } = {}): Tensor =>
  apply("takeAlongAxis", { axis: normalizeAxis("takeAlongAxis", axis, x.rank) }, [x, indices])[0];

/**
 * Rotary positions on x [B,H,T,D] with half-split pairs: y1 = x1 cos - x2 sin, y2 = x2 cos + x1 sin (2104.09864, Eq.
 * 34).
 */
export const rotary = (x: Tensor, cosine: Tensor, sine: Tensor): Tensor => apply("rotary", {}, [x, cosine, sine])[0];
