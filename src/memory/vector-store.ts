/**
 * Vectors of facts, and the nearest one to a question by cosine: exact, all in one matrix. A fact may have several
 * vectors (its prompt and other ways to say it); it is as near as the nearest of them. Adding or removing one moves a
 * single row, so it costs the same among ten facts as among 100,000.
 *
 * Exact is not the same as looking at everything: of a row whose first half promises too little, even if its second
 * half pointed just where the question's does (Cauchy-Schwarz), that half is not read.
 */
import { UserError } from "../errors.ts";
import { type Matrix, matrixOf, type Numbers, norm } from "./matrix.ts";
import { type MemoryState, numberOf, packDoubles, tensorOf, unpackDoubles } from "./packed.ts";

/** Rows that stay in the nearest cache while all questions pass over them. */
const tileRows = 64;
const leastCapacity = 16;
/** More than the rounding of a sum of products of unit vectors in float32. */
const slack = 1e-6;

interface NearestFact {
  /** The fact's number. */
  readonly fact: number;
  /** Cosine, -1 .. 1. */
  readonly similarity: number;
}

export interface VectorStore {
  /** C: numbers in a vector. */
  readonly width: number;
  /** Facts in. */
  readonly count: () => number;
  /** Vectors in: at least one a fact. */
  readonly rows: () => number;
  has(fact: number): boolean;
  /** All facts, in ascending order. */
  facts(): number[];
  /** Adds a fact with n vectors, n·C numbers of any length but zero. */
  add(fact: number, vectors: Numbers): void;
  /** Takes a fact out with all its vectors. */
  remove(fact: number): void;
  /** The vectors of a fact, of length 1, as float32: n·C numbers. */
  vectorsOf(fact: number): Float32Array;
  /**
   * For each of N questions (N·C numbers) the fact nearest to it, the lower number where several are equally near;
   * undefined while there are no facts.
   */
  nearest(questions: Numbers): (NearestFact | undefined)[];
  /** Equal for equal facts, whatever the order in which they came and what was removed between. */
  state(): MemoryState;
  /** Takes on a saved state of the same width, or throws and stays as it is. */
  restore(state: MemoryState): void;
  bytes(): number;
}

/** Σ question[questionAt + i] rows[at + i] for i from `from` up to `to`. Four sums, as one waits for its own last. */
function product(
  question: Float64Array,
  questionAt: number,
  rows: Float32Array,
  at: number,
  from: number,
  to: number,
): number {
  // One by one: taken from an array they cost twice the time
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  let i = from;
  for (; i + 3 < to; i += 4) {
    a += question[questionAt + i] * rows[at + i];
    b += question[questionAt + i + 1] * rows[at + i + 1];
    c += question[questionAt + i + 2] * rows[at + i + 2];
    d += question[questionAt + i + 3] * rows[at + i + 3];
  }
  for (; i < to; i++) a += question[questionAt + i] * rows[at + i];
  return a + b + (c + d);
}

/** An empty store of vectors of `width` numbers. */
export function createVectorStore(width: number): VectorStore {
  if (!Number.isInteger(width) || width < 1) {
    throw new UserError(`createVectorStore: expected a whole width from 1, got ${width}; give the encoder's width`);
  }
  const half = Math.floor(width / 2);
  let matrix = new Float32Array(leastCapacity * width);
  /** Length of each row's second half. */
  let tails = new Float64Array(leastCapacity);
  let owners = new Float64Array(leastCapacity);
  let rowsOf = new Map<number, number[]>();
  let used = 0;

  /** Room for `rows` rows; the capacity doubles, so that growing costs O(width) a row in the mean. */
  const reserve = (rows: number): void => {
    if (rows <= owners.length) return;
    const capacity = Math.max(rows, 2 * owners.length);
    const [wider, longer, more] = [
      new Float32Array(capacity * width),
      new Float64Array(capacity),
      new Float64Array(capacity),
    ];
    wider.set(matrix.subarray(0, used * width));
    longer.set(tails.subarray(0, used));
    more.set(owners.subarray(0, used));
    [matrix, tails, owners] = [wider, longer, more];
  };

  /** Rows of length 1; refuses zeros and what is not finite. */
  const unitRows = (numbers: Numbers, name: string): Matrix => {
    const rows = matrixOf(numbers, width, name);
    for (let row = 0; row < rows.rows; row++) {
      const one = rows.data.subarray(row * width, (row + 1) * width);
      const length = norm(one);
      if (!(length > 0)) {
        throw new UserError(
          `${name}: expected vectors with a direction, got zeros in row ${row}; look at what made it`,
        );
      }
      for (let i = 0; i < width; i++) one[i] /= length;
    }
    return rows;
  };

  const append = (fact: number, vector: ArrayLike<number>): number => {
    const row = used++;
    matrix.set(vector, row * width);
    tails[row] = norm(Float64Array.from(matrix.subarray(row * width + half, (row + 1) * width)));
    owners[row] = fact;
    return row;
  };

  const unknown = (who: string, fact: number): never => {
    throw new UserError(`${who}: expected a fact that is in, got ${fact}; look it up in the ledger`);
  };

  const store: VectorStore = {
    width,
    count: () => rowsOf.size,
    rows: () => used,
    has: (fact) => rowsOf.has(fact),
    facts: () => [...rowsOf.keys()].sort((a, b) => a - b),

    add(fact, vectors) {
      if (!Number.isSafeInteger(fact) || rowsOf.has(fact)) {
        throw new UserError(`scope.add: expected a whole number no other fact has, got ${fact}; remove it first`);
      }
      const { rows, data } = unitRows(vectors, "scope.add");
      if (rows === 0) {
        throw new UserError(`scope.add: expected at least one vector for fact ${fact}, got none; embed its prompt`);
      }
      reserve(used + rows);
      rowsOf.set(
        fact,
        Array.from({ length: rows }, (_, row) => append(fact, data.subarray(row * width, (row + 1) * width))),
      );
    },

    remove(fact) {
      // From the last row down, so that no row of this fact is moved into the hole of another one
      for (const row of [...(rowsOf.get(fact) ?? unknown("scope.remove", fact))].sort((a, b) => b - a)) {
        const last = --used;
        if (row === last) continue;
        matrix.copyWithin(row * width, last * width, (last + 1) * width);
        tails[row] = tails[last];
        owners[row] = owners[last];
        const moved = rowsOf.get(owners[row]) ?? unknown("scope.remove", owners[row]);
        moved[moved.indexOf(last)] = row;
      }
      rowsOf.delete(fact);
    },

    vectorsOf(fact) {
      const rows = rowsOf.get(fact) ?? unknown("scope.vectorsOf", fact);
      const vectors = new Float32Array(rows.length * width);
      rows.forEach((row, i) => vectors.set(matrix.subarray(row * width, (row + 1) * width), i * width));
      return vectors;
    },

    nearest(questions) {
      const { rows: N, data } = unitRows(questions, "scope.nearest");
      if (used === 0) return Array.from({ length: N }, () => undefined);
      const rest = Float64Array.from({ length: N }, (_, q) => norm(data.subarray(q * width + half, (q + 1) * width)));
      const vectors = matrix;
      const best = new Float64Array(N).fill(Number.NEGATIVE_INFINITY);
      const found = new Float64Array(N);
      for (let tile = 0; tile < used; tile += tileRows) {
        const end = Math.min(used, tile + tileRows);
        for (let q = 0; q < N; q++) {
          const questionAt = q * width;
          for (let row = tile; row < end; row++) {
            const at = row * width;
            const first = product(data, questionAt, vectors, at, 0, half);
            if (first + rest[q] * tails[row] + slack < best[q]) continue;
            const similarity = first + product(data, questionAt, vectors, at, half, width);
            if (similarity > best[q] || (similarity === best[q] && owners[row] < found[q])) {
              best[q] = similarity;
              found[q] = owners[row];
            }
          }
        }
      }
      return Array.from(best, (similarity, q) => ({ fact: found[q], similarity }));
    },

    state() {
      const facts = store.facts();
      const vectors = new Float32Array(used * width);
      const numbers = new Float64Array(used);
      let row = 0;
      for (const fact of facts) {
        const own = store.vectorsOf(fact);
        vectors.set(own, row * width);
        const end = row + own.length / width;
        numbers.fill(fact, row, end);
        row = end;
      }
      return {
        tensors: {
          vectors: { dtype: "float32", shape: [used, width], data: vectors },
          facts: packDoubles([used], numbers),
        },
        json: { width, rows: used },
      };
    },

    restore(state) {
      const [savedWidth, rows] = [numberOf(state, "width", 1), numberOf(state, "rows", 0)];
      if (savedWidth !== width) {
        throw new UserError(
          `scope.restore: expected vectors of ${width} numbers, got ${savedWidth}; open the encoder they were made with`,
        );
      }
      const { data: vectors } = tensorOf(state, "vectors", "float32", [rows, width]);
      const facts = unpackDoubles(state, "facts", [rows]);
      for (let row = 0; row < rows; row++) {
        const length = norm(Float64Array.from(vectors.subarray(row * width, (row + 1) * width)));
        const ascending = row === 0 || facts[row] >= facts[row - 1];
        if (!Number.isSafeInteger(facts[row]) || !ascending || !(Math.abs(length - 1) < 1e-3)) {
          throw new UserError(
            `scope.restore: expected facts in order with vectors of length 1, got fact ${facts[row]} of length ` +
              `${length} in row ${row}; the file is damaged`,
          );
        }
      }
      rowsOf = new Map();
      used = 0;
      reserve(rows);
      for (let row = 0; row < rows; row++) {
        const own = append(facts[row], vectors.subarray(row * width, (row + 1) * width));
        const before = rowsOf.get(facts[row]);
        if (before) before.push(own);
        else rowsOf.set(facts[row], [own]);
      }
    },

    bytes: () => matrix.byteLength + tails.byteLength + owners.byteLength + 8 * used,
  };
  return store;
}
