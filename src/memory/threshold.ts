/**
 * A threshold for scores, from examples of both kinds: a score at or above it speaks for the positives. It lies halfway
 * between two scores that were seen, so that neither is on the edge.
 */
import { UserError } from "../errors.ts";
import type { Numbers } from "./matrix.ts";

/**
 * What the threshold is chosen for: as large a share of accepted negatives as of refused positives ("equal-error"), or
 * the most positives with at most this share of negatives accepted.
 */
export type ThresholdAim = "equal-error" | { readonly falsePositiveShare: number };

export interface Calibration {
  readonly threshold: number;
  /** Share of the negatives at or above the threshold. */
  readonly falsePositiveShare: number;
  /** Share of the positives below it. */
  readonly falseNegativeShare: number;
  readonly positives: number;
  readonly negatives: number;
}

function sorted(scores: Numbers, kind: string): Float64Array {
  const all = Float64Array.from(scores);
  if (all.length === 0) {
    throw new UserError(`calibrate: expected at least one score of each kind, got no ${kind} ones; give examples`);
  }
  const bad = all.findIndex((score) => Number.isNaN(score));
  if (bad >= 0)
    throw new UserError(`calibrate: expected numbers, got NaN as ${kind} score ${bad}; look at what made it`);
  return all.sort();
}

/** Between two scores: halfway, or past the one that is finite. */
function between(low: number, high: number): number {
  const middle = low + (high - low) / 2;
  if (Number.isFinite(middle) && middle > low) return middle;
  return high;
}

/** The threshold that does best by `aim` on these scores; the higher of equally good ones. */
export function calibrate(
  positives: Numbers,
  negatives: Numbers,
  { aim = "equal-error" }: { readonly aim?: ThresholdAim } = {},
): Calibration {
  const [p, n] = [sorted(positives, "positive"), sorted(negatives, "negative")];
  const most = aim === "equal-error" ? 1 : aim.falsePositiveShare;
  if (!(most >= 0 && most <= 1)) {
    throw new UserError(`calibrate: expected a falsePositiveShare from 0 to 1, got ${most}; 0.05 is one in twenty`);
  }
  const cuts = [...new Set([...p, ...n])].sort((a, b) => b - a);
  // Above everything: nothing is accepted
  let best: Calibration = {
    threshold: Number.POSITIVE_INFINITY,
    falsePositiveShare: 0,
    falseNegativeShare: 1,
    positives: p.length,
    negatives: n.length,
  };
  const [cost, side] = [
    (c: Calibration): number =>
      aim === "equal-error" ? Math.abs(c.falsePositiveShare - c.falseNegativeShare) : c.falseNegativeShare,
    (c: Calibration): number => c.falsePositiveShare + c.falseNegativeShare,
  ];
  let [i, j] = [p.length, n.length];
  for (const [at, cut] of cuts.entries()) {
    while (i > 0 && p[i - 1] >= cut) i--;
    while (j > 0 && n[j - 1] >= cut) j--;
    const low = cuts[at + 1] ?? Number.NEGATIVE_INFINITY;
    const found: Calibration = {
      ...best,
      threshold: between(low, cut),
      falsePositiveShare: (n.length - j) / n.length,
      falseNegativeShare: i / p.length,
    };
    if (found.falsePositiveShare > most) break;
    const gain = cost(best) - cost(found);
    if (gain > 0 || (gain === 0 && side(found) < side(best))) best = found;
  }
  return best;
}
