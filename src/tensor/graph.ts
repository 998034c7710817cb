/**
 * The graph: a node applies one primitive to tensors, a tensor is one output of a node.
 * Nothing is computed here. A program is built by calling functions, and read by walking back from its outputs.
 */
import type { DType } from "./dtype.ts";
import type { Primitive, PrimitiveParams } from "./ops.ts";
import { formatShape, type Shape } from "./shape.ts";

export interface TensorType {
  readonly dtype: DType;
  readonly shape: Shape;
}

/** A symbolic tensor. Build one with the functions of `functions.ts`; run it with the runtime. */
export class Tensor implements TensorType {
  readonly node: Node;
  /** Which output of the node. */
  readonly index: number;
  readonly dtype: DType;
  readonly shape: Shape;

  constructor(node: Node, index: number, type: TensorType) {
    this.node = node;
    this.index = index;
    this.dtype = type.dtype;
    this.shape = type.shape;
  }

  get rank(): number {
    return this.shape.length;
  }

  toString(): string {
    return `${this.node.op}${this.index > 0 ? `#${this.index}` : ""}: ${this.dtype}${formatShape(this.shape)}`;
  }
}

export interface Node<P extends Primitive = Primitive> {
  readonly op: P;
  readonly params: PrimitiveParams[P];
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
}

/**
 * All nodes that the given tensors need, inputs before users. Iterative: graphs of deep models overflow a call
 * stack.
 */
export function topologicalOrder(roots: readonly Tensor[]): Node[] {
  const order: Node[] = [];
  const state = new Map<Node, "open" | "done">();
  const stack = roots.map((tensor) => tensor.node).reverse();
  while (stack.length > 0) {
    const node = stack[stack.length - 1];
    const seen = state.get(node);
    if (seen === "done") {
      stack.pop();
    } else if (seen === "open") {
      state.set(node, "done");
      order.push(node);
      stack.pop();
    } else {
      state.set(node, "open");
      for (let i = node.inputs.length - 1; i >= 0; i--) {
        const input = node.inputs[i].node;
        if (!state.has(input)) stack.push(input);
      }
    }
  }
  return order;
}

/** One line per node, for reading a graph while debugging. */
export function printGraph(roots: readonly Tensor[]): string {
  const order = topologicalOrder(roots);
  const name = new Map(order.map((node, i) => [node, `%${i}`]));
  const reference = (tensor: Tensor): string => name.get(tensor.node) + (tensor.index > 0 ? `#${tensor.index}` : "");
  return order
    .map((node) => {
      const types = node.outputs.map((output) => `${output.dtype}${formatShape(output.shape)}`).join(", ");
      return `${name.get(node)} = ${node.op}(${node.inputs.map(reference).join(", ")}) : ${types}`;
    })
    .join("\n");
}
