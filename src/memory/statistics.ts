/**
 * What an episodic memory knows: C = Σ w'w and S = Σ w'z over its facts, summed without any rounding.
 *
 * Keys and values are rounded once, on the way in, to multiples of 2⁻²⁰ (a millionth). Their products are then whole
 * multiples of 2⁻⁴⁰, and doubles add those exactly up to 2¹³. So the sums depend on which facts are in, and not on the
 * order or on what was written and forgotten between: taking a fact out leaves, bit for bit, what was there before it.
 * A sum can not leave that range unseen: |C_ij| <= max C_ii, and |S_ij| <= √(C_ii T_j) with T_j = Σ z_j².
 */
import { UserError } from "../errors.ts";
import { addOuter, addScaled, type Matrix, matrixOf, type Numbers, triangleSize } from "./matrix.ts";

const perOne = 2 ** 20;
/** Sums below this are exact: 2⁵³ steps of 2⁻⁴⁰. */
const exactBelow = 2 ** 13;
/** Steps of T, which needs range more than digits: exact up to 2²⁷. */
const energyPerOne = 2 ** 26;

/** Rows as the memory keeps them: rounded to multiples of 2⁻²⁰. Below 16 a float32 holds the result exactly. */
export function roundedRows(numbers: Numbers, columns: number, name: string): Matrix {
  const rows = matrixOf(numbers, columns, name);
  const { data } = rows;
  for (let i = 0; i < data.length; i++) data[i] = Math.round(data[i] * perOne) / perOne + 0; // + 0: no negative zero
  return rows;
}

/** Letters: K slots, C width. */
export interface Statistics {
  /** C as a lower triangle, K (K + 1) / 2 numbers. */
  readonly c: Float64Array;
  /** S [K, C]. */
  readonly s: Float64Array;
  /** T [C]: Σ z_j² of each number of the values. */
  readonly energy: Float64Array;
}

export const emptyStatistics = (slots: number, width: number): Statistics => ({
  c: new Float64Array(triangleSize(slots)),
  s: new Float64Array(slots * width),
  energy: new Float64Array(width),
});

const energyOf = (value: number): number => Math.round(value * value * energyPerOne) / energyPerOne;

/** Refuses facts whose sums would not be exact. Changes nothing. */
export function checkRange({ c, energy }: Statistics, keys: Matrix, values: Matrix): void {
  const diagonal = Float64Array.from({ length: keys.columns }, (_, i) => c[triangleSize(i + 1) - 1]);
  const energies = Float64Array.from(energy);
  for (let i = 0; i < keys.data.length; i++) diagonal[i % keys.columns] += keys.data[i] ** 2;
  for (let i = 0; i < values.data.length; i++) energies[i % values.columns] += energyOf(values.data[i]);
  const largest = diagonal.reduce((a, b) => Math.max(a, b), 0);
  const strongest = energies.reduce((a, b) => Math.max(a, b), 0);
  if (largest < exactBelow && strongest < exactBelow ** 2 && largest * strongest < exactBelow ** 2 / 2) return;
  throw new UserError(
    "episodic.write: expected keys and values whose sums stay exact (sum of squares of one number of the keys below " +
      `${exactBelow}, times that of the values below ${exactBelow ** 2 / 2}), got ${largest.toPrecision(3)} and ` +
      `${strongest.toPrecision(3)}; scale keys to length one and values down`,
  );
}

/** Adds (sign 1) or takes away (sign -1) the facts of all rows. */
export function accumulate({ c, s, energy }: Statistics, sign: 1 | -1, keys: Matrix, values: Matrix): void {
  const [K, C] = [keys.columns, values.columns];
  for (let row = 0; row < keys.rows; row++) {
    const w = keys.data.subarray(row * K, (row + 1) * K);
    addOuter(c, sign, w);
    for (let k = 0; k < K; k++) {
      if (w[k] !== 0) addScaled(sign * w[k], values.data, row * C, s, k * C, C);
    }
    for (let j = 0; j < C; j++) energy[j] += sign * energyOf(values.data[row * C + j]);
  }
}

export const sameNumbers = (a: Float64Array, b: Float64Array): boolean =>
  a.length === b.length && a.every((value, i) => value === b[i]);
