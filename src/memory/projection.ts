/**
 * Algorithm 1 of Larimar as it is printed, on whole episodes: the papers' memory, to compare with.
 * Larimar, https://arxiv.org/abs/2403.11901, Algorithm 1. Letters: N facts, K slots, C width; Z [N, C] latents,
 * M0 [K, C] the memory before, M [K, C] after, W [N, K] weights, A⁺ the pseudo-inverse.
 *
 * What it does: reading a latent gives its orthogonal projection onto the span of the written ones, whatever M0 is as
 * long as Z M0⁺ has full row rank. So it filters and does not answer; many facts need keys from prompts (episodic.ts).
 * We differ: the released code adds observation noise to Z a second time before it solves for the weights, and a third
 * time to what it reads; here noise is added once, where Algorithm 1 has it.
 */
import type { Random } from "../tensor/random.ts";
import { type Matrix, product } from "./matrix.ts";
import { pseudoInverse } from "./pseudo-inverse.ts";

/** How A⁺ is computed: exactly by default, or `newtonSchulz` as the papers do. */
type Invert = (a: Matrix) => Matrix;

interface Noise {
  /** Standard deviation; 0 adds nothing. */
  sigma: number;
  random: Random;
}

function noisy(a: Matrix, noise: Noise | undefined): Matrix {
  if (!noise || noise.sigma === 0) return a;
  return { ...a, data: a.data.map((value) => value + noise.sigma * noise.random.normal()) };
}

/** M = W⁺ Z: the smallest of the memories that fit best. Ridge 0; the batch form of the episodic memory. */
export const leastSquaresMemory = (w: Matrix, z: Matrix, { invert = pseudoInverse as Invert } = {}): Matrix =>
  product(invert(w), z);

/** write: Z_ξ = Z + ξ, W0 = Z_ξ M0⁺, M = W0⁺ Z_ξ. */
export function writeEpisode(
  z: Matrix,
  prior: Matrix,
  { noise, invert = pseudoInverse }: { noise?: Noise; invert?: Invert } = {},
): Matrix {
  const seen = noisy(z, noise);
  return leastSquaresMemory(product(seen, invert(prior)), seen, { invert });
}

/** read: W = Z M⁺ (+ noise of σ_W), Z_read = W M. */
export function readEpisode(
  z: Matrix,
  memory: Matrix,
  { noise, invert = pseudoInverse }: { noise?: Noise; invert?: Invert } = {},
): Matrix {
  return product(noisy(product(z, invert(memory)), noise), memory);
}
