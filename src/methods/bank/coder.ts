/**
 * Slots to indices by the runtime. Of residual codes, the nearest one at each depth is not always part of the best sum:
 * a beam search follows the best few sums from depth to depth (as in stacked quantisers, https://arxiv.org/abs/1411.2173,
 * section 3). Decoding knows nothing of it. On a near tie float32 may choose another code than a search in doubles.
 */
import type { Codebook, Encoded } from "../../memory/codebook.ts";
import { nearness } from "../../memory/vector-quantizer.ts";
import type { Program, Runtime } from "../../runtime/runtime.ts";
import { float32Host } from "../../tensor/dtype.ts";
import { input, topK } from "../../tensor/functions.ts";
import { AT_ONCE, booksOf } from "./nearest.ts";

export interface Coder {
  /** Entries of a codebook of one book or of residual books. */
  encode(codebook: Codebook, slots: Float32Array): Promise<Encoded>;
  dispose(): Promise<void>;
}

/** Sums of codes so far, `count` for each vector, the best one first. */
interface Beams {
  readonly count: number;
  /** [N, count, D]: what the sums leave. */
  readonly rest: Float32Array;
  /** [N, count]: squared lengths of that. */
  readonly errors: Float64Array;
  /** [N, count, depth]. */
  readonly indices: Uint32Array;
}

export function createCoder(runtime: Runtime, { beams: most = 4 }: { readonly beams?: number } = {}): Coder {
  const programs = new Map<string, Promise<Program>>();
  const programOf = (width: number, best: number): Promise<Program> => {
    const name = `${width} ${best}`;
    const make = (): Promise<Program> => {
      const scores = nearness(input("vectors", "float32", ["N", width]), input("codes", "float32", ["K", width]));
      const [values, indices] = topK(scores, best);
      return runtime.compile({ values, indices });
    };
    const made = programs.get(name) ?? make();
    programs.set(name, made);
    return made;
  };

  /** The best codes of each vector [R, D], and how near they are: [R, best] each. */
  const bestOf = async (vectors: Float32Array, codes: Float32Array, width: number, best: number) => {
    const R = vectors.length / width;
    const [values, indices] = [new Float32Array(R * best), new Int32Array(R * best)];
    const program = await programOf(width, best);
    const book = float32Host([codes.length / width, width], codes);
    for (let start = 0; start < R; start += AT_ONCE) {
      const end = Math.min(R, start + AT_ONCE);
      const some = float32Host([end - start, width], vectors.subarray(start * width, end * width));
      const found = await program.run({ vectors: some, codes: book });
      values.set(found.values.data as Float32Array, start * best);
      indices.set(found.indices.data as Int32Array, start * best);
    }
    return { values, indices };
  };

  const deeper = async (
    beams: Beams,
    { codes, width, depth, kept }: { codes: Float32Array; width: number; depth: number; kept: number },
  ): Promise<Beams> => {
    const best = Math.min(kept, codes.length / width);
    const count = Math.min(kept, beams.count * best);
    const found = await bestOf(beams.rest, codes, width, best);
    const N = beams.errors.length / beams.count;
    const next: Beams = {
      count,
      rest: new Float32Array(N * count * width),
      errors: new Float64Array(N * count),
      indices: new Uint32Array(N * count * (depth + 1)),
    };
    const choices = Array.from({ length: beams.count * best }, () => 0);
    for (let n = 0; n < N; n++) {
      const from = n * beams.count;
      const errorOf = (choice: number): number =>
        beams.errors[from + Math.floor(choice / best)] - 2 * found.values[from * best + choice];
      for (const i of choices.keys()) choices[i] = i;
      choices.sort((a, b) => errorOf(a) - errorOf(b) || a - b);
      for (let k = 0; k < count; k++) {
        const choice = choices[k];
        const [parent, to] = [from + Math.floor(choice / best), n * count + k];
        const code = found.indices[from * best + choice];
        next.indices.set(beams.indices.subarray(parent * depth, (parent + 1) * depth), to * (depth + 1));
        next.indices[to * (depth + 1) + depth] = code;
        let error = 0;
        for (let i = 0; i < width; i++) {
          const left = beams.rest[parent * width + i] - codes[code * width + i];
          next.rest[to * width + i] = left;
          error += left * left;
        }
        next.errors[to] = error;
      }
    }
    return next;
  };

  return {
    async encode(codebook, slots) {
      const { width, books } = codebook;
      const N = slots.length / width;
      let beams: Beams = { count: 1, rest: slots, errors: new Float64Array(N), indices: new Uint32Array() };
      for (let n = 0; n < N; n++)
        for (let i = n * width; i < (n + 1) * width; i++) beams.errors[n] += slots[i] * slots[i];
      for (const [depth, { codes }] of booksOf(codebook).entries()) {
        const kept = depth + 1 === books ? 1 : most;
        beams = await deeper(beams, { codes, width, depth, kept });
      }
      return { indices: beams.indices, errors: beams.errors };
    },
    async dispose() {
      for (const program of programs.values()) await (await program).release();
    },
  };
}
