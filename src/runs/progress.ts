/**
 * progress.json of a run: what its harness has measured, which data and state that belongs to, and the time and memory
 * it took. Written after every measurement, read when a run goes on.
 */
import { z } from "zod";
import { readChecked } from "../checkpoint/files.ts";
import type { Snapshot } from "../eval/diagnostics.ts";
import type { StreamEvent, StreamProgress } from "../eval/harness.ts";
import type { Task } from "../eval/task.ts";
import { UserError } from "../errors.ts";
import type { Receipt } from "../methods/method.ts";
import type { RunFolder } from "./folder.ts";

const isObject = (value: unknown): boolean => typeof value === "object" && value !== null;
const numbers = z.record(z.string(), z.number());
const rowSchema = z.object({
  cells: z.array(numbers.nullable()),
  probes: numbers,
  snapshot: z.custom<Snapshot>(isObject).nullable(),
  bytes: z.number().optional(),
  held: z.record(z.string(), numbers).optional(),
  done: z.boolean(),
});

const savedSchema = z.object({
  fingerprint: z.string(),
  /** Folder of the method's state after `learned` topics; null before the first. */
  state: z.string().nullable(),
  progress: z.object({
    learned: z.int().min(0),
    baseline: rowSchema,
    rows: z.array(rowSchema),
    receipts: z.array(z.custom<Receipt>(isObject)),
  }),
  seconds: z.object({
    total: z.number(),
    learn: z.array(z.number()),
    evaluate: z.array(z.number()),
    /** Inside the runtime; null when it was not watched. */
    runtime: z.number().nullable(),
  }),
  peakBytes: z.number(),
});
export type Saved = Readonly<Omit<z.infer<typeof savedSchema>, "progress">> & { readonly progress: StreamProgress };

/** Folder of the method's state. */
export const stateName = (learned: number): string => `state-${learned}`;
export const isState = (name: string): boolean => /^state-\d+$/.test(name);

/** Reads progress.json and checks that it belongs to this task and is complete; a finished run needs no state. */
export async function loadSaved(
  folder: RunFolder,
  task: Task,
  { finished = false }: { finished?: boolean } = {},
): Promise<Saved | undefined> {
  if (!(await folder.has("progress.json"))) return undefined;
  const path = folder.file("progress.json");
  const saved = await readChecked(path, savedSchema, { caller: "runStream", what: "the progress of a run" });
  if (saved.fingerprint !== task.fingerprint) {
    throw new UserError(
      `runStream: expected the same data as when ${folder.path} was started, got changed ones; ` +
        "restore them, or start a new run in another folder",
    );
  }
  if (!finished && saved.progress.learned > 0 && (saved.state === null || !(await folder.has(saved.state)))) {
    throw new UserError(
      `runStream: expected the method's state ${saved.state ?? stateName(saved.progress.learned)} in ${folder.path}, ` +
        "got none (half deleted?); delete the folder and start again",
    );
  }
  return saved;
}

export interface EventTime {
  /** Seconds of work, which go to the event's kind. */
  readonly elapsed: number;
  /** Seconds with saving, which go to the total. */
  readonly wall: number;
  /** Seconds inside the runtime; null when it is not watched. */
  readonly runtime: number | null;
  /** Rows before the first. */
  readonly shift: number;
}

/** Adds the time of one event. */
export function addSeconds(seconds: Saved["seconds"], event: StreamEvent, time: EventTime): Saved["seconds"] {
  const add = (list: readonly number[], index: number) =>
    Array.from(
      { length: Math.max(list.length, index + 1) },
      (_, i) => (list[i] ?? 0) + (i === index ? time.elapsed : 0),
    );
  const runtime = seconds.runtime === null || time.runtime === null ? null : seconds.runtime + time.runtime;
  const added = { ...seconds, total: seconds.total + time.wall, runtime };
  if (event.type === "method" || event.type === "topic-learned") {
    return { ...added, learn: add(seconds.learn, event.topic) };
  }
  const measured = event.type === "cell" || event.type === "probe" || event.type === "snapshot";
  return measured ? { ...added, evaluate: add(seconds.evaluate, event.row + time.shift) } : added;
}
