/**
 * Floating-point operations of training, from the shapes alone: what an update costs whatever machine runs it.
 * Matrix products only; norms, activations, look-ups and the optimizer are small beside them. Per position: 2 per
 * parameter forward, 2 backward to the inputs, 2 more backward to a weight that trains; hence 6 N for full training
 * (as in https://arxiv.org/abs/2001.08361, section 2.1) and 4 N + 2 n where n of N parameters train beside a frozen
 * base. Attention: 12 H D T per layer (2 H D T each for Q K^T and P V; once forward, twice backward), causal or not
 * (https://arxiv.org/abs/2204.02311, appendix B).
 */
import type { Definition, Geometry, ModelDefinition } from "../models/model.ts";
import { sizeOf } from "../tensor/dtype.ts";

interface Shaped {
  readonly shape: readonly number[];
}

export interface FlopsOptions {
  readonly definition: ModelDefinition;
  readonly config: unknown;
  readonly geometry: Geometry;
  /** The arrays that get gradients: weights of the model, or a method's own beside them. */
  readonly trainable: Readonly<Record<string, Shaped>>;
  /** T, the length of the rows. */
  readonly contextLength: number;
}

/** Parameters that enter matrix products, and those of them that train. */
export function productParameters({
  definition,
  config,
  trainable,
}: Omit<FlopsOptions, "geometry" | "contextLength">): {
  all: number;
  training: number;
} {
  const shapes = definition.shapes(config);
  const { vocabulary, width } = definition.geometry(config);
  const head = shapes["lm_head.weight"]
    ? "lm_head.weight"
    : Object.keys(shapes).find((name) => shapes[name].join() === `${vocabulary},${width}`);
  const products = [...definition.linearPaths(config).map((path) => `${path}.weight`), ...(head ? [head] : [])];
  // A method's own matrices: adapters of any kind
  const own = Object.keys(trainable).filter((name) => !(name in shapes) && trainable[name].shape.length === 2);
  const sum = (sizes: number[]): number => sizes.reduce((a, b) => a + b, 0);
  const added = sum(own.map((name) => sizeOf(trainable[name].shape)));
  return {
    all: sum(products.map((name) => sizeOf(shapes[name]))) + added,
    training: sum(products.filter((name) => name in trainable).map((name) => sizeOf(shapes[name]))) + added,
  };
}

/** Operations of one pass forward and back for one position of a row (padding costs what text costs). */
export function trainingFlopsPerPosition(options: FlopsOptions): number {
  const { layers, heads, headDim } = options.geometry;
  const { all, training } = productParameters(options);
  return 4 * all + 2 * training + layers * 12 * heads * headDim * options.contextLength;
}

/**
 * Operations of reading a row of T tokens without a head: 2 per parameter of the layers and position, and attention
 * forward, 4 H D T per layer and position.
 */
export function readingFlops(
  { definition, config, geometry }: { definition: Definition; config: unknown; geometry: Geometry },
  T: number,
): number {
  const shapes = definition.shapes(config);
  const products = definition.linearPaths(config).reduce((sum, path) => sum + sizeOf(shapes[`${path}.weight`]), 0);
  return T * (2 * products + 4 * geometry.layers * geometry.heads * geometry.headDim * T);
}

/** Operations of one batch of B rows: those of its positions, at its own length. */
export function flopsOfBatches(
  options: Omit<FlopsOptions, "contextLength">,
): (batch: { readonly ids: ArrayLike<number> }, B: number) => number {
  const perPosition = new Map<number, number>();
  return ({ ids }, B) => {
    const T = ids.length / B;
    const found = perPosition.get(T) ?? trainingFlopsPerPosition({ ...options, contextLength: T });
    perPosition.set(T, found);
    return ids.length * found;
  };
}
