/**
 * The run store: one SQLite file that knows every run, its events and its results, and the trials of every sweep.
 * It is an index. What a run needs to go on lies in its folder, and a lost database is built again from the folders
 * (`record.ts`). Several processes may work on one file: write-ahead log, short transactions, patience with locks.
 */
import { dirname, isAbsolute, join, resolve } from "node:path";
import { UserError } from "../errors.ts";
import type { RunResult } from "../eval/result.ts";
import { didYouMean } from "../models/nearest.ts";
import { openDatabase } from "./database.ts";
import type { RunEvent } from "./events.ts";
import { below } from "./run-name.ts";
import { runDatabase } from "./store-migrations.ts";

type RunStatus = "running" | "finished" | "interrupted" | "failed";

type Json = Readonly<Record<string, unknown>>;

/** What is known of a run when it starts. */
export interface NewRun {
  readonly name: string;
  /** Absolute path. */
  readonly folder: string;
  readonly task: string;
  readonly method: string;
  readonly model: string;
  readonly seeds: readonly number[];
  readonly config: Json;
  readonly versions: Json;
  readonly machine: Json;
  /** ISO 8601. */
  readonly started: string;
}

export interface StoredRun extends NewRun {
  readonly id: number;
  readonly finished: string | null;
  readonly status: RunStatus;
}

type TrialStatus = "queued" | "running" | "finished" | "failed";

export interface StoredTrial {
  readonly number: number;
  /** The options that this trial tries. */
  readonly options: Json;
  /** Absolute path of its run. */
  readonly folder: string;
  readonly status: TrialStatus;
  /** What the run printed at its end. */
  readonly summary: Json | null;
  readonly error: string | null;
  readonly seconds: number | null;
}

interface StoredSweep {
  readonly id: number;
  readonly name: string;
  readonly folder: string;
  readonly config: Json;
  readonly started: string;
  /** Seconds worked in all sittings. */
  readonly seconds: number;
}

export interface RunStore {
  readonly path: string;
  /** Adds a run, or finds the one of this folder and brings it up to date; returns its id. */
  begin(run: NewRun): number;
  /** `finished` is given with the status "finished" only. */
  setStatus(id: number, status: RunStatus, finished?: string): void;
  setStarted(id: number, started: string): void;
  /** Lines of the event log from line `from` on; lines that are there already stay. */
  addEvents(id: number, seed: number, from: number, events: readonly RunEvent[]): void;
  /** How many lines of a log are here. */
  eventCount(id: number, seed: number): number;
  events(id: number, seed: number): RunEvent[];
  putResult(id: number, seed: number, result: RunResult): void;
  /** Results in the order of the seeds. */
  results(id: number): { seed: number; result: RunResult }[];
  /** All runs, the latest first. */
  runs(): StoredRun[];
  /** The run of a folder (absolute path), or undefined. */
  runIn(folder: string): StoredRun | undefined;
  /** A run by its name or its folder; unknown ones are a UserError. */
  run(name: string): StoredRun;
  remove(id: number): void;
  beginSweep(sweep: Omit<StoredSweep, "id" | "seconds">): StoredSweep;
  addSweepSeconds(id: number, seconds: number): void;
  trials(sweep: number): StoredTrial[];
  putTrial(sweep: number, trial: StoredTrial): void;
  close(): void;
}

const parse = (text: unknown): Json => JSON.parse(text as string) as Json;

/** Opens the store at `path`, making the file and its folder if there are none. The caller closes it. */
export function openStore(path: string, { clock = Date.now }: { clock?: () => number } = {}): RunStore {
  const file = resolve(path);
  const root = dirname(file);
  // A power failure may cost the last transactions (the folders have them), never the file.
  const now = new Date(clock()).toISOString();
  const db = openDatabase(file, { kind: runDatabase, now, durability: "process" });
  /** Folders below the database's are kept relative to it, so that all of it can be moved together. */
  const stored = (folder: string): string => below(root, folder) ?? resolve(folder);
  const restored = (folder: string): string => (isAbsolute(folder) ? folder : join(root, folder));

  const { statement } = db;
  const sql = {
    begin: statement(`
      INSERT INTO runs (name, folder, task, method, model, seeds, config, versions, machine, started, status)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'running')
      ON CONFLICT (folder) DO UPDATE SET name = excluded.name, task = excluded.task, method = excluded.method,
        model = excluded.model, seeds = excluded.seeds, config = excluded.config, versions = excluded.versions,
        machine = excluded.machine, status = 'running', finished = NULL
      RETURNING id`),
    setStatus: statement("UPDATE runs SET status = ?, finished = ? WHERE id = ?"),
    setStarted: statement("UPDATE runs SET started = ? WHERE id = ?"),
    addEvent: statement("INSERT OR IGNORE INTO events (run, seed, line, time, type, body) VALUES (?, ?, ?, ?, ?, ?)"),
    eventCount: statement("SELECT coalesce(max(line) + 1, 0) AS count FROM events WHERE run = ? AND seed = ?"),
    events: statement("SELECT body FROM events WHERE run = ? AND seed = ? ORDER BY line"),
    putResult: statement("INSERT OR REPLACE INTO results (run, seed, body) VALUES (?, ?, ?)"),
    results: statement("SELECT seed, body FROM results WHERE run = ? ORDER BY seed"),
    runs: statement("SELECT * FROM runs ORDER BY started DESC, id DESC"),
    runIn: statement("SELECT * FROM runs WHERE folder = ?"),
    runNamed: statement("SELECT * FROM runs WHERE name = ? ORDER BY id DESC"),
    names: statement("SELECT name FROM runs ORDER BY id DESC"),
    remove: statement("DELETE FROM runs WHERE id = ?"),
    beginSweep: statement(`
      INSERT INTO sweeps (name, folder, config, started) VALUES (?, ?, ?, ?)
      ON CONFLICT (folder) DO UPDATE SET config = excluded.config
      RETURNING *`),
    addSweepSeconds: statement("UPDATE sweeps SET seconds = seconds + ? WHERE id = ?"),
    trials: statement("SELECT * FROM trials WHERE sweep = ? ORDER BY number"),
    putTrial: statement(`
      INSERT OR REPLACE INTO trials (sweep, number, options, folder, status, summary, error, seconds)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?)`),
  };
  const runOf = (row: Record<string, unknown>): StoredRun => ({
    id: row.id as number,
    name: row.name as string,
    folder: restored(row.folder as string),
    task: row.task as string,
    method: row.method as string,
    model: row.model as string,
    seeds: JSON.parse(row.seeds as string) as number[],
    config: parse(row.config),
    versions: parse(row.versions),
    machine: parse(row.machine),
    started: row.started as string,
    finished: row.finished as string | null,
    status: row.status as RunStatus,
  });

  return {
    path: file,
    begin({ name, folder, task, method, model, seeds, config, versions, machine, started }) {
      const json = [seeds, config, versions, machine].map((value) => JSON.stringify(value));
      const row = sql.begin.get(name, stored(folder), task, method, model, ...json, started);
      return row?.id as number;
    },
    setStatus: (id, status, finished) => sql.setStatus.run(status, finished ?? null, id),
    setStarted: (id, started) => sql.setStarted.run(started, id),
    addEvents(id, seed, from, events) {
      if (events.length === 0) return;
      // One write to the disk for many rows
      db.together(() => {
        events.forEach((event, i) => {
          sql.addEvent.run(id, seed, from + i, event.time, event.type, JSON.stringify(event));
        });
      });
    },
    eventCount: (id, seed) => sql.eventCount.get(id, seed)?.count as number,
    events: (id, seed) => sql.events.all(id, seed).map(({ body }) => JSON.parse(body as string) as RunEvent),
    putResult: (id, seed, result) => sql.putResult.run(id, seed, JSON.stringify(result)),
    results: (id) =>
      sql.results
        .all(id)
        .map(({ seed, body }) => ({ seed: seed as number, result: JSON.parse(body as string) as RunResult })),
    runs: () => sql.runs.all().map(runOf),
    runIn(folder) {
      const row = sql.runIn.get(stored(folder));
      return row && runOf(row);
    },
    run(name) {
      const byFolder = sql.runIn.get(stored(name)) ?? sql.runIn.get(name);
      if (byFolder) return runOf(byFolder);
      const rows = sql.runNamed.all(name);
      if (rows.length === 1) return runOf(rows[0]);
      if (rows.length > 1) {
        const folders = rows.map((row) => row.folder as string).join(", ");
        throw new UserError(
          `runs: expected one run of the name ${name}, got ${rows.length} (${folders}); name its folder`,
        );
      }
      const names = sql.names.all().map((row) => row.name as string);
      const meant = didYouMean(name, names);
      const way = meant || (names.length === 0 ? "; there are none yet" : "; `mneme runs` lists them");
      throw new UserError(`runs: expected a run of ${path}, got ${JSON.stringify(name)}${way}`);
    },
    remove: (id) => sql.remove.run(id),
    beginSweep({ name, folder, config, started }) {
      const row = sql.beginSweep.get(name, stored(folder), JSON.stringify(config), started) ?? {};
      return {
        id: row.id as number,
        name,
        folder: resolve(folder),
        config,
        started: row.started as string,
        seconds: row.seconds as number,
      };
    },
    addSweepSeconds: (id, seconds) => sql.addSweepSeconds.run(seconds, id),
    trials: (sweep) =>
      sql.trials.all(sweep).map((row) => ({
        number: row.number as number,
        options: parse(row.options),
        folder: restored(row.folder as string),
        status: row.status as TrialStatus,
        summary: row.summary === null ? null : parse(row.summary),
        error: row.error as string | null,
        seconds: row.seconds as number | null,
      })),
    putTrial(sweep, { number, options, folder, status, summary, error, seconds }) {
      const text = summary === null ? null : JSON.stringify(summary);
      sql.putTrial.run(sweep, number, JSON.stringify(options), stored(folder), status, text, error, seconds);
    },
    close: () => db.close(),
  };
}
