/**
 * Writes ONNX models: the few protobuf messages a graph needs, field numbers as in onnx.proto (IR version 10).
 * Knows nothing of tensors or primitives.
 */
import protobuf from "protobufjs/minimal.js";
import type { DType, HostTensor } from "../tensor/dtype.ts";
import { bytesPerElement, sizeOf } from "../tensor/dtype.ts";
import type { Shape } from "../tensor/shape.ts";

export type Attribute = number | { float: number } | string | readonly number[];

export interface OnnxNode {
  readonly opType: string;
  /** "" is the standard operator set, "com.microsoft" the runtime's own operators. */
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, Attribute>>;
}

export interface OnnxValue {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
}

export interface OnnxModel {
  readonly nodes: readonly OnnxNode[];
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  readonly initializers: readonly { readonly name: string; readonly value: HostTensor }[];
}

const IR_VERSION = 10;
const STANDARD_OPSET = 21;

/** TensorProto.DataType. */
export const onnxType: { [D in DType]: number } = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
};

type Writer = protobuf.Writer;

const LENGTH_DELIMITED = 2;
const VARINT = 0;
const FIXED32 = 5;
const tag = (field: number, wire: number): number => (field << 3) | wire;

function message(writer: Writer, field: number, body: (writer: Writer) => void): void {
  writer.uint32(tag(field, LENGTH_DELIMITED)).fork();
  body(writer);
  writer.ldelim();
}

const text = (writer: Writer, field: number, value: string): Writer =>
  writer.uint32(tag(field, LENGTH_DELIMITED)).string(value);
const integer = (writer: Writer, field: number, value: number): Writer =>
  writer.uint32(tag(field, VARINT)).int64(value);

/** Enum values of AttributeProto.type. */
const attributeType = { float: 1, int: 2, string: 3, ints: 7 };

function writeAttribute(writer: Writer, name: string, value: Attribute): void {
  text(writer, 1, name);
  if (typeof value === "number") {
    integer(writer, 3, value);
    integer(writer, 20, attributeType.int);
  } else if (typeof value === "string") {
    text(writer, 4, value);
    integer(writer, 20, attributeType.string);
  } else if ("float" in value) {
    writer.uint32(tag(2, FIXED32)).float(value.float);
    integer(writer, 20, attributeType.float);
  } else {
    for (const item of value) integer(writer, 8, item);
    integer(writer, 20, attributeType.ints);
  }
}

function writeNode(writer: Writer, node: OnnxNode): void {
  for (const name of node.inputs) text(writer, 1, name);
  for (const name of node.outputs) text(writer, 2, name);
  text(writer, 4, node.opType);
  for (const [name, value] of Object.entries(node.attributes)) {
    message(writer, 5, (w) => writeAttribute(w, name, value));
  }
  if (node.domain) text(writer, 7, node.domain);
}

function writeValue(writer: Writer, { name, dtype, shape }: OnnxValue): void {
  text(writer, 1, name);
  message(writer, 2, (type) =>
    message(type, 1, (tensorType) => {
      integer(tensorType, 1, onnxType[dtype]);
      message(tensorType, 2, (shapeProto) => {
        for (const dim of shape) {
          message(shapeProto, 1, (d) => (typeof dim === "number" ? integer(d, 1, dim) : text(d, 2, dim)));
        }
      });
    }),
  );
}

/** A tensor of the graph in pieces, so that its numbers need not pass through a writer that grows. */
function tensorParts(name: string, { dtype, shape, data }: HostTensor): Uint8Array[] {
  const raw = new Uint8Array(data.buffer, data.byteOffset, sizeOf(shape) * bytesPerElement[dtype]);
  const writer = protobuf.Writer.create();
  for (const size of shape) integer(writer, 1, size);
  integer(writer, 2, onnxType[dtype]);
  text(writer, 8, name);
  const head = writer.uint32(tag(9, LENGTH_DELIMITED)).uint32(raw.length).finish();
  return [opening(5, head.length + raw.length), head, raw];
}

/** What stands before a message of so many bytes. */
const opening = (field: number, length: number): Uint8Array =>
  protobuf.Writer.create().uint32(tag(field, LENGTH_DELIMITED)).uint32(length).finish();

/** Serialise a model. Its weights are copied into the result. */
export function encodeModel(model: OnnxModel): Uint8Array {
  const graph = protobuf.Writer.create();
  for (const node of model.nodes) message(graph, 1, (w) => writeNode(w, node));
  text(graph, 2, "program");
  for (const value of model.inputs) message(graph, 11, (w) => writeValue(w, value));
  for (const value of model.outputs) message(graph, 12, (w) => writeValue(w, value));
  const parts = [graph.finish(), ...model.initializers.flatMap(({ name, value }) => tensorParts(name, value))];

  const start = protobuf.Writer.create();
  integer(start, 1, IR_VERSION);
  text(start, 2, "mneme");
  const end = protobuf.Writer.create();
  for (const [domain, version] of [
    ["", STANDARD_OPSET],
    ["com.microsoft", 1],
  ] as const) {
    message(end, 8, (opset) => {
      text(opset, 1, domain);
      integer(opset, 2, version);
    });
  }
  const size = parts.reduce((sum, { length }) => sum + length, 0);
  return Buffer.concat([start.finish(), opening(7, size), ...parts, end.finish()]);
}
