/**
 * What a method is measured on: topics that come one after another, and named scores for each of them.
 * A stream of texts, questions with answers, edits of facts: each is one file in tasks/ that returns a Task.
 */
import type { Document, Method, Query } from "../methods/method.ts";
import type { Direction } from "./metrics.ts";

/** One step of a stream: the documents that are learned together. How it is scored is the task's business. */
export interface Topic {
  readonly name: string;
  readonly documents: readonly Document[];
}

export interface EvaluateOptions {
  /** Aborting may end the work with an AbortError; the scores of that topic are then measured again. */
  signal?: AbortSignal;
}

/** Scores by plain name (exactMatch, f1, tokenAccuracy, efficacy, bitsPerByte ...); shares go from 0 to 1. */
export type NamedScores = Readonly<Record<string, number>>;

/** Something the base knew or could do before: measured before the first topic and after every topic. */
export interface Probe {
  /** Unique within a task. */
  readonly name: string;
  readonly direction: Direction;
  readonly unit: string;
  /** Is it what the base knows by itself, of which base retention is the ratio? One of a task's probes at most. */
  readonly ofBase?: boolean;
  /** Leaves the method unchanged. */
  evaluate(method: Method, options?: EvaluateOptions): Promise<number>;
}

export interface AskedQuestion {
  /** Unique within a task. */
  readonly id: string;
  readonly query: Query;
  /** At least one; any of them is right. "unknown" is an answer like another. */
  readonly answers: readonly string[];
  /** What it tests, for scores of their own. */
  readonly kind?: string;
}

export interface Task {
  readonly name: string;
  /** In the order in which they are learned. Names are unique. */
  readonly topics: readonly Topic[];
  /** Direction and unit of the score named by `metric`. */
  readonly direction: Direction;
  readonly unit: string;
  /** Hash of everything the scores depend on, so that a resumed run can refuse changed data. */
  readonly fingerprint: string;
  /** Name of the score that fills R, one of the names that `evaluate` returns. */
  readonly metric: string;
  /** How the scores are taken, in words, shown beside every number of this task. */
  readonly protocol: string;
  /** Scores of one topic with the method as it is now: the same names for every topic. Leaves the method unchanged. */
  evaluate(method: Method, topicIndex: number, options?: EvaluateOptions): Promise<NamedScores>;
  /**
   * Takes what only the untouched method can say, such as its answers before any edit. Called once on a fresh method,
   * before it is restored or learns.
   */
  prepare?(method: Method, options?: EvaluateOptions): Promise<void>;
  /** Everything that will be asked, so that a model without room for it is refused before it learns. */
  readonly questions?: readonly AskedQuestion[];
  /** Room for an answer, in tokens. */
  readonly maxTokens?: number;
  /** Knowledge that the base had before. */
  readonly probes?: readonly Probe[];
  /** Fixed texts for the diagnostics (drift, attention entropy): at most 16 texts of at most 128 tokens. */
  readonly diagnosticTexts?: readonly string[];
}
