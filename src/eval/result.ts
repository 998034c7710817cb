/**
 * What one run says when it is over: plain JSON, saved as result.json and read by reports.
 * The raw matrix is always part of it, so that any other metric can be computed later.
 */
import type { Metrics, ScoreMatrix } from "./metrics.ts";

export interface RunResult {
  /** Name of the run (of its folder unless given). */
  readonly run: string;
  readonly task: string;
  readonly method: string;
  readonly model: string;
  readonly seeds: readonly number[];
  readonly metrics: Metrics;
  /** What learning cost: seconds of learning, tokens passed through, bytes added to the base. */
  readonly cost: { readonly seconds: number; readonly tokens: number; readonly bytes: number };
  readonly matrix: ScoreMatrix;
  readonly config: Readonly<Record<string, unknown>>;
  readonly versions: Readonly<Record<string, string>>;
  readonly machine: Readonly<Record<string, string | number>>;
  /** Seconds; `learn` per topic, `evaluate` per row with the baseline first. */
  readonly durations: {
    readonly total: number;
    readonly learn: readonly number[];
    readonly evaluate: readonly number[];
  };
  /** When the run was finished, ISO 8601. */
  readonly finished: string;
}

/** One training step for the loss curve: nats per token. */
export interface LossPoint {
  readonly topic: number;
  readonly step: number;
  readonly loss: number;
}

/** A result with the curve that led to it: what a report shows. */
export interface ReportRun {
  readonly result: RunResult;
  readonly losses: readonly LossPoint[];
}
