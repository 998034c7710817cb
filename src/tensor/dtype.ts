/** Element types, and the typed arrays that hold them outside a graph. */

export type DType = "float32" | "float16" | "int32" | "int64" | "uint8" | "int8" | "bool";

/** The JavaScript array of each element type. float16 is kept as raw bits, bool as bytes 0 and 1. */
interface ArrayOf {
  float32: Float32Array;
  float16: Uint16Array;
  int32: Int32Array;
  int64: BigInt64Array;
  uint8: Uint8Array;
  int8: Int8Array;
  bool: Uint8Array;
}

export type HostArray = ArrayOf[DType];

/** A concrete tensor in host memory, row-major. The runtime reads `data` in place. */
export interface HostTensor<D extends DType = DType> {
  readonly dtype: D;
  readonly shape: readonly number[];
  readonly data: ArrayOf[D];
}

const constructors: { [D in DType]: new (length: number) => ArrayOf[D] } = {
  float32: Float32Array,
  float16: Uint16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
  int8: Int8Array,
  bool: Uint8Array,
};

/** Bytes per element. */
export const bytesPerElement: { [D in DType]: number } = {
  float32: 4,
  float16: 2,
  int32: 4,
  int64: 8,
  uint8: 1,
  int8: 1,
  bool: 1,
};

export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** A host tensor of zeros. */
export function zerosHost<D extends DType>(dtype: D, shape: readonly number[]): HostTensor<D> {
  return { dtype, shape, data: new constructors[dtype](sizeOf(shape)) };
}

/** A float32 host tensor over existing numbers (not copied when it is already a Float32Array). */
export function float32Host(shape: readonly number[], data: Float32Array | readonly number[]): HostTensor<"float32"> {
  return { dtype: "float32", shape, data: data instanceof Float32Array ? data : Float32Array.from(data) };
}

/** An int32 host tensor over existing numbers. */
export function int32Host(shape: readonly number[], data: Int32Array | readonly number[]): HostTensor<"int32"> {
  return { dtype: "int32", shape, data: data instanceof Int32Array ? data : Int32Array.from(data) };
}
