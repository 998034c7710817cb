/**
 * Numbers that put one run beside something else: the base before it (base retention), full finetuning on the same
 * stream (CER), or other methods at the same amount learned. Pure functions; what cannot be said is null.
 */
import { leastLearned, mean } from "./metrics.ts";
import type { Cell, Direction } from "./metrics.ts";

/** Accuracy on new facts at which methods are compared. */
export const equalLearningAt = 0.7;

export const comparisonFormulas = {
  baseRetention: `base retention = after / before of what the base knew by itself; none where before < ${leastLearned}`,
  cer: "CER = (NAR / seconds) / (NAR / seconds of full finetuning)",
  equalLearning: `retention at equal learning: linear between the two settings around ${equalLearningAt} learned of new facts`,
} as const;

/** One probe over a stream: its score before the first topic and after every topic. */
export interface ProbeScores {
  readonly before: Cell;
  readonly after: readonly Cell[];
  readonly direction: Direction;
  readonly unit: string;
  /** Is it what the base knows by itself, of which base retention is the ratio? */
  readonly ofBase?: boolean;
}

/**
 * after / before with the last row, in the probe's own direction: for "higher" below 1 is lost, for "lower" (bits per
 * byte) above 1 is lost. Null where the base scored too little for a ratio.
 */
export function probeRatio({ before, after, direction }: ProbeScores): Cell {
  const last = after.at(-1) ?? null;
  if (before === null || last === null) return null;
  return before < (direction === "higher" ? leastLearned : Number.MIN_VALUE) ? null : last / before;
}

/**
 * Ratio of the probe of what the base knows by itself; null without one. What it admits not to know and its
 * cross-entropy are ratios beside it and never mixed in: who says "unknown" to everything has lost all it knew.
 */
export function baseRetention(probes: Readonly<Record<string, ProbeScores>>): Cell {
  const known = Object.values(probes).find(({ ofBase }) => ofBase);
  return known ? probeRatio(known) : null;
}

/** What of a run enters CER; seconds are those of learning. */
export interface LearningRate {
  readonly nar: Cell;
  readonly seconds: number;
}

/**
 * CER, compute efficiency: knowledge absorbed per second of learning, relative to full finetuning of the same base on
 * the same stream and machine. Above 1 is more learned per second. Null where full finetuning learned nothing.
 */
export function computeEfficiency(one: LearningRate, full: LearningRate): Cell {
  if (one.nar === null || full.nar === null || full.nar <= 0) return null;
  if (!(one.seconds > 0) || !(full.seconds > 0)) return null;
  return one.nar / one.seconds / (full.nar / full.seconds);
}

/** One setting of a method: how much of the new it learned, and how much of the old it kept. */
export interface LearningPoint {
  readonly setting: string;
  /** Accuracy on new facts in held-out phrasings right after learning, from 0 to 1. */
  readonly learned: Cell;
  readonly retention: Cell;
}

export interface EqualLearning {
  readonly retention: number;
  /** Settings interpolated between; twice the same where one hits the point. */
  readonly between: readonly [string, string];
}

/**
 * Retention of one method at `at` learned, linear between the nearest settings below and above; settings that learned
 * equally much count as their mean. Null where the settings do not bracket the point: nothing is extrapolated.
 */
export function atEqualLearning(points: readonly LearningPoint[], at = equalLearningAt): EqualLearning | null {
  const groups = new Map<number, { settings: string[]; retentions: number[] }>();
  for (const { setting, learned, retention } of points) {
    if (learned === null || retention === null) continue;
    const group = groups.get(learned) ?? { settings: [], retentions: [] };
    group.settings.push(setting);
    group.retentions.push(retention);
    groups.set(learned, group);
  }
  const found = [...groups].sort(([a], [b]) => a - b);
  const below = found.findLast(([learned]) => learned <= at);
  const above = found.find(([learned]) => learned >= at);
  if (!below || !above) return null;
  const name = ([, { settings }]: typeof below): string => [...settings].sort().join(", ");
  const height = ([, { retentions }]: typeof below): number => mean(retentions) ?? Number.NaN;
  const share = above[0] === below[0] ? 0 : (at - below[0]) / (above[0] - below[0]);
  const retention = height(below) + share * (height(above) - height(below));
  return { retention, between: [name(below), name(above)] };
}
