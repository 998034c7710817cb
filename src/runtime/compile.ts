/** Turns a graph into one ONNX model: inputs, constants and frozen weights named, then every primitive lowered. */
import { createHash } from "node:crypto";
import { UserError } from "../errors.ts";
import type { HostTensor } from "../tensor/dtype.ts";
import { type Node, type Tensor, topologicalOrder } from "../tensor/graph.ts";
import { formatShape } from "../tensor/shape.ts";
import { Emitter, lower } from "./lower.ts";
import { encodeModel, type OnnxValue } from "./onnx.ts";
import type { Device } from "./session.ts";

/** An input of a compiled program. */
export interface InputSpec extends OnnxValue {
  /** Set for `random` leaves, which the runtime fills itself. */
  readonly stream?: string;
}

export interface CompiledGraph {
  readonly model: Uint8Array;
  readonly inputs: readonly InputSpec[];
  /** Names as in the model, "%out0" and so on in the order asked for: an output may bear the name of an input. */
  readonly outputs: readonly OnnxValue[];
  /** Equal for equal graphs with equal constants and frozen weights. */
  readonly signature: string;
}

const leafName = {
  input: (node: Node<"input">) => node.params.name,
  random: (node: Node<"random">) => `random:${node.params.stream}`,
};

function collectInputs(order: readonly Node[], frozen: Readonly<Record<string, HostTensor>>): InputSpec[] {
  const inputs = new Map<string, InputSpec>();
  for (const node of order) {
    let spec: InputSpec;
    if (node.op === "input") {
      const { name, dtype, shape } = (node as Node<"input">).params;
      if (name in frozen) continue;
      spec = { name, dtype, shape };
    } else if (node.op === "random") {
      const { shape, stream } = (node as Node<"random">).params;
      spec = { name: leafName.random(node as Node<"random">), dtype: "float32", shape, stream };
    } else continue;
    const known = inputs.get(spec.name);
    if (known && (known.dtype !== spec.dtype || formatShape(known.shape) !== formatShape(spec.shape))) {
      throw new UserError(
        `compile: expected one type per input, got two for ${spec.name}: ` +
          `${known.dtype}${formatShape(known.shape)} and ${spec.dtype}${formatShape(spec.shape)}; rename one`,
      );
    }
    inputs.set(spec.name, spec);
  }
  return [...inputs.values()];
}

/** Where each symbolic size is read from: the first input axis that is exactly this symbol. */
function symbolSources(inputs: readonly InputSpec[]): Map<string, { input: string; axis: number }> {
  const sources = new Map<string, { input: string; axis: number }>();
  for (const { name, shape, stream } of inputs) {
    if (stream !== undefined) continue;
    for (const [axis, dim] of shape.entries()) {
      if (typeof dim === "string" && /^\w+$/.test(dim) && !sources.has(dim)) sources.set(dim, { input: name, axis });
    }
  }
  return sources;
}

function checkFrozen({ name, dtype, shape }: OnnxValue, value: HostTensor): HostTensor {
  const [wanted, got] = [`${dtype}${formatShape(shape)}`, `${value.dtype}${formatShape(value.shape)}`];
  if (got !== wanted) throw new UserError(`compile: expected frozen ${name} of ${wanted}, got ${got}`);
  return value;
}

/**
 * Compile named outputs. Inputs named in `frozen` become initializers (packed once by the runtime, faster to read);
 * all others stay inputs, read in place at each run.
 */
export function compileGraph(
  outputs: Readonly<Record<string, Tensor>>,
  frozen: Readonly<Record<string, HostTensor>> = {},
  device: Device = "cpu",
): CompiledGraph {
  const order = topologicalOrder(Object.values(outputs));
  const inputs = collectInputs(order, frozen);
  const emitter = new Emitter(symbolSources(inputs), device);
  const names = new Map<Tensor, string>();
  const frozenNames = new Map<string, string>();
  for (const node of order) {
    let results: readonly string[];
    if (node.op === "input") {
      const { params } = node as Node<"input">;
      const { name } = params;
      if (name in frozen && !frozenNames.has(name)) {
        frozenNames.set(name, emitter.initializer(checkFrozen(params, frozen[name])));
      }
      results = [frozenNames.get(name) ?? name];
    } else if (node.op === "random") {
      results = [leafName.random(node as Node<"random">)];
    } else if (node.op === "constant") {
      results = [emitter.initializer((node as Node<"constant">).params.value)];
    } else {
      results = lower(
        emitter,
        node,
        node.inputs.map((x) => names.get(x) as string),
      );
    }
    for (const [i, output] of node.outputs.entries()) names.set(output, results[i]);
  }
  const outputValues = Object.values(outputs).map((tensor, i) => {
    const name = `%out${i}`;
    emitter.nodes.push({
      opType: "Identity",
      domain: "",
      inputs: [names.get(tensor) as string],
      outputs: [name],
      attributes: {},
    });
    return { name, dtype: tensor.dtype, shape: tensor.shape };
  });
  const model = encodeModel({
    nodes: emitter.nodes,
    initializers: emitter.initializers,
    inputs,
    outputs: outputValues,
  });
  return { model, inputs, outputs: outputValues, signature: createHash("sha256").update(model).digest("hex") };
}
