/**
 * How a topic fades: its scores at later steps fitted to accuracy(t) = a · exp(-t / tau), t topics after it was
 * learned, by least squares on the scores themselves (not on their logarithms, which would let scores near zero
 * decide).
 */
import type { Cell, ScoreMatrix } from "./metrics.ts";

export const decayFormula = "accuracy(t) = a · exp(-t / tau), least squares; R² = 1 - Σ(y - fit)² / Σ(y - mean)²";

export interface DecayFit {
  readonly a: number;
  /** In topics; null where the score does not fall. */
  readonly tau: number | null;
  /** Goodness in the original scale, from 0 to 1; null where all scores are equal and nothing is to be explained. */
  readonly r2: number | null;
  /** Scores that the fit goes through. */
  readonly points: number;
}

export interface DecayPoint {
  readonly t: number;
  readonly score: number;
}

/** Two parameters go through any two points, so a fit says something from three on. */
const leastPoints = 3;
/** Rates (1 / tau) looked at: from a decay nobody could see to one that is over at the next step. */
const slowest = 1e-6;
const fastest = 30;
const steps = 600;

/** The best `a` for a given rate, and the squares that remain. */
function atRate(points: readonly DecayPoint[], rate: number): { a: number; rest: number } {
  let top = 0;
  let bottom = 0;
  for (const { t, score } of points) {
    const factor = Math.exp(-rate * t);
    top += score * factor;
    bottom += factor * factor;
  }
  const a = bottom > 0 ? top / bottom : 0;
  return { a, rest: points.reduce((sum, { t, score }) => sum + (score - a * Math.exp(-rate * t)) ** 2, 0) };
}

/** Fit to points with t >= 0; null with fewer than three points or fewer than two different t. */
export function fitDecay(points: readonly DecayPoint[]): DecayFit | null {
  if (points.length < leastPoints || new Set(points.map(({ t }) => t)).size < 2) return null;
  const rest = (rate: number): number => atRate(points, rate).rest;
  // Given the rate, `a` has a closed form; the rate is found on a grid first, as there may be several minima.
  const rates = [0, ...Array.from({ length: steps + 1 }, (_, i) => slowest * (fastest / slowest) ** (i / steps))];
  const rests = rates.map(rest);
  const best = rests.indexOf(Math.min(...rests));
  let low = rates[Math.max(0, best - 1)];
  let high = rates[Math.min(rates.length - 1, best + 1)];
  const golden = (Math.sqrt(5) - 1) / 2;
  for (let i = 0; i < 80; i++) {
    const left = high - golden * (high - low);
    const right = low + golden * (high - low);
    if (rest(left) < rest(right)) high = right;
    else low = left;
  }
  const middle = (low + high) / 2;
  const rate = rest(middle) < rests[best] ? middle : rates[best];
  const fit = atRate(points, rate);
  const mean = points.reduce((sum, { score }) => sum + score, 0) / points.length;
  const spread = points.reduce((sum, { score }) => sum + (score - mean) ** 2, 0);
  return {
    a: fit.a,
    tau: rate <= slowest ? null : 1 / rate,
    r2: spread > 0 ? 1 - fit.rest / spread : null,
    points: points.length,
  };
}

/** Scores of topic `j` from the moment it was learned: R[j][j], R[j+1][j], ... */
function curve(R: readonly (readonly Cell[])[], j: number): DecayPoint[] {
  return R.slice(j).flatMap((row, t) => (row[j] === null ? [] : [{ t, score: row[j] }]));
}

export interface Decay {
  /** One fit through the curves of all topics together. */
  readonly all: DecayFit | null;
  readonly perTopic: readonly (DecayFit | null)[];
}

/** Fits for one matrix; all null for "lower" matrices, where a score has no zero to fall to. */
export function decayOf({ R, direction }: ScoreMatrix): Decay {
  const curves = R.map((_, j) => (direction === "higher" ? curve(R, j) : []));
  return { all: fitDecay(curves.flat()), perTopic: curves.map(fitDecay) };
}
