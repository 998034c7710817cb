/** Nearest codes of many vectors at once, by matrix products of the runtime: what a look at codebooks asks over and over. */
import type { nearest } from "../../memory/codebook.ts";
import { nearestCodes } from "../../memory/vector-quantizer.ts";
import type { Program, Runtime } from "../../runtime/runtime.ts";
import { float32Host } from "../../tensor/dtype.ts";
import { input } from "../../tensor/functions.ts";

/** Vectors [N, D] and codes [K, D] -> index of the nearest code and squared distance to it, of each vector. */
export type Nearest = (...asked: Parameters<typeof nearest>) => Promise<ReturnType<typeof nearest>>;

/** Vectors in one run: their scores fit in the cache. */
const AT_ONCE = 4096;

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
