/**
 * Matrices of doubles and the five loops that everything in this folder is made of. Row after row, so that the inner
 * loop of each product runs over neighbouring numbers; symmetric matrices keep only their lower triangle, which halves
 * both their bytes and the time of a product with a vector.
 */
import { UserError, internal } from "../errors.ts";

/** A matrix [rows, columns], row-major. */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly data: Float64Array;
}

/** Vectors from outside: a Float32Array of an encoder, a Float64Array, a plain array. Several lie one after another. */
export type Numbers = ArrayLike<number>;

export const zeros = (rows: number, columns: number): Matrix => ({
  rows,
  columns,
  data: new Float64Array(rows * columns),
});

/** Numbers from outside as a matrix with `columns` columns: a copy. Refuses what is not finite. */
export function matrixOf(numbers: Numbers, columns: number, name: string): Matrix {
  if (numbers.length % columns !== 0) {
    throw new UserError(
      `${name}: expected rows of ${columns} numbers, got ${numbers.length} numbers; give whole rows one after another`,
    );
  }
  const data = Float64Array.from(numbers);
  const bad = data.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) {
    throw new UserError(
      `${name}: expected finite numbers, got ${data[bad]} in row ${Math.floor(bad / columns)}; look at what made it`,
    );
  }
  return { rows: data.length / columns, columns, data };
}

/** Rows of `width` numbers one after another. */
export function joinRows(rows: readonly Float32Array[], width: number): Float32Array<ArrayBuffer> {
  const all = new Float32Array(rows.length * width);
  for (const [i, row] of rows.entries()) all.set(row, i * width);
  return all;
}

/** Σ a[aAt + i] b[bAt + i] over i < n. Four sums at once, because one sum waits for its own last addition. */
export function dot(a: Float64Array, aAt: number, b: Float64Array, bAt: number, n: number): number {
  let [s0, s1, s2, s3] = [0, 0, 0, 0];
  let i = 0;
  for (; i + 3 < n; i += 4) {
    s0 += a[aAt + i] * b[bAt + i];
    s1 += a[aAt + i + 1] * b[bAt + i + 1];
    s2 += a[aAt + i + 2] * b[bAt + i + 2];
    s3 += a[aAt + i + 3] * b[bAt + i + 3];
  }
  for (; i < n; i++) s0 += a[aAt + i] * b[bAt + i];
  return s0 + s1 + (s2 + s3);
}

/** y[yAt + i] += factor x[xAt + i] over i < n. Four at a time, all read before any is written: half the time. */
export function addScaled(factor: number, x: Float64Array, xAt: number, y: Float64Array, yAt: number, n: number): void {
  const end = yAt + n;
  let [i, j] = [xAt, yAt];
  for (; j < end - 3; i += 4, j += 4) {
    const y0 = y[j] + factor * x[i];
    const y1 = y[j + 1] + factor * x[i + 1];
    const y2 = y[j + 2] + factor * x[i + 2];
    const y3 = y[j + 3] + factor * x[i + 3];
    y[j] = y0;
    y[j + 1] = y1;
    y[j + 2] = y2;
    y[j + 3] = y3;
  }
  for (; j < end; i++, j++) y[j] += factor * x[i];
}

export const norm = (x: Float64Array): number => Math.sqrt(dot(x, 0, x, 0, x.length));

/** A B. */
export function product(a: Matrix, b: Matrix): Matrix {
  if (a.columns !== b.rows) internal(`product: ${a.rows} by ${a.columns} times ${b.rows} by ${b.columns}`);
  const out = zeros(a.rows, b.columns);
  for (let i = 0; i < a.rows; i++) {
    for (let k = 0; k < a.columns; k++) {
      addScaled(a.data[i * a.columns + k], b.data, k * b.columns, out.data, i * b.columns, b.columns);
    }
  }
  return out;
}

export function transposed(a: Matrix): Matrix {
  const out = zeros(a.columns, a.rows);
  for (let i = 0; i < a.rows; i++) {
    for (let j = 0; j < a.columns; j++) out.data[j * a.rows + i] = a.data[i * a.columns + j];
  }
  return out;
}

/** Numbers in the lower triangle of a symmetric matrix of n rows; row i begins at i (i + 1) / 2. */
export const triangleSize = (n: number): number => (n * (n + 1)) / 2;

/**
 * out = A x for a symmetric A of which `triangle` is the lower half. One pass serves both halves, four rows at a time:
 * each number of `out` is then read and written once for all four, which more than halves the time.
 */
export function symmetricTimes(triangle: Float64Array, x: Float64Array, out: Float64Array): void {
  const n = x.length;
  out.fill(0);
  let i = 0;
  for (; i + 3 < n; i += 4) {
    const at0 = triangleSize(i);
    const at1 = at0 + i + 1;
    const at2 = at1 + i + 2;
    const at3 = at2 + i + 3;
    const x0 = x[i];
    const x1 = x[i + 1];
    const x2 = x[i + 2];
    const x3 = x[i + 3];
    let s0 = 0;
    let s1 = 0;
    let s2 = 0;
    let s3 = 0;
    for (let j = 0; j < i; j++) {
      const a0 = triangle[at0 + j];
      const a1 = triangle[at1 + j];
      const a2 = triangle[at2 + j];
      const a3 = triangle[at3 + j];
      const own = x[j];
      s0 += a0 * own;
      s1 += a1 * own;
      s2 += a2 * own;
      s3 += a3 * own;
      out[j] += a0 * x0 + a1 * x1 + (a2 * x2 + a3 * x3);
    }
    // Before the rows' own ends, which the last loop takes
    out[i] += s0;
    out[i + 1] += s1;
    out[i + 2] += s2;
    out[i + 3] += s3;
    for (let row = i; row < i + 4; row++) endOfRow(triangle, x, out, row, i);
  }
  for (let row = i; row < n; row++) endOfRow(triangle, x, out, row, 0);
}

/** The part of row `i` from column `from` to the diagonal, for both halves. */
function endOfRow(triangle: Float64Array, x: Float64Array, out: Float64Array, i: number, from: number): void {
  const at = triangleSize(i);
  const own = x[i];
  let sum = triangle[at + i] * own;
  for (let j = from; j < i; j++) {
    const a = triangle[at + j];
    sum += a * x[j];
    out[j] += a * own;
  }
  out[i] += sum;
}

/** A += factor x'x for a symmetric A of which `triangle` is the lower half. */
export function addOuter(triangle: Float64Array, factor: number, x: Float64Array): void {
  for (let i = 0, at = 0; i < x.length; at += ++i) {
    if (x[i] !== 0) addScaled(factor * x[i], x, 0, triangle, at, i + 1);
  }
}

/** A A' as a lower triangle. */
export function gram(a: Matrix): Float64Array {
  const triangle = new Float64Array(triangleSize(a.rows));
  for (let i = 0, at = 0; i < a.rows; i++) {
    for (let j = 0; j <= i; j++) {
      triangle[at++] = dot(a.data, i * a.columns, a.data, j * a.columns, a.columns);
    }
  }
  return triangle;
}

/** The largest eigenvalue of a symmetric positive matrix by power iteration: an estimate from below. */
export function largestEigenvalue(triangle: Float64Array, n: number, rounds = 40): number {
  // A start without a pattern, so that it is hardly ever orthogonal to the eigenvector.
  let x = Float64Array.from({ length: n }, (_, i) => 1 + ((i * 7919) % 101) / 101);
  let next = new Float64Array(n);
  let value = 0;
  for (let round = 0; round < rounds; round++) {
    const length = norm(x);
    if (length === 0) return 0;
    for (let i = 0; i < n; i++) x[i] /= length;
    symmetricTimes(triangle, x, next);
    const now = dot(x, 0, next, 0, n);
    const settled = Math.abs(now - value) <= 1e-6 * now;
    value = now;
    if (settled) break;
    [x, next] = [next, x];
  }
  return value;
}
