/**
 * Between run folders and the store: events are written into the store as they pass, and what the store does not have
 * (because a process was killed, or because the database was lost) is read from the folder's log.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { errorCode, exists, readJsonObject } from "../checkpoint/files.ts";
import type { RunResult } from "../eval/result.ts";
import { readEvents } from "./event-log.ts";
import type { RunEvent } from "./events.ts";
import type { RunFolder } from "./folder.ts";
import type { RunStore } from "./store.ts";

/** Milliseconds between two writes of training steps. */
const stepInterval = 1000;

/** Puts the lines of a log that the store does not have into it. */
function catchUp(store: RunStore, id: number, seed: number, log: readonly RunEvent[]): void {
  const known = store.eventCount(id, seed);
  store.addEvents(id, seed, known, log.slice(known));
}

/** Passes the events of one run on and writes them into the store, the training steps of a second at a time. */
export async function* recordRun(
  store: RunStore,
  { id, seed, folder, clock = Date.now }: { id: number; seed: number; folder: RunFolder; clock?: () => number },
  events: AsyncIterable<RunEvent>,
): AsyncGenerator<RunEvent> {
  const log = folder.isNew ? [] : await folder.events();
  catchUp(store, id, seed, log);
  // A finished run says its result again without logging it.
  const over = !folder.isNew && (await folder.has("result.json"));
  let line = log.length;
  let pending: RunEvent[] = [];
  let written = clock();
  for await (const event of events) {
    if (!over) pending.push(event);
    if (event.type !== "method" || clock() - written >= stepInterval) {
      store.addEvents(id, seed, line, pending);
      line += pending.length;
      pending = [];
      written = clock();
    }
    if (event.type === "result") store.putResult(id, seed, event.result);
    yield event;
  }
}

/** Reads what the folder of one seed holds into the store; says how far it came. */
export async function indexSeed(
  store: RunStore,
  { id, seed, path }: { id: number; seed: number; path: string },
): Promise<"absent" | "begun" | "finished"> {
  const found = await readdir(path).catch((error: unknown) => {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  });
  if (found === undefined) return "absent";
  catchUp(store, id, seed, await readEvents(join(path, "events.jsonl")));
  const result = join(path, "result.json");
  if (!(await exists(result))) return "begun";
  store.putResult(id, seed, (await readJsonObject(result)) as unknown as RunResult);
  return "finished";
}
