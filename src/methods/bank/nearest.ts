/**
 * Codes found for many vectors at once, by matrix products of the runtime: what looking after codebooks asks over and
 * over. On a near tie float32 may choose the other code than a search in doubles.
 */
import type { Codebook, nearest } from "../../memory/codebook.ts";
import { lloydStep } from "../../memory/codebook-start.ts";
import { nearestCodes } from "../../memory/vector-quantizer.ts";
import { type Lazy, lazy } from "../../runtime/lazy.ts";
import type { Program, Runtime } from "../../runtime/runtime.ts";
import { float32Host, type HostTensor } from "../../tensor/dtype.ts";
import { input } from "../../tensor/functions.ts";
import type { Tensor } from "../../tensor/graph.ts";

/** Vectors in one run: their scores fit in the cache. */
const AT_ONCE = 4096;

export interface Codes {
  /** [K, D]. */
  readonly codes: Float32Array;
  /** D. */
  readonly width: number;
}

export interface CodeSearch {
  /** Runs the graph over vectors [N, D], a stretch of them at a time; `take` gets what it gives from a vector on. */
  run(
    vectors: Float32Array,
    book: Codes,
    take: (found: Record<string, HostTensor>, from: number) => void,
  ): Promise<void>;
  dispose(): Promise<void>;
}

/** A graph over vectors [N, D] and codes [K, D], compiled when a width is first met. */
export function createCodeSearch(
  runtime: Runtime,
  graph: (vectors: Tensor, codes: Tensor) => Record<string, Tensor>,
): CodeSearch {
  const programs = new Map<number, Lazy<Program>>();
  const programOf = (width: number): Promise<Program> => {
    const [vectors, codes] = [input("vectors", "float32", ["N", width]), input("codes", "float32", ["K", width])];
    const program = programs.get(width) ?? lazy(() => runtime.compile(graph(vectors, codes)));
    programs.set(width, program);
    return program.get();
  };
  return {
    async run(vectors, { codes, width }, take) {
      const N = vectors.length / width;
      const program = await programOf(width);
      const book = float32Host([codes.length / width, width], codes);
      for (let start = 0; start < N; start += AT_ONCE) {
        const end = Math.min(N, start + AT_ONCE);
        const some = float32Host([end - start, width], vectors.subarray(start * width, end * width));
        take(await program.run({ vectors: some, codes: book }), start);
      }
    },
    async dispose() {
      for (const program of programs.values()) await program.made()?.then((made) => made.release());
    },
  };
}

type Found = ReturnType<typeof nearest>;

/** Vectors [N, D] and codes [K, D] -> index of the nearest code and squared distance to it, of each vector. */
export type Nearest = (...asked: Parameters<typeof nearest>) => Found | Promise<Found>;

export function createNearest(runtime: Runtime): { readonly nearest: Nearest; dispose(): Promise<void> } {
  const search = createCodeSearch(runtime, (vectors, codes) => ({ indices: nearestCodes(vectors, codes) }));
  return {
    async nearest(vectors, codes, width) {
      const N = vectors.length / width;
      const indices = new Uint32Array(N);
      const errors = new Float64Array(N);
      await search.run(vectors, { codes, width }, (found, from) => indices.set(found.indices.data as Int32Array, from));
      for (let n = 0; n < N; n++)
        for (let i = 0, to = indices[n] * width; i < width; i++)
          errors[n] += (vectors[n * width + i] - codes[to + i]) ** 2;
      return { indices, errors };
    },
    dispose: search.dispose,
  };
}

/** What chosen codes leave of vectors. */
export const leftover = (vectors: Float32Array, indices: ArrayLike<number>, { codes, width }: Codes): Float32Array =>
  vectors.map((value, at) => value - codes[indices[Math.floor(at / width)] * width + (at % width)]);

/** Residual books, one after another, each with what those before it leave of vectors; `look` may change the book. */
export async function depthByDepth<B extends Codes>(
  books: readonly B[],
  vectors: Float32Array,
  nearest: Nearest,
  look: (book: B, vectors: Float32Array) => unknown,
): Promise<void> {
  let rest = vectors;
  for (const [depth, book] of books.entries()) {
    await look(book, rest);
    if (depth + 1 === books.length) return;
    const { codes, width } = book;
    rest = leftover(rest, (await nearest(rest, codes, width)).indices, book);
  }
}

/** Rounds of k-means from where codes are, in place; how many vectors chose each of them in the last. */
export async function followed(
  vectors: Float32Array,
  { codes, width }: Codes,
  nearest: Nearest,
  rounds: number,
): Promise<{ readonly counts: Float64Array }> {
  let counts: Float64Array = new Float64Array(codes.length / width);
  for (let round = 0; round < rounds; round++)
    ({ counts } = lloydStep(vectors, (await nearest(vectors, codes, width)).indices, codes, width));
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
  const moved = { ...codebook, data: codebook.data.slice() };
  await depthByDepth(booksOf(moved), slots, nearest, (book, rest) => followed(rest, book, nearest, rounds));
  return moved;
}
