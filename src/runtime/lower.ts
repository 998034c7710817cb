/**
 * Lowers primitives to ONNX operators: one exhaustive record, one entry per primitive.
 * Fused operators of the runtime ("com.microsoft") are used where it has them; gradients are ordinary operators.
 */
import { UserError } from "../errors.ts";
import { float32Host, type HostTensor, zerosHost } from "../tensor/dtype.ts";
import type { Node } from "../tensor/graph.ts";
import type { ConvParams, Primitive, ReduceParams } from "../tensor/ops.ts";
import { type Dim, dimTerms, elementCount, isStatic, type Shape } from "../tensor/shape.ts";
import { type Attribute, type OnnxNode, onnxType } from "./onnx.ts";
import type { Device } from "./session.ts";

/** Emits operators while a graph is walked; remembers constants and sizes that were emitted before. */
export class Emitter {
  readonly nodes: OnnxNode[] = [];
  readonly initializers: { name: string; value: HostTensor }[] = [];
  readonly device: Device;
  /** Where the size of each symbolic axis can be read: an input and its axis. */
  readonly #symbols: ReadonlyMap<string, { input: string; axis: number }>;
  readonly #cache = new Map<string, string>();
  #count = 0;

  constructor(symbols: ReadonlyMap<string, { input: string; axis: number }>, device: Device) {
    this.#symbols = symbols;
    this.device = device;
  }

  fresh(): string {
    return `%${this.#count++}`; // no input is called so
  }

  /** Add an operator with one output and return its name. */
  emit(opType: string, inputs: readonly string[], attributes: Record<string, Attribute> = {}, domain = ""): string {
    return this.emitMany(opType, inputs, 1, attributes, domain)[0];
  }

  emitMany(
    opType: string,
    inputs: readonly string[],
    outputs: number,
    attributes: Record<string, Attribute> = {},
    domain = "",
  ): string[] {
    const names = Array.from({ length: outputs }, () => this.fresh());
    this.nodes.push({ opType, domain, inputs, outputs: names, attributes });
    return names;
  }

  fused(opType: string, inputs: readonly string[], attributes: Record<string, Attribute> = {}): string {
    return this.emit(opType, inputs, attributes, "com.microsoft");
  }

  initializer(value: HostTensor): string {
    const name = this.fresh();
    this.initializers.push({ name, value });
    return name;
  }

  #once(key: string, make: () => string): string {
    const known = this.#cache.get(key) ?? make();
    this.#cache.set(key, known);
    return known;
  }

  int64(values: readonly number[]): string {
    const value: HostTensor = { dtype: "int64", shape: [values.length], data: BigInt64Array.from(values, BigInt) };
    return this.#once(`int64:${values}`, () => this.initializer(value));
  }

  float(value: number): string {
    return this.#once(`float:${value}`, () => this.initializer(float32Host([], [value])));
  }

  /** The size of an axis as int64 [1]. */
  dim(dim: Dim): string {
    if (typeof dim === "number") return this.int64([dim]);
    return this.#once(`dim:${dim}`, () => {
      const terms = dimTerms(dim).map(([coefficient, names]) => {
        const factors = names.map((name) => this.#symbolSize(name));
        if (coefficient !== 1 || factors.length === 0) factors.push(this.int64([coefficient]));
        return factors.reduce((a, b) => this.emit("Mul", [a, b]));
      });
      return terms.reduce((a, b) => this.emit("Add", [a, b]));
    });
  }

  #symbolSize(name: string): string {
    const source = this.#symbols.get(name);
    if (!source)
      throw new UserError(`compile: expected an input with an axis named ${name}, got none; name the axis of an input`);
    return this.#once(`symbol:${name}`, () =>
      this.emit("Shape", [source.input], { start: source.axis, end: source.axis + 1 }),
    );
  }

  /** A shape as int64 [rank]. */
  shape(shape: Shape): string {
    if (isStatic(shape)) return this.int64(shape);
    return this.#once(`shape:${shape.join()}`, () =>
      this.emit(
        "Concat",
        shape.map((dim) => this.dim(dim)),
        { axis: 0 },
      ),
    );
  }

  reshape(x: string, shape: Shape): string {
    return this.emit("Reshape", [x, this.shape(shape)], { allowzero: 1 });
  }
}

type Lowering<P extends Primitive> = (emitter: Emitter, node: Node<P>, inputs: readonly string[]) => readonly string[];

const simple =
  (opType: string): Lowering<Primitive> =>
  (e, _, inputs) => [e.emit(opType, inputs)];

const fused =
  (opType: string, attributes: Record<string, Attribute> = {}): Lowering<Primitive> =>
  (e, _, inputs) => [e.fused(opType, inputs, attributes)];

const reduce =
  (opType: string): Lowering<"sum" | "mean" | "max"> =>
  (e, { params }, [x]) => [
    e.emit(opType, [x, e.int64((params as ReduceParams).axes)], { keepdims: params.keepDims ? 1 : 0 }),
  ];

const convAttributes = ({ stride, padding, dilation, groups }: ConvParams): Record<string, Attribute> => ({
  strides: [stride],
  pads: [padding, padding],
  dilations: [dilation],
  group: groups,
});

function lowerMatmul(
  e: Emitter,
  { params, inputs: [left, right] }: Node<"matmul">,
  [a, b]: readonly string[],
): string[] {
  const { transposeA, transposeB, scale } = params;
  if (!transposeA && !transposeB && scale === 1) return [e.emit("MatMul", [a, b])];
  const plain = left.rank === 2 && right.rank === 2;
  const flags = (transA: boolean, transB: boolean) => ({
    transA: transA ? 1 : 0,
    transB: transB ? 1 : 0,
    alpha: { float: scale },
  });
  if (plain) return [e.emit("Gemm", [a, b], flags(transposeA, transposeB))];
  if (transposeA && isWider(left.shape, right.shape, transposeB)) {
    // (op(b)^T a)^T: the runtime walks a transposed left matrix slowly, so transpose the small product instead (3x faster)
    const swapped = e.fused("FusedMatMul", [b, a], flags(!transposeB, false));
    const rank = Math.max(left.rank, right.rank);
    return [e.emit("Transpose", [swapped], { perm: [...Array(rank - 2).keys(), rank - 1, rank - 2] })];
  }
  return [e.fused("FusedMatMul", [a, b], flags(transposeA, transposeB))];
}

/** Does a [.., K, M] have at least twice as many columns as the product op(b) has? */
function isWider(a: Shape, b: Shape, transposeB: boolean): boolean {
  const columns = b[b.length - (transposeB ? 2 : 1)];
  const rows = a[a.length - 1];
  return typeof rows === "number" && typeof columns === "number" && rows >= 2 * columns;
}

function lowerLinear(e: Emitter, { params, inputs, outputs: [y] }: Node<"linear">, names: readonly string[]): string[] {
  const [x, w] = inputs;
  const flat = x.rank === 2 ? names[0] : e.reshape(names[0], [elementCount(x.shape.slice(0, -1)), x.shape[x.rank - 1]]);
  const product = e.emit("Gemm", [flat, ...names.slice(1)], { transB: params.inputFirst ? 0 : 1 });
  return [w.rank === 2 && x.rank === 2 ? product : e.reshape(product, y.shape)];
}

/** Zeros to add into, as the runtime expands them: no constant of the table's size is stored in the model. */
const zeros = (e: Emitter, shape: Shape): string => e.emit("Expand", [e.float(0), e.shape(shape)]);

const lowerings: { [P in Primitive]: Lowering<P> } = {
  // Leaves are named by compile.ts before the walk begins
  input: () => [],
  constant: () => [],
  random: () => [],
  iota: (e, { params }) => {
    const size = e.emit("Reshape", [e.dim(params.size), e.int64([])]);
    const range = e.emit("Range", [e.initializer(int64Scalar(0)), size, e.initializer(int64Scalar(1))]);
    return [e.emit("Cast", [range], { to: onnxType.int32 })];
  },
  add: simple("Add"),
  sub: simple("Sub"),
  mul: simple("Mul"),
  div: simple("Div"),
  pow: simple("Pow"),
  maximum: simple("Max"),
  minimum: simple("Min"),
  equal: simple("Equal"),
  less: simple("Less"),
  lessEqual: simple("LessOrEqual"),
  logicalAnd: simple("And"),
  logicalNot: simple("Not"),
  where: simple("Where"),
  neg: simple("Neg"),
  exp: simple("Exp"),
  log: simple("Log"),
  sqrt: simple("Sqrt"),
  tanh: simple("Tanh"),
  sigmoid: simple("Sigmoid"),
  erf: simple("Erf"),
  abs: simple("Abs"),
  sin: simple("Sin"),
  cos: simple("Cos"),
  sign: simple("Sign"),
  relu: simple("Relu"),
  gelu: fused("Gelu"),
  // The fused operator wants an axis
  geluTanh: (e, { inputs: [x] }, [name]) =>
    x.rank > 0 ? [e.fused("FastGelu", [name])] : [e.reshape(e.fused("FastGelu", [e.reshape(name, [1])]), [])],
  silu: fused("QuickGelu", { alpha: { float: 1 } }),
  cast: (e, { params }, [x]) => [e.emit("Cast", [x], { to: onnxType[params.dtype] })],
  stopGradient: (_, __, [x]) => [x],
  sum: reduce("ReduceSum"),
  mean: reduce("ReduceMean"),
  max: reduce("ReduceMax"),
  argmax: (e, { params }, [x]) => {
    const index = e.emit("ArgMax", [x], { axis: params.axis, keepdims: 0 });
    return [e.emit("Cast", [index], { to: onnxType.int32 })];
  },
  cumsum: (e, { params }, [x]) => [
    e.emit("CumSum", [x, e.initializer(int64Scalar(params.axis))], { reverse: params.reverse ? 1 : 0 }),
  ],
  topK: (e, { params }, [x]) => {
    const [values, indices] = e.emitMany("TopK", [x, e.int64([params.k])], 2, { axis: -1, largest: 1, sorted: 1 });
    return [values, e.emit("Cast", [indices], { to: onnxType.int32 })];
  },
  matmul: lowerMatmul,
  linear: lowerLinear,
  conv1d: (e, { params }, inputs) => [e.emit("Conv", inputs, convAttributes(params))],
  conv1dInputGradient: (e, { params, inputs: [dy, w] }, inputs) => {
    const { stride, padding, dilation, length } = params;
    const kernel = Number(w.shape[2]);
    const reached = (Number(dy.shape[2]) - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1;
    return [e.emit("ConvTranspose", inputs, { ...convAttributes(params), output_padding: [length - reached] })];
  },
  softmax: (e, _, [x]) => [e.emit("Softmax", [x], { axis: -1 })],
  logSoftmax: (e, _, [x]) => [e.emit("LogSoftmax", [x], { axis: -1 })],
  layerNorm: (e, { params }, inputs) =>
    e.emitMany("LayerNormalization", inputs, 3, { axis: -1, epsilon: { float: params.eps } }),
  rmsNorm: (e, { params }, inputs) => {
    const attributes: Record<string, Attribute> = { axis: -1, epsilon: { float: params.eps } };
    if (e.device !== "webgpu") return e.emitMany("SimplifiedLayerNormalization", inputs, 2, attributes);
    // The WebGPU kernel leaves its second output unwritten
    const [x] = inputs;
    const meanSquare = e.emit("ReduceMean", [e.emit("Mul", [x, x]), e.int64([-1])], { keepdims: 1 });
    const root = e.emit("Sqrt", [e.emit("Add", [meanSquare, e.float(params.eps)])]);
    return [e.emit("SimplifiedLayerNormalization", inputs, attributes), e.emit("Reciprocal", [root])];
  },
  crossEntropy: (e, { inputs: [, targets] }, [logits, index]) => {
    const [N] = targets.shape;
    const logP = e.emit("LogSoftmax", [logits], { axis: -1 });
    return [e.emit("Neg", [e.reshape(e.emit("GatherElements", [logP, e.reshape(index, [N, 1])], { axis: 1 }), [N])])];
  },
  // Softmax again instead of exp(logP): the forward pass then needs no copy of the probabilities
  crossEntropyGradient: (e, { inputs: [, targets] }, [logits, index, g]) => {
    const [N] = targets.shape;
    const column = e.reshape(g, [N, 1]);
    const weighted = e.emit("Mul", [e.emit("Softmax", [logits], { axis: -1 }), column]);
    const updates = e.emit("Neg", [column]);
    return [e.emit("ScatterElements", [weighted, e.reshape(index, [N, 1]), updates], { axis: 1, reduction: "add" })];
  },
  reshape: (e, { params }, [x]) => [e.reshape(x, params.shape)],
  transpose: (e, { params }, [x]) => [e.emit("Transpose", [x], { perm: params.perm })],
  broadcastTo: (e, { params }, [x]) => [e.emit("Expand", [x, e.shape(params.shape)])],
  slice: (e, { params: { axis, start, end } }, [x]) => [
    e.emit("Slice", [x, e.dim(start), e.dim(end), e.int64([axis])]),
  ],
  concat: (e, { params }, inputs) => [e.emit("Concat", inputs, { axis: params.axis })],
  split: (e, { params: { axis, sizes } }, [x]) => e.emitMany("Split", [x, e.int64(sizes)], sizes.length, { axis }),
  // Amounts for every axis: given only some axes, the runtime's transpose optimizer rewrites them wrongly (1.30)
  pad: (e, { params: { axis, before, after, value }, inputs: [{ rank }] }, [x]) => {
    const amounts = (side: Dim): Dim[] => Array.from({ length: rank }, (_, i) => (i === axis ? side : 0));
    return [e.emit("Pad", [x, e.shape([...amounts(before), ...amounts(after)]), e.float(value)])];
  },
  gather: (e, { params }, inputs) => [e.emit("Gather", inputs, { axis: params.axis })],
  scatterAdd: (e, { params, inputs: [indices, updates], outputs: [y] }, names) => {
    const count = elementCount(indices.shape);
    const width = updates.shape.slice(indices.rank);
    const index = e.reshape(e.emit("Cast", [names[0]], { to: onnxType.int64 }), [count, 1]);
    const values = e.reshape(names[1], [count, ...width]);
    return [e.emit("ScatterND", [zeros(e, [params.rows, ...y.shape.slice(1)]), index, values], { reduction: "add" })];
  },
  takeAlongAxis: (e, { params }, inputs) => [e.emit("GatherElements", inputs, { axis: params.axis })],
  scatterAlongAxis: (e, { params, outputs: [y] }, inputs) => [
    e.emit("ScatterElements", [zeros(e, y.shape), ...inputs], { axis: params.axis, reduction: "add" }),
  ],
  rotary: (e, { inputs: [x, cos] }, [xName, cosName, sinName]) => {
    const [batch, , length, head] = x.shape;
    const table = (name: string): string => e.reshape(name, [cos.rank === 3 ? batch : 1, 1, length, Number(head) / 2]);
    const [c, s] = [table(cosName), table(sinName)];
    const [x1, x2] = e.emitMany("Split", [xName], 2, { axis: -1, num_outputs: 2 });
    const y1 = e.emit("Sub", [e.emit("Mul", [x1, c]), e.emit("Mul", [x2, s])]);
    const y2 = e.emit("Add", [e.emit("Mul", [x2, c]), e.emit("Mul", [x1, s])]);
    return [e.emit("Concat", [y1, y2], { axis: -1 })];
  },
};

function int64Scalar(value: number): HostTensor {
  const scalar = zerosHost("int64", []);
  scalar.data[0] = BigInt(value);
  return scalar;
}

/** Names of a node's outputs after emitting its operators. */
export function lower<P extends Primitive>(
  emitter: Emitter,
  node: Node<P>,
  inputs: readonly string[],
): readonly string[] {
  return (lowerings[node.op] as Lowering<P>)(emitter, node, inputs);
}
