/**
 * The episodic memory: facts written, read and forgotten by least squares, in O(K² + K C) each, however many are in.
 * Larimar, https://arxiv.org/abs/2403.11901, section 3, Eqs. 2-6, and Algorithm 1 (generate; projection.ts has it all).
 * Letters: K slots, C width; w [K] a fact's key (W of the paper), z [C] its value; C = Σ w'w, S = Σ w'z, λ the ridge,
 * M = (C + λI)⁻¹ S [K, C] the memory; reading w gives w M.
 *
 * We differ from Eqs. 3-4, which update M by the residual z - wM. While there are fewer facts than slots C has no
 * inverse, and that residual is zero for every fact that is in: with α = -1 the update changes nothing, and forgets
 * nothing. Here the state is C and S themselves. They are exact sums (statistics.ts), so forgetting a fact leaves them
 * as if it had never been written, in every regime; M is never updated, and each reading solves against C, so no
 * error of earlier updates can reach it (ridge-inverse.ts). λ > 0 stands for the pseudo-inverse, which is its limit.
 */
import { UserError } from "../errors.ts";
import type { Random } from "../tensor/random.ts";
import { addScaled, dot, largestEigenvalue, type Matrix, type Numbers, norm, triangleSize, zeros } from "./matrix.ts";
import { type MemoryState, numberOf, packDoubles, unpackDoubles } from "./packed.ts";
import { cholesky, choleskySolve } from "./pseudo-inverse.ts";
import { createRidgeInverse } from "./ridge-inverse.ts";
import { accumulate, checkRange, emptyStatistics, roundedRows, sameNumbers } from "./statistics.ts";

export interface EpisodicOptions {
  /** K: how many independent facts fit. */
  slots: number;
  /** C: numbers in a value. At least K, or values could not be told apart. */
  width: number;
  /**
   * λ, 1e-4 by default. For keys of length one, what is read of an independent fact is 1 / (1 + λ) of what was written.
   * Below about 1e-6 a write loses the inverse's digits and makes it anew, O(K³): right as ever, but slow.
   */
  ridge?: number;
}

export interface ReadOptions {
  /** What is read is multiplied by this, or brought to the mean (r.m.s.) length of the values written. */
  scale?: number | "written";
  /** σ_W of Algorithm 1: noise on the keys, drawn from `random`. */
  noise?: { sigma: number; random: Random };
}

export interface MemoryMonitor {
  /** Facts in. */
  readonly count: number;
  /** Effective rank: tr (C (C + λI)⁻¹), the independent directions among the keys. */
  readonly rank: number;
  /** How many independent facts still fit: K minus the rank. */
  readonly left: number;
  /** Three quarters of the slots are taken: time to open the next memory. */
  readonly full: boolean;
  /** Condition number of C + λI, estimated from below. */
  readonly condition: number;
  /** How often the inverse was made anew from C. */
  readonly rebuilds: number;
}

export interface EpisodicMemory {
  readonly slots: number;
  readonly width: number;
  readonly ridge: number;
  readonly count: () => number;
  /** Adds N facts: keys N·K numbers, values N·C. All or none. */
  write(keys: Numbers, values: Numbers): void;
  /** Takes facts out again; keys and values as written. All or none. */
  forget(keys: Numbers, values: Numbers): void;
  /** w M for each of N keys: N·C numbers. */
  read(keys: Numbers, options?: ReadOptions): Float64Array;
  /** Algorithm 1, generate: W ~ N(0, I), Z = W M; `rows`·C numbers. */
  generate(random: Random, rows?: number): Float64Array;
  /** M [K, C], computed now. */
  matrix(): Matrix;
  monitor(): MemoryMonitor;
  /** C, S and the count: everything there is to save. */
  state(): MemoryState;
  /** Takes on a saved state of the same slots, width and ridge, or throws and stays as it is. */
  restore(state: MemoryState): void;
  /** The same facts to the last bit, whatever the order and whatever came and went between. */
  equals(other: EpisodicMemory): boolean;
  bytes(): number;
}

/** The part of the slots that facts may fill before recall suffers. */
export const fullAt = 0.75;

/** From how many facts on (in parts of the slots) one Cholesky is cheaper than a rank-one update each. */
const bulkFrom = 0.25;

function checkedOptions({ slots, width, ridge }: Required<EpisodicOptions>): void {
  if (!Number.isInteger(slots) || slots < 1 || !Number.isInteger(width) || width < 1) {
    throw new UserError(
      `createEpisodicMemory: expected whole slots and width from 1, got ${slots} and ${width}; try 512 and 768`,
    );
  }
  if (width < slots) {
    throw new UserError(
      `createEpisodicMemory: expected a width of at least ${slots} (one per slot), got ${width}; a memory holds only ` +
        "min(slots, width) facts: use fewer slots or wider values",
    );
  }
  if (!(ridge > 0) || !Number.isFinite(ridge)) {
    throw new UserError(
      `createEpisodicMemory: expected a ridge above 0, got ${ridge}; 1e-4 suits keys of length one, and ` +
        "leastSquaresMemory is the form without",
    );
  }
}

/** An empty memory. */
export function createEpisodicMemory({ slots, width, ridge = 1e-4 }: EpisodicOptions): EpisodicMemory {
  checkedOptions({ slots, width, ridge });
  const statistics = emptyStatistics(slots, width);
  const { c, s, energy } = statistics;
  const inverse = createRidgeInverse(c, slots, ridge);
  const solution = new Float64Array(slots);
  let count = 0;

  const trace = (): number => {
    let sum = 0;
    for (let i = 1; i <= slots; i++) sum += c[triangleSize(i) - 1];
    return sum;
  };
  const facts = (action: string, keys: Numbers, values: Numbers): { w: Matrix; z: Matrix } => {
    const w = roundedRows(keys, slots, `episodic.${action} keys`);
    const z = roundedRows(values, width, `episodic.${action} values`);
    if (w.rows !== z.rows) {
      throw new UserError(`episodic.${action}: expected a value for each key, got ${w.rows} keys, ${z.rows} values`);
    }
    return { w, z };
  };
  const rowOf = (a: Matrix, row: number): Matrix => ({
    rows: 1,
    columns: a.columns,
    data: a.data.subarray(row * a.columns, (row + 1) * a.columns),
  });

  const unknownFact = (why: string): UserError =>
    new UserError(`episodic.forget: expected a fact that is in the memory, got ${why}; give key and value as written`);

  /** Takes out one fact, or throws and leaves all as it was. */
  const takeOut = (w: Matrix, z: Matrix): void => {
    inverse.solve(w.data, solution);
    // Without the fact C + λI is at least λI, so 1 - w·u, which is 1 / (1 + w (C - w'w + λI)⁻¹ w'), has a least value.
    const square = dot(w.data, 0, w.data, 0, slots);
    const pivot = 1 - dot(w.data, 0, solution, 0, slots);
    const rounding = 2 ** -46 * (1 + trace() / ridge);
    if (pivot < (0.25 * ridge) / (ridge + square) - rounding) throw unknownFact("a key that none was written under");
    accumulate(statistics, -1, w, z);
    let wrong = count === 1 && !(c.every((value) => value === 0) && s.every((value) => value === 0));
    for (let i = 1; i <= slots; i++) wrong ||= c[triangleSize(i) - 1] < 0;
    if (wrong) {
      accumulate(statistics, 1, w, z);
      throw unknownFact("another key or value than the one written");
    }
    count--;
    inverse.follow(-1, w.data, solution);
  };

  const putIn = (w: Matrix, z: Matrix): void => {
    inverse.solve(w.data, solution, { once: true });
    accumulate(statistics, 1, w, z);
    count++;
    inverse.follow(1, w.data, solution);
  };

  const weightedSum = (weights: Float64Array, out: Float64Array, outAt: number): void => {
    inverse.solve(weights, solution);
    for (let k = 0; k < slots; k++) addScaled(solution[k], s, k * width, out, outAt, width);
  };

  const memory: EpisodicMemory = {
    slots,
    width,
    ridge,
    count: () => count,

    write(keys, values) {
      const { w, z } = facts("write", keys, values);
      const squares = Array.from({ length: w.rows }, (_, row) => dot(w.data, row * slots, w.data, row * slots, slots));
      const empty = squares.indexOf(0);
      if (empty >= 0) {
        throw new UserError(
          `episodic.write: expected keys of a length near one, got zeros (to a millionth) in row ${empty}; ` +
            "normalise the keys",
        );
      }
      checkRange(statistics, w, z);
      const most = squares.reduce((a, b) => a + b, trace());
      if (most * 2 ** -44 > ridge) {
        throw new UserError(
          `episodic.write: expected a ridge above ${(most * 2 ** -44).toPrecision(2)} for keys whose squares add up ` +
            `to ${most.toPrecision(3)}, got ${ridge}; use a larger ridge or shorter keys`,
        );
      }
      if (w.rows > 1 && w.rows >= bulkFrom * slots) {
        accumulate(statistics, 1, w, z);
        count += w.rows;
        inverse.forgetAll();
      } else {
        for (let row = 0; row < w.rows; row++) putIn(rowOf(w, row), rowOf(z, row));
      }
    },

    forget(keys, values) {
      const { w, z } = facts("forget", keys, values);
      if (w.rows > count) throw unknownFact(`${w.rows} facts to forget of ${count}`);
      let done = 0;
      try {
        for (; done < w.rows; done++) takeOut(rowOf(w, done), rowOf(z, done));
      } catch (error) {
        // The sums are exact, so this puts back the very same bits.
        for (; done > 0; done--) putIn(rowOf(w, done - 1), rowOf(z, done - 1));
        throw error;
      }
    },

    read(keys, { scale = 1, noise } = {}) {
      const w = roundedRows(keys, slots, "episodic.read keys");
      const out = new Float64Array(w.rows * width);
      for (let row = 0; row < w.rows; row++) {
        const weights = rowOf(w, row).data;
        if (noise) for (let k = 0; k < slots; k++) weights[k] += noise.sigma * noise.random.normal();
        weightedSum(weights, out, row * width);
        const read = out.subarray(row * width, (row + 1) * width);
        let factor = scale;
        if (factor === "written") {
          const length = norm(read);
          const written = Math.sqrt(energy.reduce((a, b) => a + b, 0) / Math.max(1, count));
          factor = length > 0 ? written / length : 1;
        }
        if (factor !== 1) for (let j = 0; j < width; j++) read[j] *= factor;
      }
      return out;
    },

    generate(random, rows = 1) {
      const out = new Float64Array(rows * width);
      for (let row = 0; row < rows; row++) {
        weightedSum(
          Float64Array.from({ length: slots }, () => random.normal()),
          out,
          row * width,
        );
      }
      return out;
    },

    matrix() {
      const a = Float64Array.from(c);
      for (let i = 1; i <= slots; i++) a[triangleSize(i) - 1] += ridge;
      const factor = cholesky(a, slots);
      // write() keeps λ above the rounding of a factorisation, so only a foreign state can end here.
      if (!factor) throw new UserError("episodic.matrix: expected sums of facts, got others; restore a sound state");
      return count === 0 ? zeros(slots, width) : choleskySolve(factor, { rows: slots, columns: width, data: s });
    },

    monitor() {
      const p = inverse.triangle();
      let inverseTrace = 0;
      for (let i = 1; i <= slots; i++) inverseTrace += p[triangleSize(i) - 1];
      const rank = Math.min(slots, Math.max(0, slots - ridge * inverseTrace));
      return {
        count,
        rank,
        left: Math.max(0, slots - Math.round(rank)),
        full: count >= fullAt * slots,
        condition: (largestEigenvalue(c, slots) + ridge) * largestEigenvalue(p, slots),
        rebuilds: inverse.rebuilds(),
      };
    },

    state: () => ({
      tensors: {
        c: packDoubles([triangleSize(slots)], c),
        s: packDoubles([slots, width], s),
        energy: packDoubles([width], energy),
      },
      json: { slots, width, ridge, count },
    }),

    restore(state) {
      for (const [name, mine] of Object.entries({ slots, width, ridge })) {
        const saved = numberOf(state, name, 0);
        if (saved !== mine) {
          throw new UserError(
            `episodic.restore: expected a memory with ${name} ${mine}, got ${saved}; create one with the saved ${name}`,
          );
        }
      }
      const savedCount = numberOf(state, "count", 0);
      const saved = {
        c: unpackDoubles(state, "c", [triangleSize(slots)]),
        s: unpackDoubles(state, "s", [slots, width]),
        energy: unpackDoubles(state, "energy", [width]),
      };
      const sound = (value: number): boolean => Number.isInteger(value * 2 ** 40);
      if (!Number.isInteger(savedCount) || !saved.c.every(sound) || !saved.s.every(sound)) {
        throw new UserError("episodic.restore: expected sums of rounded facts, got others; the file is damaged");
      }
      c.set(saved.c);
      s.set(saved.s);
      energy.set(saved.energy);
      count = savedCount;
      inverse.forgetAll();
    },

    equals(other) {
      if (other.slots !== slots || other.width !== width || other.ridge !== ridge || other.count() !== count)
        return false;
      const theirs = other.state();
      return (
        sameNumbers(c, unpackDoubles(theirs, "c", [triangleSize(slots)])) &&
        sameNumbers(s, unpackDoubles(theirs, "s", [slots, width]))
      );
    },

    bytes: () => c.byteLength + s.byteLength + energy.byteLength + inverse.bytes(),
  };
  return memory;
}

/**
 * Reading again from what was read (GPM's attractor dynamics; `read_iters` of the released code, 1 there): each answer
 * becomes the next question, addressed by `keysOf`. With memory-derived keys, a projection, once is enough.
 */
export function readRepeatedly(
  memory: EpisodicMemory,
  keysOf: (latents: Numbers) => Float64Array,
  latents: Numbers,
  { iterations = 1, ...options }: ReadOptions & { iterations?: number } = {},
): Float64Array {
  let read = memory.read(keysOf(latents), options);
  for (let i = 1; i < iterations; i++) read = memory.read(keysOf(read), options);
  return read;
}
