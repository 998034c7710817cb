/**
 * The 95% confidence interval of a mean over few runs (seeds), by Student's t distribution.
 * It describes how well the mean is known if the runs are independent draws of something near normal;
 * one run has no interval, and two or three have wide ones: that is the point of showing it.
 */

export interface Interval {
  readonly mean: number;
  /** Half the width; null for a single run. */
  readonly half: number | null;
  /** Runs that have a value. */
  readonly n: number;
}

export const intervalFormula = "mean ± t · s / √n, t the 0.975 quantile of Student's t for n-1, s the sample deviation";

/** t(0.975, f): the two-sided 95% quantile for f = 1 ... 30 degrees of freedom. */
const quantiles = [
  12.706204736, 4.30265273, 3.182446305, 2.776445105, 2.570581836, 2.446911851, 2.364624252, 2.306004135, 2.262157163,
  2.228138852, 2.20098516, 2.17881283, 2.160368656, 2.144786688, 2.131449546, 2.119905299, 2.109815578, 2.10092204,
  2.093024054, 2.085963447, 2.079613845, 2.073873068, 2.06865761, 2.063898562, 2.059538553, 2.055529439, 2.051830516,
  2.048407142, 2.045229642, 2.042272456,
];
/** The same quantile of the normal distribution. */
const z = 1.959963985;

/** t(0.975, freedom): the table, then the expansion of Abramowitz & Stegun, 26.7.5 (error below 1e-6 there). */
export function studentT(freedom: number): number {
  if (freedom <= quantiles.length) return quantiles[freedom - 1];
  const f = freedom;
  const first = (z ** 3 + z) / (4 * f);
  const second = (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * f ** 2);
  const third = (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / (384 * f ** 3);
  return z + first + second + third;
}

/** Mean of the runs that have a finite value; null when none has. */
export const meanOf = (values: readonly (number | null | undefined)[]): number | null =>
  interval95(values)?.mean ?? null;

/** Mean and interval of the runs that have a finite value; null when none has. */
export function interval95(values: readonly (number | null | undefined)[]): Interval | null {
  const present = values.filter((value): value is number => typeof value === "number" && Number.isFinite(value));
  const n = present.length;
  if (n === 0) return null;
  const mean = present.reduce((a, b) => a + b, 0) / n;
  if (n === 1) return { mean, half: null, n };
  const variance = present.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1);
  return { mean, half: studentT(n - 1) * Math.sqrt(variance / n), n };
}
