/**
 * What one run says when it is over: plain JSON, saved as result.json and read by reports.
 * The raw matrices are always part of it, so that any other metric can be computed later.
 */
import type { StreamSummary } from "./summary.ts";

/** V(M): nats of log-likelihood of answers, with the memory minus without. */
export interface MemoryValue {
  /** Mean over all probes. */
  readonly mean: number;
  readonly probes: number;
  /** By the documents that probes name. */
  readonly documents: readonly { readonly document: string; readonly mean: number; readonly probes: number }[];
}

/** What learning cost. Null: not known. */
export interface Cost {
  /** Seconds of learning. */
  readonly seconds: number;
  /** Targets learned from; of methods that only keep documents, the tokens of these. */
  readonly tokens: number;
  /** Floating-point operations of learning, by the method's own count. */
  readonly flops: number | null;
  /** Bytes that the method added to the base. */
  readonly bytes: number;
  readonly bytesPerDocument: number;
  /** Largest memory of the process during the run, in MB (10^6 bytes). */
  readonly peakMB: number | null;
}

export interface RunResult extends StreamSummary {
  /** Name of the run (of its folder unless given). */
  readonly run: string;
  readonly task: string;
  /** Name of the score in `matrix`, and how it is taken: shown beside every number. */
  readonly metric: string;
  readonly protocol: string;
  readonly method: string;
  readonly model: string;
  readonly seeds: readonly number[];
  readonly cost: Cost;
  /**
   * 1 - seconds in which the runtime compiled or ran a graph / seconds of the whole run, saving included. Null where
   * the runtime was not watched.
   */
  readonly outsideRuntimeShare: number | null;
  /** Of the memory at the end, for methods that keep documents, on some of the questions; absent for others. */
  readonly value?: MemoryValue;
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
