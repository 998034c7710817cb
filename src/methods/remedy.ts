/**
 * What a method does against forgetting beyond plain gradient descent: other rows in its batches, a penalty on its
 * weights, something kept of every observation. All parts are optional; gradient-method.ts calls them and saves their
 * state with the weights, and never asks which remedy it has.
 */
import type { Batches, Rows, ServeOptions } from "./batches.ts";
import type { MethodState } from "./method.ts";
import type { Penalty } from "./train.ts";

/** Gradients by parameter name. */
export type Gradients = Readonly<Record<string, Float32Array>>;

/** One observation, as its remedy sees it. */
export interface Lesson {
  /** What is learned (text held out for early stopping is not in it). */
  readonly rows: Rows;
  /** Of this observation: another one for each. */
  readonly seed: number;
  /** The weights that train, as they are now. */
  readonly weights: Readonly<Record<string, Float32Array>>;
  /** Other texts as rows, cut as those of the lesson. */
  rowsOf(texts: readonly string[]): Rows;
  /**
   * The gradient of -log p(row) in nats, a sum over the row's targets, for one row after the other; the arrays are
   * overwritten by the next. Throws when the observation is aborted.
   */
  rowGradients(rows: Rows, order: Iterable<number>): AsyncIterable<Gradients>;
}

export interface Remedy {
  /** Before an observation trains. Called again when the observation is resumed. */
  before?(lesson: Lesson): Promise<void>;
  /** The batches of an observation. Default: its rows, shuffled. */
  batches?(rows: Rows, options: ServeOptions): Batches | undefined;
  readonly penalty?: Penalty;
  /** After an observation was trained whole. What it changes must change at its end, at once. */
  after?(lesson: Lesson): Promise<void>;
  /** Bytes kept beside the weights. */
  bytes(): number;
  /** Names in it belong to no weight. */
  state(): MethodState;
  /** Refuses what does not fit by a UserError, before anything is changed. */
  restore(state: MethodState): void;
}
