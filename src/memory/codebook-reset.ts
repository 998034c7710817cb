/**
 * Vectors that take the place of dead codes: random ones of the batch, as the released code of memory bank compression
 * does, or those of the memory that are reconstructed worst, with noise so that no code equals a vector to the bit.
 * Whoever learns the codebook by gradient must also forget the moments of the rows that were replaced.
 */
import type { Random } from "../tensor/random.ts";
import { nearest } from "./codebook.ts";

export interface ResetOptions {
  /** D. */
  readonly width: number;
  readonly random: Random;
  /** Standard deviation of the noise, in parts of a vector's root-mean-square distance to its code. */
  readonly noise?: number;
}

/** Up to `count` different vectors of the batch [N, D], each equally likely: [count or N, D]. */
export function fromBatch(vectors: Float32Array, count: number, { width, random }: ResetOptions): Float32Array {
  const order = random.permutation(vectors.length / width);
  return rowsAt(vectors, [...order.subarray(0, count)], width);
}

/**
 * Up to `count` vectors [N, D] that the codes [K, D] reconstruct worst, one after another: once a vector is picked, its
 * neighbours are no longer badly off. Fewer where all that is left is reconstructed exactly.
 */
export function worstReconstructed(
  vectors: Float32Array,
  codes: Float32Array,
  count: number,
  { width, random, noise = 0.05 }: ResetOptions,
): Float32Array {
  const { errors } = nearest(vectors, codes, width);
  const picked: number[] = [];
  const scales: number[] = [];
  while (picked.length < count) {
    let worst = -1;
    for (let n = 0; n < errors.length; n++) if (errors[n] > (errors[worst] ?? 0)) worst = n;
    if (worst < 0) break;
    picked.push(worst);
    scales.push(noise * Math.sqrt(errors[worst] / width));
    const found = nearest(vectors, vectors.subarray(worst * width, (worst + 1) * width), width);
    for (let n = 0; n < errors.length; n++) errors[n] = Math.min(errors[n], found.errors[n]);
  }
  const rows = rowsAt(vectors, picked, width);
  return rows.map((value, at) => value + scales[Math.floor(at / width)] * random.normal());
}

function rowsAt(vectors: Float32Array, picked: readonly number[], width: number): Float32Array {
  const out = new Float32Array(picked.length * width);
  for (const [row, n] of picked.entries()) out.set(vectors.subarray(n * width, (n + 1) * width), row * width);
  return out;
}

/** Writes the rows [n, D] over the first n of the dead codes, in place; returns which codes these were. */
export function replaceCodes(
  codes: Float32Array,
  dead: readonly number[],
  rows: Float32Array,
  width: number,
): number[] {
  const replaced = dead.slice(0, rows.length / width);
  for (const [row, code] of replaced.entries()) {
    codes.set(rows.subarray(row * width, (row + 1) * width), code * width);
  }
  return replaced;
}
