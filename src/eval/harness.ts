/**
 * The one evaluation loop: score every topic before learning anything, then learn topic after topic and score again.
 * A row is all that is measured at one such moment: every topic's named scores, the probes, and a look inside.
 * An async generator of events. It keeps nothing itself: `advance` folds its events into a StreamProgress, which a
 * caller saves (with the method's state at every "topic-learned") and hands back to resume.
 */
import { internal, UserError } from "../errors.ts";
import type { Figures, Method, MethodEvent, Receipt } from "../methods/method.ts";
import { type BaseStates, readBase, type Snapshot, takeSnapshot } from "./diagnostics.ts";
import type { Cell } from "./metrics.ts";
import type { NamedScores, Task } from "./task.ts";

/** Row -1 is the baseline. `topic` is always the index in the stream. */
export type StreamEvent =
  | { type: "topic-start"; topic: number; name: string; topics: number }
  | { type: "method"; topic: number; event: MethodEvent }
  /** `bytes`: what the method holds of its own from then on; `held`: what is in its memory, if it has one. */
  | { type: "topic-learned"; topic: number; name: string; receipt: Receipt; bytes: number; held?: Figures }
  /** `score` is the one that fills R; both are null where nothing was evaluated. */
  | { type: "cell"; row: number; column: number; score: Cell; scores: NamedScores | null }
  | { type: "probe"; row: number; name: string; value: number }
  | { type: "snapshot"; row: number; snapshot: Snapshot }
  | { type: "row"; row: number; scores: readonly Cell[] };

/** What has been measured of one row. */
export interface StreamRow {
  /** One per topic; shorter while the row is being filled. */
  readonly cells: readonly (NamedScores | null)[];
  readonly probes: NamedScores;
  readonly snapshot: Snapshot | null;
  /** What the method held then; absent before learning, and where an older version began the run. */
  readonly bytes?: number;
  /** What was in its memory then. */
  readonly held?: Figures;
  /** Is nothing left to measure? */
  readonly done: boolean;
}

/** How far a stream has come: plain JSON. */
export interface StreamProgress {
  /** Topics learned so far; the method's state belongs to this number. */
  readonly learned: number;
  /** Before learning. */
  readonly baseline: StreamRow;
  /** One per learned topic; the last one may still be incomplete. */
  readonly rows: readonly StreamRow[];
  readonly receipts: readonly Receipt[];
}

export interface StreamOptions {
  /** Score every topic after every step, or only those learned so far (the rest of the row is null). */
  columns?: "all" | "seen";
  /** Measure all before learning; without it there is no baseline row. */
  baseline?: boolean;
  /** Where to continue; the method must have been restored to the state saved with it. */
  progress?: StreamProgress;
  /** States of the base, read before the method was restored. Needed for snapshots when topics have been learned. */
  base?: BaseStates;
  /** Folder for the mid-run checkpoints of one topic. */
  checkpoint?: (topic: number) => string | undefined;
  /** Ends the loop at the next event; what was reported until then counts. */
  signal?: AbortSignal;
}

const noRow: StreamRow = { cells: [], probes: {}, snapshot: null, done: false };
export const noProgress: StreamProgress = { learned: 0, baseline: noRow, rows: [], receipts: [] };

/** A row after one more event. */
function advanceRow(row: StreamRow, event: StreamEvent): StreamRow {
  if (event.type === "cell") return { ...row, cells: [...row.cells, event.scores] };
  if (event.type === "probe") return { ...row, probes: { ...row.probes, [event.name]: event.value } };
  if (event.type === "snapshot") return { ...row, snapshot: event.snapshot };
  return event.type === "row" ? { ...row, done: true } : row;
}

/** The progress after one more event. */
export function advance(progress: StreamProgress, event: StreamEvent): StreamProgress {
  if (event.type === "topic-learned") {
    return {
      ...progress,
      learned: event.topic + 1,
      rows: [...progress.rows, { ...noRow, bytes: event.bytes, ...(event.held && { held: event.held }) }],
      receipts: [...progress.receipts, event.receipt],
    };
  }
  if (!("row" in event)) return progress;
  if (event.row < 0) return { ...progress, baseline: advanceRow(progress.baseline, event) };
  return { ...progress, rows: progress.rows.map((row, i) => (i === event.row ? advanceRow(row, event) : row)) };
}

function checkProgress(task: Task, { learned, baseline, rows, receipts }: StreamProgress): void {
  const width = task.topics.length;
  const fits = (row: StreamRow, last: boolean) => (row.done || !last ? row.done && row.cells.length === width : true);
  const rowsFit = rows.every((row, i) => fits(row, i === rows.length - 1) && row.cells.length <= width);
  const counted = rows.length === learned && receipts.length === learned && learned <= width;
  if (counted && rowsFit && baseline.cells.length <= width) return;
  throw new UserError(
    `evaluateStream: expected the progress of a stream of ${width} topics, got ${learned} learned and ` +
      `${rows.length} rows; start the run again in a new folder`,
  );
}

/** Is it the signal that ended the work, and not a fault? */
export const isAbort = (error: unknown, signal: AbortSignal | undefined): boolean =>
  (signal?.aborted ?? false) && (error === signal?.reason || (error instanceof Error && error.name === "AbortError"));

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
    if (isAbort(error, signal)) return undefined;
    throw error;
  }
  if (!receipt) return signal?.aborted ? undefined : internal(`${method.name}.observe ended without a receipt`);
  return receipt.stopped === "interrupted" ? undefined : receipt;
}

/** Passes scores on, or tells why they are none. */
function finite<T extends NamedScores>(scores: T, of: string): T {
  for (const [name, value] of Object.entries(scores)) {
    if (Number.isFinite(value)) continue;
    throw new UserError(
      `evaluateStream: expected a finite score of ${of}, got ${value} for ${name}; ` +
        "the model has diverged: lower the learning rate",
    );
  }
  return scores;
}

const scoreOf = (task: Task, scores: NamedScores | null): Cell =>
  scores === null ? null : (scores[task.metric] ?? internal(`task ${task.name} gave no score ${task.metric}`));

interface RowWork {
  readonly task: Task;
  readonly method: Method;
  readonly row: number;
  readonly done: StreamRow;
  readonly base: BaseStates | undefined;
}

/** Measures what is missing of one row; returns false when it was interrupted. */
async function* measure(
  { task, method, row, done, base }: RowWork,
  { columns = "all", signal }: StreamOptions,
): AsyncGenerator<StreamEvent, boolean> {
  const cells = [...done.cells];
  const needed = row < 0 || columns === "all" ? task.topics.length : row + 1;
  try {
    for (let column = cells.length; column < task.topics.length; column++) {
      if (signal?.aborted) return false;
      const scores = column < needed ? await task.evaluate(method, column, { signal }) : null;
      if (scores !== null) finite(scores, task.topics[column].name);
      cells.push(scores);
      yield { type: "cell", row, column, score: scoreOf(task, scores), scores };
    }
    for (const probe of task.probes ?? []) {
      if (probe.name in done.probes) continue;
      if (signal?.aborted) return false;
      const value = await probe.evaluate(method, { signal });
      yield { type: "probe", row, name: probe.name, value: finite({ [probe.name]: value }, "a probe")[probe.name] };
    }
  } catch (error) {
    if (isAbort(error, signal)) return false;
    throw error;
  }
  if (base && done.snapshot === null) {
    if (signal?.aborted) return false;
    const snapshot = await takeSnapshot(method, task.diagnosticTexts ?? [], base);
    snapshot.drift.forEach(({ relativeL2, cosine, cka }, i) =>
      finite({ relativeL2, cosine, cka }, `hidden state ${i}`),
    );
    yield { type: "snapshot", row, snapshot };
  }
  yield { type: "row", row, scores: cells.map((scores) => scoreOf(task, scores)) };
  return true;
}

/**
 * Runs the stream to its end, or until `signal` aborts it. Rows that were already done in `progress` are not
 * reported again. To resume, save `advance`'s result at every event and the method's state at "topic-learned".
 */
export async function* evaluateStream(
  task: Task,
  method: Method,
  options: StreamOptions = {},
): AsyncGenerator<StreamEvent, "done" | "interrupted"> {
  const { progress = noProgress, baseline = true, signal } = options;
  checkProgress(task, progress);
  if (signal?.aborted) return "interrupted";
  const base = progress.learned === 0 ? await readBase(method, task.diagnosticTexts) : options.base;
  if (baseline && progress.learned === 0 && !progress.baseline.done) {
    const work = { task, method, row: -1, done: progress.baseline, base };
    if (!(yield* measure(work, options))) return "interrupted";
  }
  for (let topic = 0; topic < task.topics.length; topic++) {
    if (signal?.aborted) return "interrupted";
    if (topic >= progress.learned) {
      const { name } = task.topics[topic];
      yield { type: "topic-start", topic, name, topics: task.topics.length };
      const receipt = yield* learn(task, method, topic, options);
      if (!receipt) return "interrupted";
      const held = method.held?.();
      yield { type: "topic-learned", topic, name, receipt, bytes: method.bytes(), ...(held && { held }) };
    }
    const done = progress.rows[topic] ?? noRow;
    if (!done.done && !(yield* measure({ task, method, row: topic, done, base }, options))) return "interrupted";
  }
  return "done";
}
