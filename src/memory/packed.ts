/**
 * What a memory saves: tensors and plain JSON. A tensor knows no float64, so doubles travel as the 64 bits of an
 * int64 of the same shape: nothing is rounded, and a copy of the memory is the memory.
 */
import { UserError } from "../errors.ts";
import { type HostTensor, sizeOf } from "../tensor/dtype.ts";

export interface MemoryState {
  readonly tensors: Readonly<Record<string, HostTensor>>;
  readonly json: Readonly<Record<string, unknown>>;
}

type Tensors = MemoryState["tensors"];

/** Tensors of a part of a state, named as such. */
export const withPrefix = (prefix: string, tensors: Tensors): Tensors =>
  Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [`${prefix}${name}`, tensor]));

/** The inverse: the tensors that are named so, by their own names. */
export const underPrefix = (prefix: string, tensors: Tensors): Tensors =>
  Object.fromEntries(
    Object.entries(tensors).flatMap(([name, tensor]) =>
      name.startsWith(prefix) ? [[name.slice(prefix.length), tensor]] : [],
    ),
  );

/** A copy of doubles as an int64 tensor with the same bits. */
export function packDoubles(shape: readonly number[], data: Float64Array): HostTensor<"int64"> {
  return { dtype: "int64", shape, data: new BigInt64Array(Float64Array.from(data).buffer) };
}

/** A tensor of the state with this element type and shape, or an error that names it. */
export function tensorOf<D extends HostTensor["dtype"]>(
  state: MemoryState,
  name: string,
  dtype: D,
  shape: readonly number[],
): HostTensor<D> {
  const tensor = state.tensors[name];
  const found = tensor ? `${tensor.dtype} [${tensor.shape.join(", ")}]` : "nothing";
  if (
    !tensor ||
    tensor.dtype !== dtype ||
    tensor.shape.length !== shape.length ||
    tensor.shape.some((size, axis) => size !== shape[axis]) ||
    tensor.data.length !== sizeOf(shape)
  ) {
    throw new UserError(
      `memory.restore: expected ${name} as ${dtype} [${shape.join(", ")}], got ${found}; the file is damaged or of ` +
        "another memory",
    );
  }
  return tensor as HostTensor<D>;
}

/** The doubles of a tensor made by `packDoubles`: a copy. */
export function unpackDoubles(state: MemoryState, name: string, shape: readonly number[]): Float64Array {
  const { data } = tensorOf(state, name, "int64", shape);
  const doubles = new Float64Array(BigInt64Array.from(data).buffer);
  const bad = doubles.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) {
    throw new UserError(`memory.restore: expected finite numbers, got ${doubles[bad]} in ${name}; the file is damaged`);
  }
  return doubles;
}

/** A number of the state's JSON, or an error that names it. */
export function numberOf(state: MemoryState, name: string, least: number): number {
  const value = state.json[name];
  if (typeof value !== "number" || !(value >= least) || !Number.isFinite(value)) {
    throw new UserError(
      `memory.restore: expected ${name} as a number from ${least}, got ${JSON.stringify(value)}; the file is damaged`,
    );
  }
  return value;
}
