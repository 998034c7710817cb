/** What a training step and a decoding step must do at least: the numerators of the fractions. */
import { gpt2 } from "../models/gpt2.ts";
import { sizeOf } from "../tensor/dtype.ts";
import type { Gpt2Config } from "./gpt.ts";

/**
 * Parameters that enter matrix products: the linear layers' weights and the head (the token embedding where it is
 * tied). Biases, norms and look-ups (token embedding of an untied model, positions) multiply nothing.
 */
export function productParameters(config: Gpt2Config): number {
  const shapes = gpt2.shapes(config);
  const linear = gpt2.linearPaths(config).reduce((sum, path) => sum + sizeOf(shapes[`${path}.weight`]), 0);
  return linear + config.vocab_size * config.n_embd;
}

/**
 * Floating-point operations of one training step of B rows of T tokens.
 * Weights: 6 N B T (a multiplication and an addition per parameter and token; once forward, twice backward).
 * Attention: 12 B H T T D per layer (2 B H T T D each for Q K^T and P V; once forward, twice backward), causal or not.
 */
export function trainingFlops(config: Gpt2Config, B: number, T: number): number {
  const { n_layer: layers, n_embd: HD } = config;
  return 6 * productParameters(config) * B * T + layers * 12 * B * HD * T * T;
}

/** Bytes of float32 weights that decoding one token reads: all products, and one row of each look-up table. */
export function decodeBytes(config: Gpt2Config): number {
  return 4 * (productParameters(config) + 2 * config.n_embd);
}
