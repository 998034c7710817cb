/**
 * Logistic regression by Newton's method (iteratively reweighted least squares; McCullagh and Nelder, Generalized
 * Linear Models, 1989, section 4.4). Letters: N examples, D features, x [D], y 0 or 1, w [D], b; p = 1 / (1 + e^-(wx+b)).
 * Minimised is Σ -log p(y) + λ/2 |w|² over features brought to mean 0 and deviation 1: convex, so there is one answer,
 * and neither rate nor seed to choose. A ridge λ > 0 keeps it finite where the classes can be told apart entirely.
 */
import { internal, UserError } from "../errors.ts";
import { addOuter, addScaled, dot, matrixOf, type Numbers, norm, triangleSize } from "./matrix.ts";
import { cholesky, choleskySolve } from "./pseudo-inverse.ts";

export interface LogisticModel {
  /** w [D], for features as they come. */
  readonly weights: Float64Array;
  readonly bias: number;
}

export interface LogisticOptions {
  /** λ. */
  readonly ridge?: number;
  readonly steps?: number;
}

/** log(p / (1 - p)) = x w + b of each of N examples. */
export function logOdds({ weights, bias }: LogisticModel, features: Numbers): Float64Array {
  const x = matrixOf(features, weights.length, "logOdds");
  return Float64Array.from(
    { length: x.rows },
    (_, row) => bias + dot(x.data, row * x.columns, weights, 0, weights.length),
  );
}

/** log(1 + e^t) without overflow. */
const softplus = (t: number): number => Math.max(t, 0) + Math.log1p(Math.exp(-Math.abs(t)));

/** The model of `columns` features that fits N examples (N·D numbers) and their labels best. */
export function fitLogistic(
  features: Numbers,
  columns: number,
  labels: ArrayLike<boolean>,
  { ridge = 1, steps = 100 }: LogisticOptions = {},
): LogisticModel {
  const { rows: N, data: x } = matrixOf(features, columns, "fitLogistic");
  const D = columns;
  const positives = Array.from(labels).filter(Boolean).length;
  if (labels.length !== N || positives === 0 || positives === N) {
    throw new UserError(
      `fitLogistic: expected a label for each of ${N} examples and both kinds of them, got ${labels.length} labels, ` +
        `${positives} of them true; give examples of both kinds`,
    );
  }
  if (!(ridge > 0) || !Number.isFinite(ridge)) {
    throw new UserError(`fitLogistic: expected a ridge above 0, got ${ridge}; 1 suits standardised features`);
  }
  // Mean 0, deviation 1; a feature that is always the same tells nothing and stays out
  const [means, scales] = [new Float64Array(D), new Float64Array(D)];
  for (let row = 0; row < N; row++) for (let j = 0; j < D; j++) means[j] += x[row * D + j] / N;
  for (let row = 0; row < N; row++) for (let j = 0; j < D; j++) scales[j] += (x[row * D + j] - means[j]) ** 2 / N;
  for (let j = 0; j < D; j++) scales[j] = scales[j] > 1e-24 * (1 + means[j] ** 2) ? 1 / Math.sqrt(scales[j]) : 0;
  /** Examples with a last feature that is 1, for b. */
  const E = D + 1;
  const z = new Float64Array(N * E);
  for (let row = 0; row < N; row++) {
    for (let j = 0; j < D; j++) z[row * E + j] = (x[row * D + j] - means[j]) * scales[j];
    z[row * E + D] = 1;
  }

  const odds = (u: Float64Array): Float64Array =>
    Float64Array.from({ length: N }, (_, row) => dot(z, row * E, u, 0, E));
  const lossOf = (u: Float64Array, t: Float64Array): number =>
    t.reduce((sum, value, row) => sum + softplus(labels[row] ? -value : value), 0) + (ridge / 2) * dot(u, 0, u, 0, D);

  let u = new Float64Array(E);
  let t = odds(u);
  let loss = lossOf(u, t);
  for (let step = 0; step < steps; step++) {
    const gradient = new Float64Array(E);
    const hessian = new Float64Array(triangleSize(E));
    const weighted = new Float64Array(E);
    for (let row = 0; row < N; row++) {
      const p = 1 / (1 + Math.exp(-t[row]));
      addScaled(p - (labels[row] ? 1 : 0), z, row * E, gradient, 0, E);
      weighted.set(z.subarray(row * E, (row + 1) * E));
      addOuter(hessian, p * (1 - p), weighted);
    }
    addScaled(ridge, u, 0, gradient, 0, D);
    for (let j = 0; j < D; j++) hessian[triangleSize(j + 1) - 1] += ridge;
    // b has no ridge; where all p are 0 or 1 its curvature would be none
    hessian[triangleSize(E) - 1] += 1e-9;
    if (norm(gradient) < 1e-10 * N) break;
    const factor = cholesky(hessian, E) ?? internal("fitLogistic: a Hessian that is not positive");
    const move = choleskySolve(factor, { rows: E, columns: 1, data: gradient }).data;
    // Half as far until the loss falls: Newton's steps overshoot far from the answer
    let size = 1;
    let next = u;
    let nextOdds = t;
    let nextLoss = Number.POSITIVE_INFINITY;
    for (; size > 1e-9 && !(nextLoss < loss); size /= 2) {
      next = Float64Array.from(u, (value, j) => value - size * move[j]);
      nextOdds = odds(next);
      nextLoss = lossOf(next, nextOdds);
    }
    if (!(nextLoss < loss)) break;
    [u, t, loss] = [next, nextOdds, nextLoss];
  }
  const weights = Float64Array.from({ length: D }, (_, j) => u[j] * scales[j]);
  return { weights, bias: u[D] - dot(weights, 0, means, 0, D) };
}
