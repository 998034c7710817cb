/** A causal model with its numbers: what decoding, scoring and inspection are compiled from. */
import { type Modification, type Params, paramsOf, weightInputs } from "../nn/params.ts";
import { lazy } from "../runtime/lazy.ts";
import type { Program, ProgramOptions, Runtime } from "../runtime/runtime.ts";
import { bytesPerElement, type HostTensor, sizeOf } from "../tensor/dtype.ts";
import type { Tensor } from "../tensor/graph.ts";
import type { Geometry, ModelDefinition } from "./model.ts";

export interface Model {
  readonly definition: ModelDefinition;
  readonly config: unknown;
  readonly geometry: Geometry;
  /** By canonical name; tensors that a modification looks for may be among them (`<path>.lora_A.weight`). */
  readonly weights: Readonly<Record<string, HostTensor>>;
  /** How those take effect; without noise here. */
  readonly modification?: Modification;
}

export interface CompileOptions {
  /**
   * true: the weights become part of the graph, which runs faster but takes longer to create and holds a copy.
   * false: they are read in place at every run, so that training shows at once.
   */
  frozen?: boolean;
}

/**
 * Frozen weights are part of the graph's file, and those end at 2 GiB (protobuf); the rest is room for the
 * operators.
 */
const MOST_FROZEN_BYTES = 2 ** 31 - 2 ** 26;

/** Can these weights be frozen? */
export const fitsGraph = ({ weights }: Pick<Model, "weights">): boolean =>
  Object.values(weights).reduce((sum, { dtype, shape }) => sum + sizeOf(shape) * bytesPerElement[dtype], 0) <=
  MOST_FROZEN_BYTES;

/** What of the weights a graph takes up when they are frozen: all but large tables, of which it reads a few rows. */
export function frozenWeights({ definition, config, weights }: Model): Record<string, HostTensor> {
  const tables = new Set(definition.tables(config));
  return Object.fromEntries(Object.entries(weights).filter(([name]) => !tables.has(name)));
}

/** One graph input per weight. */
export function modelParams({ weights, modification }: Model): Params {
  return paramsOf(
    weightInputs(Object.fromEntries(Object.entries(weights).map(([name, { shape }]) => [name, shape]))),
    modification,
  );
}

/** The weights that a compiled program takes as inputs: those that are not frozen. */
export function liveWeights({ inputs }: Program, { weights }: Pick<Model, "weights">): Record<string, HostTensor> {
  return Object.fromEntries(inputs.filter(({ name }) => name in weights).map(({ name }) => [name, weights[name]]));
}

/** A graph over a model's weights and what it is fed, compiled when it is first run. */
export function lazyProgram(
  runtime: Runtime,
  outputs: () => Readonly<Record<string, Tensor>>,
  { weights, frozen, ...options }: Pick<Model, "weights"> & CompileOptions & ProgramOptions,
): { run(feeds: Readonly<Record<string, HostTensor>>): ReturnType<Program["run"]>; release(): Promise<void> } {
  const compiled = lazy(async () => {
    const program = await runtime.compile(outputs(), frozen ? weights : undefined, options);
    return { program, live: liveWeights(program, { weights }) };
  });
  return {
    async run(feeds) {
      const { program, live } = await compiled.get();
      return program.run({ ...live, ...feeds });
    },
    release: async () => compiled.made()?.then(({ program }) => program.release()),
  };
}
