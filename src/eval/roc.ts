/**
 * How well a score tells two kinds of things apart: the receiver operating characteristic (ROC) and what is read off
 * it. Larger scores speak for the positives; a threshold accepts every score at or above it.
 */
import { UserError } from "../errors.ts";

export interface RocPoint {
  /** Scores from here on are accepted; Infinity accepts none. */
  readonly threshold: number;
  /** Share of negatives accepted. */
  readonly falsePositiveRate: number;
  /** Share of positives accepted. */
  readonly truePositiveRate: number;
}

type Scores = ArrayLike<number>;

interface Step {
  readonly threshold: number;
  /** Accepted so far. */
  readonly positives: number;
  readonly negatives: number;
}

/** One step per distinct score, from the largest down; equal scores are accepted together. */
function stepsOf(positives: Scores, negatives: Scores): Step[] {
  if (positives.length === 0 || negatives.length === 0) {
    throw new UserError(
      `roc: expected at least one score of each kind, got ${positives.length} positive and ${negatives.length} ` +
        "negative",
    );
  }
  const all = [...Array.from(positives, (score) => [score, 1]), ...Array.from(negatives, (score) => [score, 0])];
  if (all.some(([score]) => Number.isNaN(score)))
    throw new UserError("roc: expected numbers, got NaN among the scores");
  all.sort(([a], [b]) => b - a);
  const steps: Step[] = [{ threshold: Number.POSITIVE_INFINITY, positives: 0, negatives: 0 }];
  let [p, n] = [0, 0];
  for (const [i, [score, positive]] of all.entries()) {
    if (positive === 1) p++;
    else n++;
    if (i + 1 === all.length || all[i + 1][0] < score) steps.push({ threshold: score, positives: p, negatives: n });
  }
  return steps;
}

/** From (0, 0), nothing accepted, to (1, 1), everything. */
export const rocPoints = (positives: Scores, negatives: Scores): RocPoint[] =>
  stepsOf(positives, negatives).map((step) => ({
    threshold: step.threshold,
    falsePositiveRate: step.negatives / negatives.length,
    truePositiveRate: step.positives / positives.length,
  }));

/** Area under the ROC: the chance that a positive scores higher than a negative, ties counting half. */
export function areaUnderRoc(positives: Scores, negatives: Scores): number {
  const points = rocPoints(positives, negatives);
  let area = 0;
  for (let i = 1; i < points.length; i++) {
    const [a, b] = [points[i - 1], points[i]];
    area += ((b.falsePositiveRate - a.falsePositiveRate) * (a.truePositiveRate + b.truePositiveRate)) / 2;
  }
  return area;
}

/**
 * Equal error rate: where the ROC, its points joined by lines, has as large a share of accepted negatives as of
 * refused positives. 0 is perfect, 0.5 is chance.
 */
export function equalErrorRate(positives: Scores, negatives: Scores): number {
  const points = rocPoints(positives, negatives);
  // Falls from 1 to -1: missed positives less accepted negatives
  const gap = ({ falsePositiveRate: f, truePositiveRate: t }: RocPoint): number => 1 - t - f;
  const at = points.findIndex((point) => gap(point) <= 0);
  const [a, b] = [points[at - 1], points[at]];
  const share = gap(a) / (gap(a) - gap(b));
  return a.falsePositiveRate + share * (b.falsePositiveRate - a.falsePositiveRate);
}

/** The largest F1 of the positives over all thresholds, and the largest threshold that reaches it. */
export function bestF1(positives: Scores, negatives: Scores): { readonly f1: number; readonly threshold: number } {
  let best = { f1: 0, threshold: Number.POSITIVE_INFINITY };
  for (const { threshold, positives: p, negatives: n } of stepsOf(positives, negatives)) {
    const f1 = (2 * p) / (positives.length + p + n);
    if (f1 > best.f1) best = { f1, threshold };
  }
  return best;
}
