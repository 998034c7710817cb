/** From the measured rows of a stream to the tables and numbers of its result. */
import { baseRetention, probeRatio, type ProbeScores } from "./comparison.ts";
import { type Diagnostics, diagnosticsOf } from "./diagnostics.ts";
import type { Figures } from "../methods/method.ts";
import type { StreamProgress, StreamRow } from "./harness.ts";
import { type Cell, mean, type Metrics, metricsOf, type ScoreMatrix } from "./metrics.ts";
import { meanReward, type StepReward, stepRewards } from "./rewards.ts";
import type { NamedScores, Task } from "./task.ts";

/** One named score as a matrix: R[i][j] and the row before learning. */
type NamedMatrix = Pick<ScoreMatrix, "R" | "baseline">;

/**
 * The numbers of a run under plain names: those of the matrix, base retention, and for every named score of the task
 * its mean over the learned topics in the last row.
 */
export type RunMetrics = Metrics & {
  readonly baseRetention: Cell;
  /** after / before of each probe, not turned around for "lower" ones. */
  readonly probeRatios: Readonly<Record<string, Cell>>;
  readonly [name: string]: Cell | readonly Cell[] | readonly string[] | Readonly<Record<string, Cell>>;
};

/** What a method holds after a step. */
export interface HeldStep {
  /** Of its own. */
  readonly bytes?: number;
  /** What is in its memory, if it has one. */
  readonly memory?: Figures;
}

export interface StreamSummary {
  readonly matrix: ScoreMatrix;
  readonly scores: Readonly<Record<string, NamedMatrix>>;
  readonly probes: Readonly<Record<string, ProbeScores>>;
  readonly metrics: RunMetrics;
  readonly diagnostics: Diagnostics;
  /** After each step; files of earlier versions lack it. */
  readonly held?: readonly HeldStep[];
  /** What each step was worth; null where scores are no accuracy. */
  readonly rewards: readonly StepReward[] | null;
}

const namesIn = (rows: readonly StreamRow[]): string[] => [
  ...new Set(rows.flatMap(({ cells }) => cells.flatMap((scores) => Object.keys(scores ?? {})))),
];

const column = (cells: readonly (NamedScores | null)[], name: string): Cell[] =>
  cells.map((scores) => scores?.[name] ?? null);

/** Mean over the learned topics in the last row; topics that never have this score do not count. */
function finalMean({ R }: NamedMatrix): Cell {
  const last = R[R.length - 1] ?? [];
  const learned = last.slice(0, R.length);
  return mean(learned.filter((cell, j) => cell !== null || R.some((row) => row[j] !== null)));
}

/** The numbers of a run from its parts. */
export function runMetrics(
  matrix: ScoreMatrix,
  scores: StreamSummary["scores"] = {},
  probes: StreamSummary["probes"] = {},
): RunMetrics {
  const means = Object.fromEntries(Object.entries(scores).map(([name, one]) => [name, finalMean(one)]));
  const probeRatios = Object.fromEntries(Object.entries(probes).map(([name, one]) => [name, probeRatio(one)]));
  return { ...means, ...metricsOf(matrix), baseRetention: baseRetention(probes), probeRatios };
}

/** Summary of the finished rows of a progress; `byteCost` is the λ of rewards, accuracy for a megabyte. */
export function summarize(
  task: Task,
  { baseline, rows }: StreamProgress,
  { byteCost = 0 }: { readonly byteCost?: number } = {},
): StreamSummary {
  const finished = rows.filter(({ done }) => done);
  const before = baseline.done ? baseline : null;
  const matrixOf = (name: string): NamedMatrix => ({
    R: finished.map(({ cells }) => column(cells, name)),
    baseline: before && column(before.cells, name),
  });
  const matrix: ScoreMatrix = {
    ...matrixOf(task.metric),
    direction: task.direction,
    unit: task.unit,
    topics: task.topics.map((topic) => topic.name),
  };
  const names = namesIn(before ? [before, ...finished] : finished);
  const scores = Object.fromEntries(names.map((name) => [name, matrixOf(name)]));
  const probes = Object.fromEntries(
    (task.probes ?? []).map(({ name, direction, unit, ofBase }) => {
      const after = finished.map((row) => row.probes[name] ?? null);
      const scores = { before: before?.probes[name] ?? null, after, direction, unit };
      return [name, ofBase ? { ...scores, ofBase } : scores];
    }),
  );
  const snapshots = {
    before: before?.snapshot ?? null,
    after: finished.map(({ snapshot }) => snapshot).filter((snapshot) => snapshot !== null),
  };
  const rewards = stepRewards(
    matrix,
    finished.map(({ bytes }) => bytes),
    { byteCost },
  );
  return {
    matrix,
    scores,
    probes,
    metrics: { ...runMetrics(matrix, scores, probes), reward: meanReward(rewards) },
    diagnostics: diagnosticsOf(matrix, snapshots),
    held: finished.map(({ bytes, held }) => ({ ...(bytes !== undefined && { bytes }), ...(held && { memory: held }) })),
    rewards,
  };
}
