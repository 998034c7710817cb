/** Tiny modules of bank compression on tiny random bases, and the networks of one without a base. */
import { type BankModule, emptyModule, moduleSchema } from "../../src/methods/bank/module.ts";
import { type BankShape, encoderShapes, networkRule, readingShapes } from "../../src/methods/bank/shape.ts";
import type { LoadedModel, Weights } from "../../src/models/load.ts";
import { initialize } from "../../src/nn/init.ts";
import { paramsOf, weightInputs, type Params } from "../../src/nn/params.ts";
import { randomStream } from "../../src/tensor/random.ts";

export const tinyBank: BankShape = {
  slots: 3,
  width: 12,
  places: 2,
  encoderWidth: 8,
  encoderLayers: 1,
  encoderHeads: 2,
  inner: 10,
  blocks: 2,
  blockHeads: 3,
  blockInner: 10,
  context: 24,
};

/** Every tensor away from the small values and zeros that it starts with, beyond which nothing would be felt. */
export function stirred(weights: Weights, seed: number, names: RegExp = /./): Weights {
  for (const [name, { data, shape }] of Object.entries(weights)) {
    if (!names.test(name)) continue;
    const [mean, deviation] = name.endsWith("norm.weight")
      ? [1, 0.2]
      : [0, shape.length > 1 ? 1 / Math.sqrt(shape[shape.length - 1]) : 0.3];
    randomStream(seed, name).fillNormal(data as Float32Array, mean, deviation);
  }
  return weights;
}

/** The networks alone, stirred, beside a base of this geometry. */
export function tinyNetworks(
  geometry: LoadedModel["geometry"],
  shape: BankShape = tinyBank,
): { weights: Weights; params: Params } {
  const shapes = { ...encoderShapes(shape, geometry), ...readingShapes(shape, geometry) };
  const weights = stirred(initialize(shapes, networkRule(shape), 1), 2);
  const inputs = weightInputs(
    Object.fromEntries(Object.entries(weights).map(([name, tensor]) => [name, tensor.shape])),
  );
  return { weights, params: paramsOf(inputs) };
}

export interface TinyModuleOptions {
  readonly shape?: BankShape;
  readonly codes?: number;
  readonly depth?: number;
  readonly rank?: number;
}

/** A fresh module on a base; its adapters do nothing yet and its codebooks are zeros. */
export async function tinyModule(
  base: LoadedModel,
  { shape = tinyBank, codes = 8, depth = 3, rank = 2 }: TinyModuleOptions = {},
): Promise<BankModule> {
  const config = moduleSchema.parse({
    model_type: "mneme-bank-compression",
    base: { name: "base", sha256: await base.hash() },
    shape,
    codes,
    depth,
    adapters: { rank, alpha: 2, layers: base.geometry.layers, beside: "kv" },
  });
  return emptyModule(base, config, 1);
}
