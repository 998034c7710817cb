/**
 * Slots to indices by the runtime. Of residual codes, the nearest one at each depth is not always part of the best sum:
 * a beam search follows the best few sums from depth to depth (as in stacked quantisers, https://arxiv.org/abs/1411.2173,
 * section 3). Decoding knows nothing of it. On a near tie float32 may choose another code than a search in doubles.
 */
import type { Codebook, Encoded } from "../../memory/codebook.ts";
import { nearness } from "../../memory/vector-quantizer.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { topK } from "../../tensor/functions.ts";
import { booksOf, type Codes, type CodeSearch, createCodeSearch } from "./nearest.ts";

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

interface Extensions {
  readonly depth: number;
  /** Codes that were found for each sum, and sums that are kept of them. */
  readonly best: number;
  readonly count: number;
  /** [N, beams, best]: nearness of the codes, and the codes. */
  readonly values: Float32Array;
  readonly indices: Int32Array;
}

/** The best sums one code longer. Plain loops and local names: a million choices a second pass here. */
function extended(beams: Beams, { codes, width }: Codes, { depth, best, count, values, indices }: Extensions): Beams {
  const { rest: before, errors: errorsBefore, indices: chosen } = beams;
  const N = errorsBefore.length / beams.count;
  const rest = new Float32Array(N * count * width);
  const errors = new Float64Array(N * count);
  const longer = new Uint32Array(N * count * (depth + 1));
  const ways = beams.count * best;
  const reached = new Float64Array(ways);
  for (let n = 0; n < N; n++) {
    const from = n * beams.count;
    for (let way = 0; way < ways; way++)
      reached[way] = errorsBefore[from + Math.floor(way / best)] - 2 * values[from * best + way];
    for (let to = n * count; to < (n + 1) * count; to++) {
      let way = 0;
      for (let other = 1; other < ways; other++) if (reached[other] < reached[way]) way = other;
      reached[way] = Number.POSITIVE_INFINITY;
      const parent = from + Math.floor(way / best);
      const code = indices[from * best + way];
      for (let i = 0; i < depth; i++) longer[to * (depth + 1) + i] = chosen[parent * depth + i];
      longer[to * (depth + 1) + depth] = code;
      const [own, whole, part] = [to * width, parent * width, code * width];
      let error = 0;
      for (let i = 0; i < width; i++) {
        const left = before[whole + i] - codes[part + i];
        rest[own + i] = left;
        error += left * left;
      }
      errors[to] = error;
    }
  }
  return { count, rest, errors, indices: longer };
}

export function createCoder(runtime: Runtime, { beams: most = 4 }: { readonly beams?: number } = {}): Coder {
  /** The best codes of each vector, by how many are wanted. */
  const searches = new Map<number, CodeSearch>();
  const searchOf = (best: number): CodeSearch => {
    const search =
      searches.get(best) ??
      createCodeSearch(runtime, (vectors, codes) => {
        const [values, indices] = topK(nearness(vectors, codes), best);
        return { values, indices };
      });
    searches.set(best, search);
    return search;
  };

  /** The best codes of each vector [R, D], and how near they are: [R, best] each. */
  const bestOf = async (vectors: Float32Array, book: Codes, best: number) => {
    const R = vectors.length / book.width;
    const [values, indices] = [new Float32Array(R * best), new Int32Array(R * best)];
    await searchOf(best).run(vectors, book, (found, from) => {
      values.set(found.values.data as Float32Array, from * best);
      indices.set(found.indices.data as Int32Array, from * best);
    });
    return { values, indices };
  };

  const deeper = async (
    beams: Beams,
    book: Codes,
    { depth, kept }: { depth: number; kept: number },
  ): Promise<Beams> => {
    const { codes, width } = book;
    const best = Math.min(kept, codes.length / width);
    const count = Math.min(kept, beams.count * best);
    const found = await bestOf(beams.rest, book, best);
    return extended(beams, book, { depth, best, count, ...found });
  };

  return {
    async encode(codebook, slots) {
      const { width, books } = codebook;
      const errors = new Float64Array(slots.length / width);
      for (let at = 0; at < slots.length; at++) errors[Math.floor(at / width)] += slots[at] ** 2;
      let beams: Beams = { count: 1, rest: slots, errors, indices: new Uint32Array() };
      for (const [depth, book] of booksOf(codebook).entries())
        beams = await deeper(beams, book, { depth, kept: depth + 1 === books ? 1 : most });
      return { indices: beams.indices, errors: beams.errors };
    },
    async dispose() {
      for (const search of searches.values()) await search.dispose();
    },
  };
}
