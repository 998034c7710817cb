/**
 * Keys: which slots of a memory a latent stands for.
 * Larimar, https://arxiv.org/abs/2403.11901, section 3 and Eqs. 7-8; appendix E says which experiment uses which.
 * Letters: K slots, C width; z [C] the latent of a prompt, R [K, C] the reference memory (M_ref), w [K] the key.
 *
 * - through the memory itself, w = z M⁺ (Algorithm 1): filters, and serves a single fact (projection.ts);
 * - through a fixed reference, w = z R⁺: R learned, random, or made of an episode's prompts. Keys are independent as
 *   long as the latents are, up to min(K, C) of them;
 * - by a Gaussian kernel around the rows of R: at α = 1e-3 nearly the nearest row alone.
 *
 * We differ: a key through a reference is brought to length one (`normalise`), so that the ridge of the memory means
 * the same for every fact; questions are then recalled by direction and not by length.
 */
import { UserError } from "../errors.ts";
import type { Random } from "../tensor/random.ts";
import { addScaled, type Matrix, matrixOf, type Numbers, norm, zeros } from "./matrix.ts";
import { pseudoInverse } from "./pseudo-inverse.ts";

export interface Addressing {
  readonly slots: number;
  readonly width: number;
  /** Keys of N latents: N·C numbers in, N·K out. Gives the same key for the same latent, always. */
  keys(latents: Numbers): Float64Array;
}

/** An addressing by what fills in the key w of each latent z, which starts as zeros. */
function byLatent(slots: number, width: number, fill: (z: Float64Array, w: Float64Array) => void): Addressing {
  return {
    slots,
    width,
    keys(latents) {
      const z = matrixOf(latents, width, "addressing");
      const w = new Float64Array(z.rows * slots);
      for (let row = 0; row < z.rows; row++) {
        fill(z.data.subarray(row * width, (row + 1) * width), w.subarray(row * slots, (row + 1) * slots));
      }
      return w;
    },
  };
}

/** w = z A⁺, brought to length one where `normalise` says so. */
function throughInverse(a: Matrix, invert: (a: Matrix) => Matrix, normalise: boolean): Addressing {
  const { rows: slots, columns: width } = a;
  const inverse = invert(a);
  return byLatent(slots, width, (z, w) => {
    for (let j = 0; j < width; j++) addScaled(z[j], inverse.data, j * slots, w, 0, slots);
    const length = normalise ? norm(w) : 1;
    if (length > 0) for (let k = 0; k < slots; k++) w[k] /= length;
  });
}

/** Keys through a memory M itself, w = z M⁺. They change with every write. */
export const memoryAddressing = (
  memory: Matrix,
  { invert = pseudoInverse as (a: Matrix) => Matrix } = {},
): Addressing => throughInverse(memory, invert, false);

/** Keys through a fixed reference, w = z R⁺ of length one. Inverting R, once, takes seconds at 512 by 768. */
export const referenceAddressing = (
  reference: Matrix,
  { normalise = true, invert = pseudoInverse as (a: Matrix) => Matrix } = {},
): Addressing => throughInverse(reference, invert, normalise);

/** Eqs. 7-8: w_k ∝ exp(-|z - R_k|² / (2 α σ²)), σ = min_k |z - R_k|, Σ w_k = 1. */
export function gaussianAddressing(reference: Matrix, { alpha = 1e-3 } = {}): Addressing {
  const { rows: slots, columns: width, data } = reference;
  if (!(alpha > 0)) throw new UserError(`gaussianAddressing: expected alpha above 0, got ${alpha}; the paper has 1e-3`);
  const squares = new Float64Array(slots);
  return byLatent(slots, width, (z, w) => {
    let nearest = Number.POSITIVE_INFINITY;
    for (let k = 0; k < slots; k++) {
      let square = 0;
      for (let j = 0; j < width; j++) square += (z[j] - data[k * width + j]) ** 2;
      squares[k] = square;
      nearest = Math.min(nearest, square);
    }
    // The largest exponent, -1 / (2 α), is taken off all: exp never leaves its range, and one weight is 1.
    // On a row of R itself σ is 0, and the limit is that row alone.
    let sum = 0;
    for (let k = 0; k < slots; k++) {
      const beyond = squares[k] - nearest;
      w[k] = beyond === 0 ? 1 : Math.exp(-beyond / (2 * alpha * nearest));
      sum += w[k];
    }
    for (let k = 0; k < slots; k++) w[k] /= sum;
  });
}

/** R of standard normal numbers: the paper's choice for forgetting (Table 4). The same seed gives the same R. */
export function randomReference(slots: number, width: number, random: Random): Matrix {
  const reference = zeros(slots, width);
  for (let i = 0; i < reference.data.length; i++) reference.data[i] = random.normal();
  return reference;
}

/**
 * R from an episode: the first `slots` different prompts, one a row. Where there are fewer, the other rows are random
 * and as long as the prompts are on average, so that prompts to come find slots of their own.
 */
export function episodeReference(prompts: Numbers, slots: number, width: number, random: Random): Matrix {
  const given = matrixOf(prompts, width, "episodeReference");
  const reference = randomReference(slots, width, random);
  const seen = new Set<string>();
  for (let row = 0; row < given.rows && seen.size < slots; row++) {
    const prompt = given.data.subarray(row * width, (row + 1) * width);
    const text = prompt.join();
    if (seen.has(text)) continue;
    reference.data.set(prompt, seen.size * width);
    seen.add(text);
  }
  const taken = seen.size * width;
  if (taken === 0) return reference;
  const scale = norm(reference.data.subarray(0, taken)) / Math.sqrt(taken);
  for (let i = taken; i < reference.data.length; i++) reference.data[i] *= scale;
  return reference;
}
