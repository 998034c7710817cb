/**
 * Builds the store again from run folders: what `mneme runs --reindex` does when the database was lost or a folder came
 * from elsewhere. A damaged folder is reported and left out; the others are read.
 */
import { readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { errorCode, exists, readJsonObject } from "../checkpoint/files.ts";
import { UserError } from "../errors.ts";
import { parseStreamConfig } from "./config.ts";
import { type EvaluationRecord, loadRecord, planSchema, seedFolder } from "./evaluation.ts";
import { isOpenRun } from "./folder.ts";
import { indexSeed } from "./record.ts";
import { runName } from "./run-name.ts";
import type { RunStore } from "./store.ts";

export interface Reindexed {
  /** Names of the runs that were found. */
  readonly runs: readonly string[];
  /** Folders that could not be read, and why. */
  readonly damaged: readonly { readonly folder: string; readonly reason: string }[];
}

interface Found {
  readonly record: EvaluationRecord;
  /** Folder of each seed. */
  readonly parts: readonly { readonly seed: number; readonly path: string }[];
}

/** A single run of a stream, as `mneme stream` leaves it: one seed, in the folder itself. */
async function singleRun(folder: string): Promise<Found | undefined> {
  const path = join(folder, "config.json");
  const value = (await exists(path)) ? await readJsonObject(path) : undefined;
  if (value?.kind !== "stream") return undefined;
  const config = parseStreamConfig(value, path);
  const { model, method, methodOptions, seed, columns, baseline, task = "text", taskOptions = {} } = config;
  const plan = planSchema.parse({ model, method, methodOptions, columns, baseline, task, taskOptions, seeds: [seed] });
  const result = join(folder, "result.json");
  const { versions = {}, machine = {} } = (await exists(result)) ? await readJsonObject(result) : {};
  const record = { plan, started: "", versions, machine } as EvaluationRecord;
  return { record, parts: [{ seed, path: folder }] };
}

/** What kind of run a folder holds, if any. */
async function look(folder: string): Promise<Found | undefined> {
  const record = await loadRecord(folder);
  if (!record) return singleRun(folder);
  return { record, parts: record.plan.seeds.map((seed) => ({ seed, path: seedFolder(folder, seed) })) };
}

const iso = (time: number | undefined): string => new Date(time ?? 0).toISOString();

/** Reads one folder into the store; false when there is no run in it. */
async function indexFolder(store: RunStore, folder: string): Promise<boolean> {
  const found = await look(folder);
  if (!found) return false;
  const { plan, started, versions, machine } = found.record;
  const { task, method, model, seeds } = plan;
  const name = runName(folder, store.path);
  const id = store.begin({ name, folder, task, method, model, seeds, config: plan, versions, machine, started });
  const states: string[] = [];
  let open = await isOpenRun(folder);
  for (const { seed, path } of found.parts) {
    states.push(await indexSeed(store, { id, seed, path }));
    open ||= await isOpenRun(path);
  }
  const events = found.parts.flatMap(({ seed }) => store.events(id, seed));
  const last = events.at(-1);
  if (started === "") store.setStarted(id, iso(events[0]?.time));
  if (states.every((state) => state === "finished")) store.setStatus(id, "finished", iso(last?.time));
  else store.setStatus(id, open ? "running" : last?.type === "failed" ? "failed" : "interrupted");
  return true;
}

/** Looks through a folder of runs and, one level deeper, of sweeps. */
export async function reindex(store: RunStore, root: string): Promise<Reindexed> {
  const runs: string[] = [];
  const damaged: { folder: string; reason: string }[] = [];
  const visit = async (folder: string, depth: number): Promise<void> => {
    const entries = await readdir(folder, { withFileTypes: true }).catch((error: unknown) => {
      if (errorCode(error) === "ENOENT") return [];
      throw error;
    });
    for (const entry of entries) {
      if (!entry.isDirectory() || entry.name.startsWith(".")) continue;
      const child = join(folder, basename(entry.name));
      try {
        if (await indexFolder(store, child)) runs.push(runName(child, store.path));
        else if (depth < 2) await visit(child, depth + 1);
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
        damaged.push({ folder: child, reason: error.message });
      }
    }
  };
  await visit(root, 1);
  return { runs: runs.toSorted(), damaged };
}
