/**
 * The one evaluation loop: score every topic before learning anything, then learn topic after topic and score again.
 * An async generator of events that fills R[i][j]. It keeps nothing itself: `advance` folds its events into a
 * StreamProgress, which a caller saves (with the method's state at every "topic-learned") and hands back to resume.
 */
import { internal, UserError } from "../errors.ts";
import type { Method, MethodEvent, Receipt } from "../methods/method.ts";
import type { Cell, ScoreMatrix } from "./metrics.ts";
import type { Task } from "./task.ts";

/** Row -1 of a cell is the baseline. `topic` is always the index in the stream. */
export type StreamEvent =
  | { type: "topic-start"; topic: number; name: string; topics: number }
  | { type: "method"; topic: number; event: MethodEvent }
  | { type: "topic-learned"; topic: number; name: string; receipt: Receipt }
  | { type: "cell"; row: number; column: number; score: Cell }
  | { type: "row"; row: number; scores: readonly Cell[] };

/** How far a stream has come: plain JSON. */
export interface StreamProgress {
  /** Topics learned so far; the method's state belongs to this number. */
  readonly learned: number;
  /** Scores before learning; shorter than the topics while it is being filled. */
  readonly baseline: readonly Cell[];
  /** Rows so far; the last one may still be short. */
  readonly R: readonly (readonly Cell[])[];
  readonly receipts: readonly Receipt[];
}

export interface StreamOptions {
  /** Score every topic after every step, or only those learned so far (the rest of the row is null). */
  columns?: "all" | "seen";
  /** Score all topics before learning; without it there is no baseline row. */
  baseline?: boolean;
  /** Where to continue; the method must have been restored to the state saved with it. */
  progress?: StreamProgress;
  /** Folder for the mid-run checkpoints of one topic. */
  checkpoint?: (topic: number) => string | undefined;
  /** Ends the loop at the next event; what was reported until then counts. */
  signal?: AbortSignal;
}

export const noProgress: StreamProgress = { learned: 0, baseline: [], R: [], receipts: [] };

/** The progress after one more event. */
export function advance(progress: StreamProgress, event: StreamEvent): StreamProgress {
  if (event.type === "topic-learned") {
    return {
      ...progress,
      learned: event.topic + 1,
      R: [...progress.R, []],
      receipts: [...progress.receipts, event.receipt],
    };
  }
  if (event.type !== "cell") return progress;
  if (event.row < 0) return { ...progress, baseline: [...progress.baseline, event.score] };
  const R = progress.R.map((row, i) => (i === event.row ? [...row, event.score] : row));
  return { ...progress, R };
}

/** The finished rows of a progress as a matrix. */
export function matrixOf(task: Task, progress: StreamProgress): ScoreMatrix {
  const width = task.topics.length;
  return {
    R: progress.R.filter((row) => row.length === width),
    baseline: progress.baseline.length === width ? progress.baseline : null,
    direction: task.direction,
    unit: task.unit,
    topics: task.topics.map((topic) => topic.name),
  };
}

function checkProgress(task: Task, progress: StreamProgress): void {
  const width = task.topics.length;
  const rowsFit = progress.R.every(
    (row, i) => row.length === width || (i === progress.R.length - 1 && row.length < width),
  );
  const fits = progress.R.length === progress.learned && progress.learned <= width && progress.baseline.length <= width;
  if (!fits || !rowsFit || progress.receipts.length !== progress.learned) {
    throw new UserError(
      `evaluateStream: expected the progress of a stream of ${width} topics, got ${progress.learned} learned and ` +
        `${progress.R.length} rows; start the run again in a new folder`,
    );
  }
}

/** Learns one topic; returns its receipt, or undefined when it was interrupted. */
async function* learn(
  task: Task,
  method: Method,
  topic: number,
  { checkpoint, signal }: StreamOptions,
): AsyncGenerator<StreamEvent, Receipt | undefined> {
  let receipt: Receipt | undefined;
  try {
    const options = { checkpoint: checkpoint?.(topic), signal };
    for await (const event of method.observe(task.topics[topic].documents, options)) {
      if (event.type === "receipt") receipt = event.receipt;
      yield { type: "method", topic, event };
    }
  } catch (error) {
    if (signal?.aborted && error instanceof Error && error.name === "AbortError") return undefined;
    throw error;
  }
  if (!receipt) return signal?.aborted ? undefined : internal(`${method.name}.observe ended without a receipt`);
  return receipt.stopped === "interrupted" ? undefined : receipt;
}

/** Scores the rest of one row; returns false when it was interrupted. */
async function* score(
  task: Task,
  method: Method,
  row: number,
  done: readonly Cell[],
  { columns = "all", signal }: StreamOptions,
): AsyncGenerator<StreamEvent, boolean> {
  const scores = [...done];
  const needed = row < 0 || columns === "all" ? task.topics.length : row + 1;
  for (let column = done.length; column < task.topics.length; column++) {
    if (signal?.aborted) return false;
    const value = column < needed ? await task.evaluate(method, column) : null;
    if (value !== null && !Number.isFinite(value)) {
      throw new UserError(
        `evaluateStream: expected a finite score of ${task.topics[column].name}, got ${value}; ` +
          "the model has diverged: lower the learning rate",
      );
    }
    scores.push(value);
    yield { type: "cell", row, column, score: value };
  }
  yield { type: "row", row, scores };
  return true;
}

/**
 * Runs the stream to its end, or until `signal` aborts it. Rows that were already complete in `progress` are not
 * reported again. To resume, save `advance`'s result at every event and the method's state at "topic-learned".
 */
export async function* evaluateStream(
  task: Task,
  method: Method,
  options: StreamOptions = {},
): AsyncGenerator<StreamEvent, "done" | "interrupted"> {
  const { progress = noProgress, baseline = true, signal } = options;
  checkProgress(task, progress);
  const width = task.topics.length;
  if (baseline && progress.learned === 0 && progress.baseline.length < width) {
    if (!(yield* score(task, method, -1, progress.baseline, options))) return "interrupted";
  }
  for (let topic = 0; topic < width; topic++) {
    if (signal?.aborted) return "interrupted";
    if (topic >= progress.learned) {
      const { name } = task.topics[topic];
      yield { type: "topic-start", topic, name, topics: width };
      const receipt = yield* learn(task, method, topic, options);
      if (!receipt) return "interrupted";
      yield { type: "topic-learned", topic, name, receipt };
    }
    const done = progress.R[topic] ?? [];
    if (done.length < width && !(yield* score(task, method, topic, done, options))) return "interrupted";
  }
  return "done";
}
