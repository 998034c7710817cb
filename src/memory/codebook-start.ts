/**
 * A codebook from data: codes spread over the vectors by k-means++ (Arthur and Vassilvitskii 2007, section 2.2: each
 * next one drawn in proportion to its squared distance to those there are), then rounds of k-means (Lloyd). A codebook
 * that starts far from the data leaves most of its codes dead; codebookAtRandom makes such a one, as published.
 */
import { UserError } from "../errors.ts";
import type { Random } from "../tensor/random.ts";
import { nearest } from "./codebook.ts";
import { matrixOf } from "./matrix.ts";

export interface StartOptions {
  /** K. */
  readonly codes: number;
  /** D. */
  readonly width: number;
  readonly random: Random;
  /** Rounds of k-means after the drawing. */
  readonly rounds?: number;
}

/** Squared distances of all vectors to one of their number, where that is nearer than `distances` says. */
function approach(vectors: Float32Array, width: number, distances: Float64Array, pick: number): void {
  for (let n = 0, at = 0; n < distances.length; n++) {
    let sum = 0;
    for (let i = 0; i < width; i++, at++) sum += (vectors[at] - vectors[pick * width + i]) ** 2;
    if (sum < distances[n]) distances[n] = sum;
  }
}

/** An index in proportion to its weight; any where all weights are 0. */
function draw(weights: Float64Array, random: Random): number {
  const total = weights.reduce((a, b) => a + b, 0);
  if (!(total > 0)) return random.integer(weights.length);
  let left = random.uniform() * total;
  let last = 0;
  for (let n = 0; n < weights.length; n++) {
    if (weights[n] === 0) continue;
    last = n;
    left -= weights[n];
    if (left < 0) break;
  }
  return last;
}

/**
 * K codes [K, D] for vectors [N, D]. With fewer different vectors than codes each is a code, and codes are left that
 * equal another one, which the first of them takes all tokens from: they are dead until they are reset.
 */
export function codebookFromData(
  vectors: Float32Array,
  { codes, width, random, rounds = 10 }: StartOptions,
): Float32Array {
  const { rows: N } = matrixOf(vectors, width, "codebookFromData");
  if (N === 0) throw new UserError("codebookFromData: expected at least one vector, got none; encode some documents");
  const distances = new Float64Array(N).fill(1);
  const book = new Float32Array(codes * width);
  for (let code = 0; code < codes; code++) {
    const pick = draw(distances, random);
    if (code === 0) distances.fill(Number.POSITIVE_INFINITY);
    approach(vectors, width, distances, pick);
    book.set(vectors.subarray(pick * width, (pick + 1) * width), code * width);
  }
  for (let round = 0, moved = true; moved && round < rounds; round++)
    ({ moved } = lloydStep(vectors, nearest(vectors, book, width).indices, book, width));
  return book;
}

/** K codes [K, D] without data, every number uniform in [-1 / K, 1 / K): as VQ-VAE and the released code begin. */
export function codebookAtRandom({
  codes,
  width,
  random,
}: Pick<StartOptions, "codes" | "width" | "random">): Float32Array {
  return Float32Array.from({ length: codes * width }, () => (2 * random.uniform() - 1) / codes);
}

/**
 * Moves each code to the mean of the vectors that chose it, in place, and says how many did, and whether any code moved.
 * One without vectors stays.
 */
export function lloydStep(
  vectors: Float32Array,
  indices: ArrayLike<number>,
  book: Float32Array,
  width: number,
): { readonly counts: Float64Array; readonly moved: boolean } {
  const { counts, sums } = clusterSums(vectors, indices, { codes: book.length / width, width });
  let moved = false;
  for (let at = 0; at < book.length; at++) {
    const count = counts[Math.floor(at / width)];
    const mean = count > 0 ? Math.fround(sums[at] / count) : book[at];
    moved ||= mean !== book[at];
    book[at] = mean;
  }
  return { counts, moved };
}

/** For each code how many vectors chose it [K], and their sum [K, D]. */
export function clusterSums(
  vectors: Float32Array,
  indices: ArrayLike<number>,
  { codes, width }: { readonly codes: number; readonly width: number },
): { readonly counts: Float64Array; readonly sums: Float64Array } {
  const counts = new Float64Array(codes);
  const sums = new Float64Array(codes * width);
  for (let n = 0; n < indices.length; n++) {
    counts[indices[n]]++;
    for (let i = 0, to = indices[n] * width, from = n * width; i < width; i++) sums[to + i] += vectors[from + i];
  }
  return { counts, sums };
}
