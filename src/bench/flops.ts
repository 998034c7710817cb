/** What a training step and a decoding step must do at least: the numerators of the fractions. */
import { type FlopsOptions, productParameters as products, trainingFlopsPerPosition } from "../methods/flops.ts";
import { gpt2 } from "../models/gpt2.ts";
import type { ModelDefinition } from "../models/model.ts";
import type { Gpt2Config } from "./gpt.ts";

/** All weights train, in rows of T tokens. */
function fullTraining(config: Gpt2Config, T: number): FlopsOptions {
  const trainable = Object.fromEntries(Object.entries(gpt2.shapes(config)).map(([name, shape]) => [name, { shape }]));
  return {
    definition: gpt2 as ModelDefinition,
    config,
    geometry: gpt2.geometry(config),
    trainable,
    contextLength: T,
  };
}

/**
 * Parameters that enter matrix products: the linear layers' weights and the head (the token embedding where it is
 * tied). Biases, norms and look-ups (token embedding of an untied model, positions) multiply nothing.
 */
export const productParameters = (config: Gpt2Config): number => products(fullTraining(config, 1)).all;

/** Floating-point operations of one training step of B rows of T tokens. */
export const trainingFlops = (config: Gpt2Config, B: number, T: number): number =>
  B * T * trainingFlopsPerPosition(fullTraining(config, T));

/** Bytes of float32 weights that decoding one token reads: all products, and one row of each look-up table. */
export function decodeBytes(config: Gpt2Config): number {
  return 4 * (productParameters(config) + 2 * config.n_embd);
}
