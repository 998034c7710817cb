/**
 * Nearest codes of many vectors at once, by matrix products of the runtime: what looking after codebooks asks over
 * and over. On a near tie float32 may choose the other code than a search in doubles.
 */
import type { Codebook, nearest } from "../../memory/codebook.ts";
import { clusterSums } from "../../memory/codebook-start.ts";
import { nearestCodes } from "../../memory/vector-quantizer.ts";
import type { Program, Runtime } from "../../runtime/runtime.ts";
import { float32Host } from "../../tensor/dtype.ts";
import { input } from "../../tensor/functions.ts";

/** Vectors [N, D] and codes [K, D] -> index of the nearest code and squared distance to it, of each vector. */
export type Nearest = (...asked: Parameters<typeof nearest>) => Promise<ReturnType<typeof nearest>>;

/** Vectors in one run: their scores fit in the cache. */
export const AT_ONCE = 4096;

/** Programs are compiled on first use, one for each width. */
export function createNearest(runtime: Runtime): { readonly nearest: Nearest; dispose(): Promise<void> } {
  const programs = new Map<number, Promise<Program>>();
  const programOf = (width: number): Promise<Program> => {
    const made =
      programs.get(width) ??
      runtime.compile({
        indices: nearestCodes(input("vectors", "float32", ["N", width]), input("codes", "float32", ["K", width])),
      });
    programs.set(width, made);
    return made;
  };
  return {
    async nearest(vectors, codes, width) {
      const N = vectors.length / width;
      const indices = new Uint32Array(N);
      const errors = new Float64Array(N);
      const program = await programOf(width);
      const book = float32Host([codes.length / width, width], codes);
      for (let start = 0; start < N; start += AT_ONCE) {
        const end = Math.min(N, start + AT_ONCE);
        const some = float32Host([end - start, width], vectors.subarray(start * width, end * width));
        const found = await program.run({ vectors: some, codes: book });
        indices.set(found.indices.data as Int32Array, start);
      }
      for (let n = 0; n < N; n++)
        for (let i = 0, to = indices[n] * width; i < width; i++)
          errors[n] += (vectors[n * width + i] - codes[to + i]) ** 2;
      return { indices, errors };
    },
    async dispose() {
      for (const program of programs.values()) await (await program).release();
    },
  };
}

interface Codes {
  readonly codes: Float32Array;
  readonly width: number;
}

/** What chosen codes leave of vectors. */
export const leftover = (vectors: Float32Array, indices: ArrayLike<number>, { codes, width }: Codes): Float32Array =>
  vectors.map((value, at) => value - codes[indices[Math.floor(at / width)] * width + (at % width)]);

/** Rounds of k-means from where codes are, in place; how many vectors chose each of them in the last. */
export async function followed(
  vectors: Float32Array,
  { codes, width }: Codes,
  nearest: Nearest,
  rounds: number,
): Promise<{ readonly counts: Float64Array }> {
  let counts = new Float64Array(codes.length / width);
  for (let round = 0; round < rounds; round++) {
    const found = clusterSums(vectors, (await nearest(vectors, codes, width)).indices, { codes: counts.length, width });
    for (let at = 0; at < codes.length; at++) {
      const count = found.counts[Math.floor(at / width)];
      if (count > 0) codes[at] = found.sums[at] / count;
    }
    counts = Float64Array.from(found.counts);
  }
  return { counts };
}

export const booksOf = ({ books, codes, width, data }: Codebook): Codes[] =>
  Array.from({ length: books }, (_, book) => ({
    codes: data.subarray(book * codes * width, (book + 1) * codes * width),
    width,
  }));

/** A codebook of the same sizes that follows what slots are like, from where it was: k-means, book after book. */
export async function followingCodebook(
  codebook: Codebook,
  slots: Float32Array,
  nearest: Nearest,
  { rounds = 8 }: { readonly rounds?: number } = {},
): Promise<Codebook> {
  const data = codebook.data.slice();
  const moved = { ...codebook, data };
  let rest = slots;
  for (const book of booksOf(moved)) {
    await followed(rest, book, nearest, rounds);
    rest = leftover(rest, (await nearest(rest, book.codes, book.width)).indices, book);
  }
  return moved;
}
