/**
 * Inverses in double precision: Cholesky for what is symmetric and positive, an orthogonal decomposition for any other
 * matrix, and the Newton-Schulz iteration of the papers as a mode to compare with.
 *
 * Larimar, https://arxiv.org/abs/2403.11901, Algorithm 1 (A⁺ in write and read), after Pham et al., "Generative
 * Pseudo-Inverse Memory"; the iteration is Ben-Cohen's, A₀ = 5e-4 A', Aᵢ₊₁ = 2 Aᵢ - Aᵢ A Aᵢ, 15 steps.
 * We differ: a singular value s becomes (1 - (1 - 5e-4 s²)^(2^steps)) / s there, so that values below about 0.35 are
 * lost and those above 63.2 diverge. The decomposition here inverts all of them and finds the rank.
 */
import { UserError } from "../errors.ts";
import {
  addScaled,
  dot,
  gram,
  largestEigenvalue,
  type Matrix,
  product,
  transposed,
  triangleSize,
  zeros,
} from "./matrix.ts";

/** L with L L' = A, both as lower triangles of n rows; undefined where A is not positive definite. */
export function cholesky(triangle: Float64Array, n: number): Float64Array | undefined {
  const factor = new Float64Array(triangleSize(n));
  for (let i = 0, rowI = 0; i < n; rowI += ++i) {
    for (let j = 0, rowJ = 0; j < i; rowJ += ++j) {
      factor[rowI + j] = (triangle[rowI + j] - dot(factor, rowI, factor, rowJ, j)) / factor[rowJ + j];
    }
    const rest = triangle[rowI + i] - dot(factor, rowI, factor, rowI, i);
    if (!(rest > 0)) return undefined;
    factor[rowI + i] = Math.sqrt(rest);
  }
  return factor;
}

/** A⁻¹ = L'⁻¹ L⁻¹ as a lower triangle, from the factor of `cholesky`. */
export function inverseOf(factor: Float64Array, n: number): Float64Array {
  const size = triangleSize(n);
  const lower = new Float64Array(size); // L⁻¹
  for (let i = 0, rowI = 0; i < n; rowI += ++i) {
    for (let j = 0, rowJ = 0; j < i; rowJ += ++j) addScaled(-factor[rowI + j], lower, rowJ, lower, rowI, j + 1);
    const scale = 1 / factor[rowI + i];
    for (let j = 0; j < i; j++) lower[rowI + j] *= scale;
    lower[rowI + i] = scale;
  }
  const inverse = new Float64Array(size);
  for (let k = 0, rowK = 0; k < n; rowK += ++k) {
    for (let i = 0, rowI = 0; i <= k; rowI += ++i) addScaled(lower[rowK + i], lower, rowK, inverse, rowI, i + 1);
  }
  return inverse;
}

/** X with L L' X = B, from the factor of `cholesky`. B is [n, columns]. */
export function choleskySolve(factor: Float64Array, b: Matrix): Matrix {
  const { rows: n, columns } = b;
  const x = Float64Array.from(b.data);
  const divide = (row: number, by: number): void => {
    for (let c = row * columns; c < (row + 1) * columns; c++) x[c] /= by;
  };
  for (let i = 0, rowI = 0; i < n; rowI += ++i) {
    for (let j = 0; j < i; j++) addScaled(-factor[rowI + j], x, j * columns, x, i * columns, columns);
    divide(i, factor[rowI + i]);
  }
  for (let i = n - 1; i >= 0; i--) {
    const rowI = triangleSize(i);
    divide(i, factor[rowI + i]);
    for (let j = 0; j < i; j++) addScaled(-factor[rowI + j], x, i * columns, x, j * columns, columns);
  }
  return { rows: n, columns, data: x };
}

/**
 * A = T Q with orthonormal rows in Q [r, columns] and T [rows, r], r the rank. Gram-Schmidt that takes each new
 * direction clean of the earlier ones twice, which is enough for full precision. With `tolerance` it always goes on
 * with the row of which most is left and ends when that is less than `tolerance` of the first; without, the rows are
 * independent, come in their own order, and T is lower triangular.
 */
function orthogonalise(a: Matrix, tolerance?: number): { t: Matrix; q: Matrix } {
  const { rows, columns } = a;
  const most = Math.min(rows, columns);
  const rest = Float64Array.from(a.data);
  const lengthOf = (row: number): number => Math.sqrt(dot(rest, row * columns, rest, row * columns, columns));
  const t = zeros(rows, most);
  const q = zeros(most, columns);
  const left = Array.from({ length: rows }, (_, row) => row);
  let smallest = 0;
  let rank = 0;
  for (; rank < most; rank++) {
    let pick = 0;
    if (tolerance !== undefined) {
      const lengths = left.map(lengthOf);
      for (let i = 1; i < lengths.length; i++) if (lengths[i] > lengths[pick]) pick = i;
      if (rank === 0) smallest = tolerance * lengths[pick];
      if (!(lengths[pick] > smallest)) break;
    }
    const [row] = left.splice(pick, 1);
    for (let earlier = 0; earlier < rank; earlier++) {
      const more = dot(rest, row * columns, q.data, earlier * columns, columns);
      t.data[row * most + earlier] += more;
      addScaled(-more, q.data, earlier * columns, rest, row * columns, columns);
    }
    const length = lengthOf(row);
    if (!(length > smallest)) break;
    addScaled(1 / length, rest, row * columns, q.data, rank * columns, columns);
    t.data[row * most + rank] = length;
    for (const other of left) {
      const share = dot(rest, other * columns, q.data, rank * columns, columns);
      t.data[other * most + rank] = share;
      addScaled(-share, q.data, rank * columns, rest, other * columns, columns);
    }
  }
  const narrow = zeros(rows, rank);
  for (let i = 0; i < rows; i++) narrow.data.set(t.data.subarray(i * most, i * most + rank), i * rank);
  return { t: narrow, q: { rows: rank, columns, data: q.data.slice(0, rank * columns) } };
}

/**
 * The Moore-Penrose inverse A⁺ [columns, rows] of any matrix, of any rank. A complete orthogonal decomposition:
 * A = T Q, then T' = U V with U lower triangular, so that A = V'U'Q and A⁺ = Q' U'⁻¹ V. A row of which less than
 * `tolerance` of the longest is left counts as dependent on the others.
 */
export function pseudoInverse(a: Matrix, { tolerance = Math.max(a.rows, a.columns) * 2 ** -52 } = {}): Matrix {
  const { t, q } = orthogonalise(a, tolerance);
  const r = q.rows;
  if (r === 0) return zeros(a.columns, a.rows);
  const { t: u, q: v } = orthogonalise(transposed(t));
  const m = v.columns;
  for (let k = r - 1; k >= 0; k--) {
    for (let i = k + 1; i < r; i++) addScaled(-u.data[i * r + k], v.data, i * m, v.data, k * m, m);
    for (let c = k * m; c < (k + 1) * m; c++) v.data[c] /= u.data[k * r + k];
  }
  return product(transposed(q), v);
}

export interface NewtonSchulzOptions {
  /** A₀ = init A'. */
  init?: number;
  steps?: number;
}

/**
 * The papers' approximate A⁺ [columns, rows]. Refuses where it would diverge, which is certain before the first step:
 * it does where init s² >= 2 for a singular value s (63.2 at 5e-4), and all lie below that if and only if
 * (2 / init) I - A A' has a Cholesky factor.
 */
export function newtonSchulz(a: Matrix, { init = 5e-4, steps = 15 }: NewtonSchulzOptions = {}): Matrix {
  if (!(init > 0) || !Number.isInteger(steps) || steps < 0) {
    throw new UserError(`newtonSchulz: expected init > 0 and whole steps >= 0, got ${init} and ${steps}; try 5e-4, 15`);
  }
  const flipped = transposed(a);
  const squares = a.rows <= a.columns ? gram(a) : gram(flipped);
  const n = Math.min(a.rows, a.columns);
  const limit = 2 / init;
  const room = squares.map((value) => -value);
  for (let i = 0; i < n; i++) room[triangleSize(i + 1) - 1] += limit * (1 - 1e-3); // a margin for rounding
  if (cholesky(room, n) === undefined) {
    const largest = Math.sqrt(largestEigenvalue(squares, n));
    throw new UserError(
      `newtonSchulz: expected singular values below ${Math.sqrt(limit).toFixed(1)}, got about ${largest.toFixed(1)}, ` +
        "where the iteration diverges; scale the matrix down or use pseudoInverse",
    );
  }
  let x: Matrix = { ...flipped, data: flipped.data.map((value) => init * value) };
  for (let step = 0; step < steps; step++) {
    const square = product(product(x, a), x);
    x = { ...x, data: x.data.map((value, i) => 2 * value - square.data[i]) };
  }
  return x;
}
