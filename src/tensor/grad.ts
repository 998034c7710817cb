/**
 * Reverse-mode differentiation as one exhaustive table: each primitive's rule turns the cotangents of its outputs
 * into the cotangents of its inputs. A gradient is a graph of the same primitives, so the runtime need not know of
 * training.
 */
import { internal, UserError } from "../errors.ts";
import { sizeOf } from "./dtype.ts";
import {
  add,
  cast,
  concat,
  conv1d,
  cos,
  cumsum,
  div,
  equal,
  exp,
  lessEqual,
  log,
  logicalAnd,
  matmul,
  mul,
  neg,
  pad,
  pow,
  reshape,
  rotary,
  rows,
  scalar,
  scatterAdd,
  sigmoid,
  sign,
  sin,
  slice,
  square,
  sub,
  sum,
  transpose,
  where,
  less,
  broadcastTo,
} from "./functions.ts";
import { type Node, Tensor, topologicalOrder } from "./graph.ts";
import { apply, type Primitive, type PrimitiveParams } from "./ops.ts";
import {
  addDims,
  type Dim,
  elementCount,
  formatShape,
  isStatic,
  sameShape,
  type Shape,
  subtractDims,
} from "./shape.ts";

interface RuleContext<P extends Primitive> {
  readonly params: PrimitiveParams[P];
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  /** Cotangent of the first output: the only one that most primitives have. */
  readonly g: Tensor;
  /** Cotangents of all outputs; undefined where nothing depends on one. */
  readonly cotangents: readonly (Tensor | undefined)[];
}

/** Cotangent per input; undefined where none flows. */
type Rule<P extends Primitive> = (context: RuleContext<P>) => readonly (Tensor | undefined)[];

const noGradient = (): [] => [];

/** Sum a cotangent back over the axes that broadcasting stretched. */
function unbroadcast(g: Tensor, shape: Shape): Tensor {
  if (sameShape(g.shape, shape)) return g;
  const extra = g.rank - shape.length;
  const axes = [...g.shape.keys()].filter((i) => i < extra || (shape[i - extra] === 1 && g.shape[i] !== 1));
  return reshape(axes.length > 0 ? sum(g, { axes, keepDims: true }) : g, shape);
}

/** Put back the reduced axes as size 1, so that the cotangent broadcasts over the input. */
function keepReduced(g: Tensor, x: Tensor, axes: readonly number[]): Tensor {
  return reshape(
    g,
    x.shape.map((dim, i) => (axes.includes(i) ? 1 : dim)),
  );
}

/** Rule of an element-wise function of one argument from its derivative. */
const elementwise =
  (derivative: (x: Tensor, y: Tensor) => Tensor): Rule<Primitive> =>
  ({ inputs: [x], outputs: [y], g }) => [mul(g, derivative(x, y))];

const isFloat = ({ dtype }: Tensor): boolean => dtype === "float32" || dtype === "float16";

/** 1 where a wins, 1/2 at ties (PyTorch's choice), 0 where it loses. */
const share = (wins: Tensor, tie: Tensor): Tensor => add(cast(wins, "float32"), mul(cast(tie, "float32"), 0.5));

function matmulRule({ params, inputs: [a, b], g }: RuleContext<"matmul">): Tensor[] {
  const { transposeA, transposeB, scale } = params;
  const da = transposeA
    ? matmul(b, g, { transposeA: transposeB, transposeB: true, scale })
    : matmul(g, b, { transposeB: !transposeB, scale });
  const db = transposeB
    ? matmul(g, a, { transposeA: true, transposeB: transposeA, scale })
    : matmul(a, g, { transposeA: !transposeA, scale });
  return [unbroadcast(da, a.shape), unbroadcast(db, b.shape)];
}

/** dL/dW[o,c,k] = sum over b, m of dy[b,o,m] x[b,c,m*stride + k*dilation - padding]: a convolution of x with dy. */
function convWeightGradient(x: Tensor, w: Tensor, dy: Tensor, params: PrimitiveParams["conv1d"]): Tensor {
  const { stride, padding, dilation, groups } = params;
  const perGroup = (t: Tensor, i: number): Tensor => {
    const size = Number(t.shape[1]) / groups;
    return transpose(slice(t, { axis: 1, start: i * size, end: (i + 1) * size }), [1, 0, 2]);
  };
  const parts = Array.from({ length: groups }, (_, i) => {
    const full = conv1d(perGroup(x, i), perGroup(dy, i), undefined, { stride: dilation, dilation: stride, padding });
    return transpose(slice(full, { axis: 2, end: w.shape[2] }), [1, 0, 2]);
  });
  return concat(parts, { axis: 0 });
}

const SQRT_2_OVER_PI = Math.sqrt(2 / Math.PI);

export const gradientRules: { [P in Primitive]: Rule<P> } = {
  input: noGradient,
  constant: noGradient,
  iota: noGradient,
  random: noGradient,
  equal: noGradient,
  less: noGradient,
  lessEqual: noGradient,
  logicalAnd: noGradient,
  logicalNot: noGradient,
  argmax: noGradient,
  stopGradient: noGradient,
  sign: noGradient,

  add: ({ inputs: [a, b], g }) => [unbroadcast(g, a.shape), unbroadcast(g, b.shape)],
  sub: ({ inputs: [a, b], g }) => [unbroadcast(g, a.shape), neg(unbroadcast(g, b.shape))],
  mul: ({ inputs: [a, b], g }) => [unbroadcast(mul(g, b), a.shape), unbroadcast(mul(g, a), b.shape)],
  // d(a/b) = da/b - (a/b) db/b
  div: ({ inputs: [a, b], outputs: [y], g }) => {
    const da = div(g, b);
    return [unbroadcast(da, a.shape), neg(unbroadcast(mul(da, y), b.shape))];
  },
  // d(a^b) = b a^(b-1) da + a^b ln(a) db; where a = 0 makes that 0 times infinity, it is 0 (PyTorch's choice)
  pow: ({ inputs: [a, b], outputs: [y], g }) => {
    const zero = scalar(0);
    const slope = where(equal(b, zero), 0, mul(b, pow(a, sub(b, 1))));
    const vanishes = logicalAnd(equal(a, zero), lessEqual(zero, b));
    return [unbroadcast(mul(g, slope), a.shape), unbroadcast(mul(g, where(vanishes, 0, mul(y, log(a)))), b.shape)];
  },
  maximum: ({ inputs: [a, b], g }) => [
    unbroadcast(mul(g, share(less(b, a), equal(a, b))), a.shape),
    unbroadcast(mul(g, share(less(a, b), equal(a, b))), b.shape),
  ],
  minimum: ({ inputs: [a, b], g }) => [
    unbroadcast(mul(g, share(less(a, b), equal(a, b))), a.shape),
    unbroadcast(mul(g, share(less(b, a), equal(a, b))), b.shape),
  ],
  where: ({ inputs: [condition, a, b], g }) => [
    undefined,
    unbroadcast(where(condition, g, 0), a.shape),
    unbroadcast(where(condition, 0, g), b.shape),
  ],

  neg: ({ g }) => [neg(g)],
  exp: elementwise((_, y) => y),
  log: ({ inputs: [x], g }) => [div(g, x)],
  sqrt: ({ outputs: [y], g }) => [div(mul(g, 0.5), y)],
  tanh: elementwise((_, y) => sub(1, square(y))),
  sigmoid: elementwise((_, y) => sub(y, square(y))),
  // d erf(x) = 2/sqrt(pi) exp(-x^2)
  erf: elementwise((x) => mul(exp(neg(square(x))), 2 / Math.sqrt(Math.PI))),
  abs: elementwise(sign),
  sin: elementwise((x) => cos(x)),
  cos: elementwise((x) => neg(sin(x))),
  relu: ({ outputs: [y], g }) => [where(less(scalar(0), y), g, 0)],
  // d(x Phi(x)) = Phi(x) + x phi(x)
  gelu: elementwise((x) => {
    const cdf = mul(add(apply("erf", {}, [mul(x, Math.SQRT1_2)])[0], 1), 0.5);
    const density = mul(exp(mul(square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
    return add(cdf, mul(x, density));
  }),
  // y = x s(2z) with z = c (x + a x^3), so dy = s + 2 y (1 - s) dz: fewer passes than through tanh
  geluTanh: elementwise((x, y) => {
    const a = 0.044715;
    const x2 = square(x);
    const s = sigmoid(mul(x, add(mul(x2, 2 * a * SQRT_2_OVER_PI), 2 * SQRT_2_OVER_PI)));
    const slope = add(mul(x2, 6 * a * SQRT_2_OVER_PI), 2 * SQRT_2_OVER_PI);
    return add(s, mul(mul(y, slope), sub(1, s)));
  }),
  // y = x s, dy = s + y (1 - s)
  silu: elementwise((x, y) => {
    const s = sigmoid(x);
    return add(s, mul(y, sub(1, s)));
  }),
  // Integers and truth values carry no gradient, neither in nor out
  cast: ({ inputs: [x], outputs: [y], g }) => [isFloat(x) && isFloat(y) ? cast(g, x.dtype) : undefined],

  sum: ({ params, inputs: [x], g }) => [broadcastTo(keepReduced(g, x, params.axes), x.shape)],
  // The count of a symbolic axis is only known at run time: sum ones
  mean: ({ params: { axes }, inputs: [x], g }) => {
    const reduced = x.shape.filter((_, i) => axes.includes(i));
    const count = isStatic(reduced) ? scalar(sizeOf(reduced)) : sum(broadcastTo(scalar(1), reduced));
    return [broadcastTo(keepReduced(div(g, count), x, axes), x.shape)];
  },
  // ties share the gradient evenly, as in torch.amax
  max: ({ params: { axes }, inputs: [x], outputs: [y], g }) => {
    const hit = cast(equal(x, keepReduced(y, x, axes)), "float32");
    return [mul(div(hit, sum(hit, { axes, keepDims: true })), keepReduced(g, x, axes))];
  },
  cumsum: ({ params: { axis, reverse }, g }) => [cumsum(g, { axis, reverse: !reverse })],
  topK: ({ inputs: [x], outputs: [, indices], g }) => [
    apply("scatterAlongAxis", { axis: x.rank - 1, size: x.shape[x.rank - 1] }, [indices, g])[0],
  ],

  matmul: matmulRule,
  linear: ({ params: { inputFirst }, inputs: [x, w, bias], g }) => {
    const dy = rows(g);
    const dx = matmul(dy, w, { transposeB: inputFirst });
    const dw = inputFirst ? matmul(rows(x), dy, { transposeA: true }) : matmul(dy, rows(x), { transposeA: true });
    return [reshape(dx, x.shape), dw, bias && sum(dy, { axes: [0] })];
  },
  conv1d: ({ params, inputs: [x, w, bias], g }) => [
    apply("conv1dInputGradient", { ...params, length: Number(x.shape[2]) }, [g, w])[0],
    convWeightGradient(x, w, g, params),
    bias && sum(g, { axes: [0, 2] }),
  ],
  conv1dInputGradient: () => {
    throw new UserError("gradients: expected a first derivative of conv1d, got a second one; it is not supported");
  },

  // dx = y (g - sum(g y)) per row
  softmax: ({ outputs: [y], g }) => {
    const gy = mul(g, y);
    return [sub(gy, mul(y, sum(gy, { axes: [-1], keepDims: true })))];
  },
  logSoftmax: ({ outputs: [y], g }) => [sub(g, mul(exp(y), sum(g, { axes: [-1], keepDims: true })))],
  // With x^ = (x - mean) r:  dx = r (g w - mean(g w) - x^ mean(g w x^)); the two means are products with w / C
  layerNorm: ({ inputs: [x, weight], outputs: [, average, r], g, cotangents }) => {
    refuseStatistics("layerNorm", cotangents);
    const normal = mul(sub(x, average), r);
    const gx = mul(g, normal);
    const column = reshape(weight, [weight.shape[0], 1]);
    const scale = 1 / Number(weight.shape[0]);
    const meanG = matmulLast(g, column, scale);
    const meanGx = matmulLast(gx, column, scale);
    const dx = mul(sub(sub(mul(g, weight), mul(normal, meanGx)), meanG), r);
    return [dx, sum(rows(gx), { axes: [0] }), sum(rows(g), { axes: [0] })];
  },
  // dx = r (g w - x^ mean(g w x^)) with x^ = x r
  rmsNorm: ({ inputs: [x, weight], outputs: [, r], g, cotangents }) => {
    refuseStatistics("rmsNorm", cotangents);
    const normal = mul(x, r);
    const gx = mul(g, normal);
    const column = reshape(weight, [weight.shape[0], 1]);
    const meanGx = matmulLast(gx, column, 1 / Number(weight.shape[0]));
    return [mul(sub(mul(g, weight), mul(normal, meanGx)), r), sum(rows(gx), { axes: [0] })];
  },

  crossEntropy: ({ inputs: [logits, targets], g }) => [apply("crossEntropyGradient", {}, [logits, targets, g])[0]],
  crossEntropyGradient: () => {
    throw new UserError(
      "gradients: expected a first derivative of crossEntropy, got a second one; compose it from logSoftmax",
    );
  },

  reshape: ({ inputs: [x], g }) => [reshape(g, x.shape)],
  transpose: ({ params: { perm }, g }) => [
    transpose(
      g,
      perm.map((_, i) => perm.indexOf(i)),
    ),
  ],
  broadcastTo: ({ inputs: [x], g }) => [unbroadcast(g, x.shape)],
  slice: ({ params: { axis, start, end }, inputs: [x], g }) => [
    pad(g, { axis, before: start, after: subtractDims(x.shape[axis], end) }),
  ],
  concat: ({ params: { axis }, inputs, g }) => {
    let start: Dim = 0;
    return inputs.map((x) => {
      const end: Dim = addDims(start, x.shape[axis]);
      const part = slice(g, { axis, start, end });
      start = end;
      return part;
    });
  },
  split: ({ params: { axis }, outputs, cotangents }) => [
    concat(
      outputs.map((output, i) => cotangents[i] ?? broadcastTo(scalar(0), output.shape)),
      { axis },
    ),
  ],
  pad: ({ params: { axis, before }, inputs: [x], g }) => [
    slice(g, { axis, start: before, end: addDims(before, x.shape[axis]) }),
  ],
  gather: ({ params: { axis }, inputs: [x, indices], g }) => {
    const moved = [...g.shape.keys()];
    const front = moved.splice(axis, indices.rank);
    const table = scatterAdd(indices, axis === 0 ? g : transpose(g, [...front, ...moved]), { rows: x.shape[axis] });
    if (axis === 0) return [table];
    const back = [...x.shape.keys()].map((i) => (i < axis ? i + 1 : i === axis ? 0 : i));
    return [transpose(table, back)];
  },
  scatterAdd: ({ inputs: [indices], g }) => [undefined, apply("gather", { axis: 0 }, [g, indices])[0]],
  takeAlongAxis: ({ params: { axis }, inputs: [x, indices], g }) => [
    apply("scatterAlongAxis", { axis, size: x.shape[axis] }, [indices, g])[0],
  ],
  scatterAlongAxis: ({ params: { axis }, inputs: [indices], g }) => [
    undefined,
    apply("takeAlongAxis", { axis }, [g, indices])[0],
  ],
  // A rotation: its transpose turns back. cos and sin are tables of positions, never trained.
  rotary: ({ inputs: [, cosine, sine], g }) => [rotary(g, cosine, neg(sine))],
};

/** Only a gradient reads the statistics of a norm, so a cotangent that reaches them is a second derivative's. */
function refuseStatistics(op: string, [, ...statistics]: readonly (Tensor | undefined)[]): void {
  if (statistics.some(Boolean)) {
    throw new UserError(`gradients: expected a first derivative of ${op}, got a second one; it is not supported`);
  }
}

function matmulLast(x: Tensor, column: Tensor, scale: number): Tensor {
  return reshape(matmul(rows(x), column, { scale }), [...x.shape.slice(0, -1), 1]);
}

export interface RowGradient {
  /** Rows read, int32 [N]; a row read twice appears twice. */
  readonly indices: Tensor;
  /** Cotangent of each row read, [N, D...]. */
  readonly values: Tensor;
}

export interface Gradient {
  /** Dense gradient, of the parameter's shape; undefined when only rows were read. */
  readonly dense: Tensor | undefined;
  /** Contributions of row look-ups that were asked to stay sparse. */
  readonly rows: readonly RowGradient[];
}

/**
 * Gradients of a scalar towards tensors. For those in `sparse`, look-ups along axis 0 leave the graph as
 * (indices, values) instead of a table-sized array; the rest of their gradient stays dense.
 */
export function sparseGradients(loss: Tensor, wrt: readonly Tensor[], sparse: ReadonlySet<Tensor>): Gradient[] {
  if (loss.rank !== 0)
    throw new UserError(`gradients: expected a scalar loss, got ${formatShape(loss.shape)}; use mean or sum`);
  const order = topologicalOrder([loss]);
  const needed = new Set<Tensor>(wrt);
  for (const node of order) {
    if (node.op !== "stopGradient" && node.inputs.some((x) => needed.has(x))) {
      for (const output of node.outputs) needed.add(output);
    }
  }
  const cotangents = new Map<Tensor, Tensor>([[loss, scalar(1)]]);
  const rowGradients = new Map<Tensor, RowGradient[]>();
  for (const node of order.reverse()) {
    const outputs = node.outputs.map((output) => cotangents.get(output));
    if (node.inputs.length === 0 || !outputs.some(Boolean) || !node.inputs.some((x) => needed.has(x))) continue;
    const table = node.inputs[0];
    if (node.op === "gather" && (node as Node<"gather">).params.axis === 0 && sparse.has(table)) {
      const found = rowGradients.get(table) ?? [];
      found.push(asRows(node.inputs[1], outputs[0] ?? internal("gather without cotangent")));
      rowGradients.set(table, found);
      continue;
    }
    const parts = applyRule(node, outputs);
    for (const [i, x] of node.inputs.entries()) {
      const part = parts[i];
      if (!part || !needed.has(x)) continue;
      if (!sameShape(part.shape, x.shape)) {
        internal(`gradient of ${node.op} towards input ${i}: ${formatShape(part.shape)} for ${formatShape(x.shape)}`);
      }
      const before = cotangents.get(x);
      cotangents.set(x, before ? add(before, part) : part);
    }
  }
  return wrt.map((x) => ({ dense: cotangents.get(x), rows: rowGradients.get(x) ?? [] }));
}

function applyRule<P extends Primitive>(node: Node<P>, cotangents: readonly (Tensor | undefined)[]) {
  const { op, params, inputs, outputs } = node;
  const g = cotangents[0] ?? broadcastTo(scalar(0), outputs[0].shape);
  return (gradientRules[op] as Rule<P>)({ params, inputs, outputs, g, cotangents });
}

function asRows(indices: Tensor, g: Tensor): RowGradient {
  const count = elementCount(indices.shape);
  return { indices: reshape(indices, [count]), values: reshape(g, [count, ...g.shape.slice(indices.rank)]) };
}

/** Dense gradients of a scalar towards tensors; zeros where the loss does not depend on one. */
export function gradients(loss: Tensor, wrt: readonly Tensor[]): Tensor[] {
  return sparseGradients(loss, wrt, new Set()).map(({ dense }, i) => dense ?? broadcastTo(scalar(0), wrt[i].shape));
}
