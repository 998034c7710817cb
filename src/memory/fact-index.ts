/**
 * Where each fact is: its memory, and the latent by which questions find it. The nearest of 100,000 facts is found in
 * milliseconds by sketches, short random projections that keep angles about (Johnson-Lindenstrauss), and then exactly
 * among the most promising. The same latent has the same sketch, so a prompt as written finds its own fact, always.
 */
import { internal } from "../errors.ts";
import { randomStream } from "../tensor/random.ts";
import { type Numbers, norm } from "./matrix.ts";

const sketchSize = 64;
const candidates = 64;
const rowsPerChunk = 1024;

export interface FactRow {
  readonly fact: number;
  readonly memory: number;
  /** Two 32-bit words that stand for the key and value written. */
  readonly print: readonly [number, number];
}

export interface Found extends FactRow {
  /** Cosine of the question and the fact's latent. */
  readonly similarity: number;
}

export interface FactIndex {
  readonly size: () => number;
  add(row: FactRow, route: Numbers): void;
  get(fact: number): FactRow | undefined;
  /** The latent that a fact is found by, as float32. */
  routeOf(fact: number): Float32Array;
  remove(fact: number): void;
  /** The fact with the nearest latent; the lower number where several are equally near. */
  nearest(route: Numbers): Found | undefined;
  /** All facts, by number. */
  rows(): FactRow[];
  bytes(): number;
}

/** Facts come in chunks, so that adding one never copies the others. */
interface Chunk {
  readonly sketches: Float32Array;
  readonly routes: Float32Array;
  readonly lengths: Float64Array;
  readonly facts: Float64Array;
  readonly memories: Int32Array;
  readonly prints: Int32Array;
}

/** `width`: numbers in a latent. */
export function createFactIndex(width: number): FactIndex {
  const chunks: Chunk[] = [];
  const placeOf = new Map<number, number>();
  const projection = randomStream(0, "fact-index").fillNormal(new Float32Array(width * sketchSize));

  /** The sketch of length one, in float32, and the length of the latent. */
  const sketchOf = (route: Float32Array): { sketch: Float32Array; length: number } => {
    const sums = new Float64Array(sketchSize);
    for (let j = 0; j < width; j++) {
      const value = route[j];
      for (let i = 0; i < sketchSize; i++) sums[i] += value * projection[j * sketchSize + i];
    }
    const scale = norm(sums);
    return {
      sketch: Float32Array.from(sums, (sum) => (scale > 0 ? sum / scale : 0)),
      length: Math.sqrt(route.reduce((sum, value) => sum + value * value, 0)),
    };
  };
  const chunkOf = (place: number): { chunk: Chunk; row: number } => ({
    chunk: chunks[Math.floor(place / rowsPerChunk)],
    row: place % rowsPerChunk,
  });
  const rowAt = (place: number): FactRow => {
    const { chunk, row } = chunkOf(place);
    const print = [chunk.prints[2 * row], chunk.prints[2 * row + 1]] as const;
    return { fact: chunk.facts[row], memory: chunk.memories[row], print };
  };
  const placed = (fact: number): number => placeOf.get(fact) ?? internal(`fact-index: no fact ${fact}`);

  const cosine = (route: Float32Array, length: number, place: number): number => {
    const { chunk, row } = chunkOf(place);
    let sum = 0;
    for (let j = 0; j < width; j++) sum += route[j] * chunk.routes[row * width + j];
    const lengths = length * chunk.lengths[row];
    return lengths > 0 ? sum / lengths : 0;
  };

  /** Places with the highest sketch products, at most `candidates`. */
  const promising = (sketch: Float32Array): number[] => {
    const places: number[] = [];
    const scores: number[] = [];
    let least = Number.NEGATIVE_INFINITY;
    const query = Float64Array.from(sketch);
    for (let c = 0, from = 0; from < placeOf.size; c++, from += rowsPerChunk) {
      const { sketches } = chunks[c];
      const rows = Math.min(rowsPerChunk, placeOf.size - from);
      for (let row = 0; row < rows; row++) {
        const at = row * sketchSize;
        let [a, b, d, e] = [0, 0, 0, 0];
        for (let i = 0; i < sketchSize; i += 4) {
          a += query[i] * sketches[at + i];
          b += query[i + 1] * sketches[at + i + 1];
          d += query[i + 2] * sketches[at + i + 2];
          e += query[i + 3] * sketches[at + i + 3];
        }
        const score = a + b + (d + e);
        if (score <= least) continue;
        let slot = places.length < candidates ? places.length : candidates - 1;
        for (; slot > 0 && scores[slot - 1] < score; slot--) {
          places[slot] = places[slot - 1];
          scores[slot] = scores[slot - 1];
        }
        places[slot] = from + row;
        scores[slot] = score;
        if (places.length === candidates) least = scores[candidates - 1];
      }
    }
    return places;
  };

  return {
    size: () => placeOf.size,

    add({ fact, memory, print }, route) {
      if (placeOf.has(fact)) internal(`fact-index: fact ${fact} is in already`);
      if (route.length !== width) internal(`fact-index: a latent of ${route.length} numbers among ${width}`);
      const place = placeOf.size;
      if (place === chunks.length * rowsPerChunk) {
        chunks.push({
          sketches: new Float32Array(rowsPerChunk * sketchSize),
          routes: new Float32Array(rowsPerChunk * width),
          lengths: new Float64Array(rowsPerChunk),
          facts: new Float64Array(rowsPerChunk),
          memories: new Int32Array(rowsPerChunk),
          prints: new Int32Array(2 * rowsPerChunk),
        });
      }
      const { chunk, row } = chunkOf(place);
      const latent = Float32Array.from(route);
      const { sketch, length } = sketchOf(latent);
      chunk.sketches.set(sketch, row * sketchSize);
      chunk.routes.set(latent, row * width);
      chunk.lengths[row] = length;
      chunk.facts[row] = fact;
      chunk.memories[row] = memory;
      chunk.prints.set(print, 2 * row);
      placeOf.set(fact, place);
    },

    get(fact) {
      const place = placeOf.get(fact);
      return place === undefined ? undefined : rowAt(place);
    },

    routeOf(fact) {
      const { chunk, row } = chunkOf(placed(fact));
      return chunk.routes.slice(row * width, (row + 1) * width);
    },

    remove(fact) {
      // The last fact moves into the hole.
      const place = placed(fact);
      const last = placeOf.size - 1;
      const [to, from] = [chunkOf(place), chunkOf(last)];
      const move = (target: Float32Array | Float64Array | Int32Array, source: typeof target, size: number): void =>
        target.set(source.subarray(from.row * size, (from.row + 1) * size), to.row * size);
      move(to.chunk.sketches, from.chunk.sketches, sketchSize);
      move(to.chunk.routes, from.chunk.routes, width);
      move(to.chunk.lengths, from.chunk.lengths, 1);
      move(to.chunk.facts, from.chunk.facts, 1);
      move(to.chunk.memories, from.chunk.memories, 1);
      move(to.chunk.prints, from.chunk.prints, 2);
      placeOf.set(to.chunk.facts[to.row], place);
      placeOf.delete(fact);
      // One empty chunk is kept, so that writing and forgetting at its edge does not make one each time.
      if (placeOf.size < (chunks.length - 1) * rowsPerChunk - rowsPerChunk / 2) chunks.pop();
    },

    nearest(route) {
      const latent = Float32Array.from(route);
      const { sketch, length } = sketchOf(latent);
      let best: Found | undefined;
      for (const place of promising(sketch)) {
        const similarity = cosine(latent, length, place);
        const row = rowAt(place);
        const nearer = !best || similarity > best.similarity;
        if (nearer || (similarity === best?.similarity && row.fact < best.fact)) best = { ...row, similarity };
      }
      return best;
    },

    rows: () => [...placeOf.values()].map(rowAt).sort((a, b) => a.fact - b.fact),

    bytes: () => chunks.length * rowsPerChunk * (4 * sketchSize + 4 * width + 8 + 8 + 4 + 8),
  };
}
