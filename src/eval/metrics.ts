/**
 * Numbers over a score matrix R[i][j]: the score of topic j after learning topics 0..i, one after another.
 * Frameworks disagree about these definitions, so every formula is written here and printed beside the number.
 * All are pure functions of a readonly matrix. T is the number of rows (topics learned so far).
 * A cell that was not evaluated is null, and a number that would need it is null as well, never a guess; only the best
 * score of a topic is the best of those that were evaluated.
 */
import { internal } from "../errors.ts";

/** Which way a score improves. */
export type Direction = "higher" | "lower";
export type Cell = number | null;

export interface ScoreMatrix {
  /** R[i][j], one row per learned topic, one column per topic of the stream; null where it was not evaluated. */
  readonly R: readonly (readonly Cell[])[];
  /** R[-1][j]: the scores before anything was learned. */
  readonly baseline: readonly Cell[] | null;
  readonly direction: Direction;
  /** Such as "bits per byte". */
  readonly unit: string;
  /** Column names, in the order of the stream. */
  readonly topics: readonly string[];
}

export interface Metrics {
  readonly acc: number | null;
  readonly bwt: number | null;
  readonly forgetting: number | null;
  readonly fwt: number | null;
  /** Share of what was learned of old topics that is left at the end; null for "lower" matrices. */
  readonly rkr: number | null;
  /** Share of what there was to learn that was learned; null for "lower" matrices. */
  readonly nar: number | null;
  /** Forgetting of each learned topic; the mean above leaves the last one out. */
  readonly forgettingPerTopic: readonly Cell[];
  /** Names of old topics that RKR leaves out, because too little of them was ever learned. */
  readonly rkrLeftOut: readonly string[];
  /** Names of topics that NAR leaves out, because there was nothing to learn. */
  readonly narLeftOut: readonly string[];
}

/** A mean over topics, and the indices of those that had to stay out of it. */
export interface PartialMean {
  readonly value: Cell;
  readonly leftOut: readonly number[];
}

/** Below this score a topic counts as never learned: a ratio to it would say nothing. */
export const leastLearned = 0.05;

/** The formulas as they are shown beside the numbers; `forgetting` depends on the direction. */
export const formulas = {
  acc: "ACC = mean over j of R[T-1][j]",
  bwt: "BWT = mean over j < T-1 of R[T-1][j] - R[j][j]",
  forgetting: {
    higher: "F = mean over j < T-1 of (max over i < T-1 of R[i][j]) - R[T-1][j]",
    lower: "F = mean over j < T-1 of R[T-1][j] - (min over k of R[k][j])",
  },
  fwt: "FWT = mean over j >= 1 of R[j-1][j] - R[-1][j]",
  rkr: `RKR = mean over j < T-1 of R[T-1][j] / R[j][j], without topics of R[j][j] < ${leastLearned}`,
  nar: "NAR = mean over j of (R[j][j] - R[j-1][j]) / (1 - R[j-1][j]), without topics of R[j-1][j] = 1",
} as const;

/** Mean, or null when there is nothing to average or a value is missing. */
export function mean(values: readonly Cell[]): Cell {
  if (values.length === 0) return null;
  let sum = 0;
  for (const value of values) {
    if (value === null) return null;
    sum += value;
  }
  return sum / values.length;
}

const difference = (a: Cell, b: Cell): Cell => (a === null || b === null ? null : a - b);

function present(values: readonly (Cell | undefined)[]): number[] {
  return values.filter((value) => value !== null && value !== undefined);
}

/** Mean of the values that are there, or null when there is none: for showing several topics or runs as one. */
export const meanOfKnown = (values: readonly (Cell | undefined)[]): Cell => mean(present(values));

function checked(R: ScoreMatrix["R"]): ScoreMatrix["R"] {
  const columns = R[0]?.length ?? 0;
  for (const row of R) {
    if (row.length !== columns) internal(`metrics: rows of ${columns} and ${row.length} columns in one matrix`);
  }
  if (R.length > columns) internal(`metrics: ${R.length} rows but ${columns} columns`);
  return R;
}

/**
 * ACC = mean over j < T of R[T-1][j] (GEM, Eq. 2): the mean score of all learned topics at the end.
 * In the unit of the scores; for a "lower" matrix a small ACC is good.
 */
export function averageScore(R: ScoreMatrix["R"]): Cell {
  const rows = checked(R);
  return rows.length === 0 ? null : mean(rows[rows.length - 1].slice(0, rows.length));
}

/**
 * BWT = mean over j < T-1 of R[T-1][j] - R[j][j] (GEM, https://arxiv.org/abs/1706.08840, Eq. 3).
 * The difference is not turned around for "lower" matrices: there a positive BWT means that old topics got worse.
 */
export function backwardTransfer(R: ScoreMatrix["R"]): Cell {
  const rows = checked(R);
  const last = rows[rows.length - 1] ?? [];
  return mean(rows.slice(0, -1).map((row, j) => difference(last[j], row[j])));
}

/**
 * Forgetting of each learned topic j < T; positive means forgotten.
 * "higher" (Chaudhry et al. 2018, https://arxiv.org/abs/1801.10112): max over i < T-1 of R[i][j], minus R[T-1][j];
 * negative when the end is the best. "lower": R[T-1][j] - min over k of R[k][j]; the minimum includes the last row, so
 * it is never negative.
 */
export function forgettingPerTopic(R: ScoreMatrix["R"], direction: Direction): Cell[] {
  const rows = checked(R);
  const last = rows[rows.length - 1] ?? [];
  return rows.map((_, j) => {
    const compared = direction === "higher" ? rows.slice(0, -1) : rows;
    const column = present(compared.map((row) => row[j]));
    if (column.length === 0 || last[j] === null) return null;
    return direction === "higher" ? Math.max(...column) - last[j] : last[j] - Math.min(...column);
  });
}

/**
 * Forgetting = mean over j < T-1 of the forgetting of topic j (see `forgettingPerTopic`).
 * The topic learned last is left out: nothing came after it.
 */
export function forgetting(R: ScoreMatrix["R"], direction: Direction): Cell {
  return mean(forgettingPerTopic(R, direction).slice(0, -1));
}

/**
 * FWT = mean over 1 <= j < T of R[j-1][j] - R[-1][j] (GEM, Eq. 4): what earlier topics did for a topic before it was
 * learned. Not turned around for "lower" matrices: there a negative FWT is the good one. Null without a baseline row.
 */
export function forwardTransfer(R: ScoreMatrix["R"], baseline: readonly Cell[] | null): Cell {
  const rows = checked(R);
  if (baseline === null) return null;
  return mean(rows.slice(1).map((_, i) => difference(rows[i][i + 1], baseline[i + 1] ?? null)));
}

/** Mean of the terms that are there; a term left out is undefined, one that was not evaluated is null. */
function partialMean(terms: readonly (Cell | undefined)[]): PartialMean {
  return {
    value: mean(terms.filter((term) => term !== undefined)),
    leftOut: terms.flatMap((term, j) => (term === undefined ? [j] : [])),
  };
}

/**
 * RKR, retained knowledge: mean over old topics j < T-1 of R[T-1][j] / R[j][j]; 1 is nothing lost, 0 all.
 * Topics that were hardly learned (R[j][j] < 0.05) are left out and listed. For shares from 0 to 1, "higher" only:
 * a ratio of bits per byte is no share of knowledge.
 */
export function retainedKnowledge(R: ScoreMatrix["R"], direction: Direction): PartialMean {
  const rows = checked(R);
  if (direction === "lower") return { value: null, leftOut: [] };
  const last = rows[rows.length - 1] ?? [];
  return partialMean(
    rows.slice(0, -1).map((row, j) => {
      const learned = row[j];
      if (learned !== null && learned < leastLearned) return undefined;
      return learned === null || last[j] === null ? null : last[j] / learned;
    }),
  );
}

/**
 * NAR, new knowledge absorbed: mean over j of (R[j][j] - R[j-1][j]) / (1 - R[j-1][j]), where R[-1] is the baseline.
 * 1 is all that was not known before the topic, 0 nothing; negative when learning a topic made it worse.
 * Topics known completely before (R[j-1][j] = 1) are left out and listed. For shares from 0 to 1, "higher" only.
 */
export function absorbedKnowledge(
  R: ScoreMatrix["R"],
  baseline: readonly Cell[] | null,
  direction: Direction,
): PartialMean {
  const rows = checked(R);
  if (direction === "lower") return { value: null, leftOut: [] };
  return partialMean(
    rows.map((row, j) => {
      const before = (j === 0 ? baseline?.[0] : rows[j - 1][j]) ?? null;
      if (before !== null && before >= 1) return undefined;
      return before === null || row[j] === null ? null : (row[j] - before) / (1 - before);
    }),
  );
}

/** All of the above for one matrix. */
export function metricsOf({ R, baseline, direction, topics }: ScoreMatrix): Metrics {
  const rkr = retainedKnowledge(R, direction);
  const nar = absorbedKnowledge(R, baseline, direction);
  return {
    acc: averageScore(R),
    bwt: backwardTransfer(R),
    forgetting: forgetting(R, direction),
    fwt: forwardTransfer(R, baseline),
    rkr: rkr.value,
    nar: nar.value,
    forgettingPerTopic: forgettingPerTopic(R, direction),
    rkrLeftOut: rkr.leftOut.map((j) => topics[j]),
    narLeftOut: nar.leftOut.map((j) => topics[j]),
  };
}
