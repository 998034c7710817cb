/** The store against what it was given: migrations, several processes, damage, and building it again from folders. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "@photostructure/sqlite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fakeMethod, sampleTexts } from "../../tests/support/fake-method.ts";
import { scriptArguments } from "../../tests/support/script.ts";
import { UserError } from "../errors.ts";
import { textTask } from "../eval/tasks/text.ts";
import {
  addSeeds,
  beginEvaluation,
  type EvaluationDeps,
  type EvaluationPlan,
  loadRecord,
  planSchema,
  runEvaluation,
  seedFolder,
  summaryName,
  taskOptionsOf,
} from "./evaluation.ts";
import type { RunEvent } from "./events.ts";
import { type Migration, migrate } from "./migrate.ts";
import { reindex } from "./reindex.ts";
import { runDatabase } from "./store-migrations.ts";
import { type NewRun, openStore, type RunStore } from "./store.ts";

let root = "";
beforeAll(async () => void (root = await mkdtemp(join(tmpdir(), "mneme-store-"))));
afterAll(() => rm(root, { recursive: true, force: true }));

const newRun = (more: Partial<NewRun> = {}): NewRun => ({
  name: "a",
  folder: join(root, "a"),
  task: "text",
  method: "fake",
  model: "m",
  seeds: [0, 1],
  config: { task: "text" },
  versions: { mneme: "1" },
  machine: { cores: 2 },
  started: "2026-01-01T00:00:00.000Z",
  ...more,
});

const row = (line: number): RunEvent => ({ type: "row", row: line, scores: [line, null], time: line });

/** The error that `work` throws. */
function thrown(work: () => unknown): Error {
  try {
    work();
  } catch (error) {
    return error as Error;
  }
  throw new Error("expected an error");
}

const plan = planSchema.parse({ model: "m", method: "fake", task: "text", seeds: [3, 4] });
type Given = Partial<Omit<EvaluationDeps, "folder" | "store">>;

/** Runs an evaluation with the fake method, from wherever its folder stands. */
async function evaluate(store: RunStore, folder: string, given: Given = {}, asked: EvaluationPlan = plan) {
  const record = await beginEvaluation(folder, asked);
  const createTask = async () => textTask(sampleTexts());
  const createMethod = async (seed: number) => fakeMethod({ seed });
  const events = runEvaluation(record, { folder, store, createTask, createMethod, ...given });
  const seen: RunEvent[] = [];
  let next = await events.next();
  for (; !next.done; next = await events.next()) seen.push(next.value.event);
  return { summary: next.value, seen };
}

describe("a store", () => {
  test("gives back what it was given", () => {
    const store = openStore(join(root, "one", "deep", "x.db"));
    const id = store.begin(newRun());
    store.addEvents(id, 0, 0, [row(0), row(1)]);
    store.addEvents(id, 0, 1, [row(7), row(2)]); // line 1 is there already and stays
    store.addEvents(id, 1, 0, [row(5)]);
    expect(store.events(id, 0)).toEqual([row(0), row(1), row(2)]);
    expect([store.eventCount(id, 0), store.eventCount(id, 1), store.eventCount(id, 9)]).toEqual([3, 1, 0]);
    expect(store.run("a")).toEqual({ ...newRun(), id, finished: null, status: "running" });
    store.setStatus(id, "finished", "2026-01-02T00:00:00.000Z");
    expect(store.run(join(root, "a"))).toMatchObject({ status: "finished", finished: "2026-01-02T00:00:00.000Z" });
    expect(store.begin(newRun({ seeds: [0] }))).toBe(id);
    expect(store.runs().map(({ seeds, status, finished }) => ({ seeds, status, finished }))).toEqual([
      { seeds: [0], status: "running", finished: null },
    ]);
    store.remove(id);
    expect(store.runs()).toEqual([]);
    expect(store.eventCount(id, 0)).toBe(0);
    store.close();
  });

  test("names what it does not know, and what is not unique", () => {
    const store = openStore(join(root, "names.db"));
    expect(thrown(() => store.run("alpha")).message).toMatch(/got "alpha"; there are none yet$/);
    store.begin(newRun({ name: "alpha", folder: "/elsewhere/1" }));
    expect(thrown(() => store.run("alhpa")).message).toMatch(/got "alhpa"; did you mean alpha\?$/);
    store.begin(newRun({ name: "alpha", folder: "/elsewhere/2" }));
    expect(thrown(() => store.run("alpha")).message).toMatch(/got 2 \(.*\); name its folder$/);
    expect(store.run("/elsewhere/2").folder).toBe("/elsewhere/2");
    store.close();
  });

  test("moves together with the runs beside it", async () => {
    const before = join(root, "before");
    const store = openStore(join(before, "mneme.db"));
    store.begin(newRun({ folder: join(before, "sub", "a") }));
    store.begin(newRun({ name: "b", folder: join(root, "b") }));
    store.close();
    await rename(before, join(root, "after"));
    const moved = openStore(join(root, "after", "mneme.db"));
    expect(moved.run("a").folder).toBe(join(root, "after", "sub", "a"));
    expect(moved.run("b").folder).toBe(join(root, "b"));
    moved.close();
  });

  test("keeps the trials of a sweep", () => {
    const store = openStore(join(root, "sweeps.db"));
    const given = { name: "s", folder: join(root, "s"), config: { x: 1 }, started: "2026-01-01T00:00:00.000Z" };
    const sweep = store.beginSweep(given);
    store.addSweepSeconds(sweep.id, 1.5);
    expect(store.beginSweep(given)).toEqual({ ...given, id: sweep.id, seconds: 1.5 });
    const trial = { number: 2, options: { rate: 0.1 }, folder: join(root, "s", "2"), error: null, seconds: 4 };
    store.putTrial(sweep.id, { ...trial, status: "running", summary: null });
    store.putTrial(sweep.id, { ...trial, status: "finished", summary: { metrics: { acc: 1 } } });
    expect(store.trials(sweep.id)).toEqual([{ ...trial, status: "finished", summary: { metrics: { acc: 1 } } }]);
    store.close();
  });
});

describe("migrations", () => {
  test("bring an old database up to date and keep its rows", () => {
    const path = join(root, "old.db");
    const db = new DatabaseSync(path);
    migrate(db, path, "then", { ...runDatabase, steps: runDatabase.steps.slice(0, 1) });
    db.exec(`INSERT INTO runs (name, folder, task, method, model, seeds, config, versions, machine, started, status)
      VALUES ('old', '/x', 't', 'm', 'b', '[1]', '{}', '{}', '{}', 'then', 'finished')`);
    db.close();
    const store = openStore(path, { clock: () => 0 });
    expect(store.run("old")).toMatchObject({ seeds: [1], status: "finished" });
    expect(store.trials(1)).toEqual([]);
    store.close();
    const after = new DatabaseSync(path);
    expect(after.prepare("SELECT name, applied FROM migrations ORDER BY name").all()).toEqual([
      { name: "001-runs", applied: "then" },
      { name: "002-sweeps", applied: "1970-01-01T00:00:00.000Z" },
    ]);
    expect(after.prepare("PRAGMA journal_mode").get()).toEqual({ journal_mode: "wal" });
    after.close();
  });

  test("that fail leave the database as it was", () => {
    const path = join(root, "broken.db");
    const db = new DatabaseSync(path);
    const steps: Migration[] = [
      ...runDatabase.steps,
      { name: "999-broken", sql: "CREATE TABLE fine (a INT) STRICT; nonsense" },
    ];
    expect(thrown(() => migrate(db, path, "now", { ...runDatabase, steps })).message).toMatch(/syntax error|unknown/);
    expect(db.prepare("SELECT count(*) AS n FROM sqlite_schema").get()).toEqual({ n: 0 });
    db.close();
  });

  test("say what failed also where SQLite took the transaction back by itself, as on a full disk", () => {
    const db = new DatabaseSync(join(root, "taken-back.db"));
    const steps = [{ name: "001-broken", sql: "ROLLBACK; nonsense" }];
    expect(thrown(() => migrate(db, "taken-back.db", "now", { ...runDatabase, steps })).message).toMatch(
      /syntax error/,
    );
    db.close();
  });

  test("of a newer version are refused and nothing is touched", () => {
    const path = join(root, "newer.db");
    openStore(path).close();
    const db = new DatabaseSync(path);
    db.exec("INSERT INTO migrations VALUES ('900-from-later', 'x')");
    db.close();
    const error = thrown(() => openStore(path));
    expect(error).toBeInstanceOf(UserError);
    expect(error.message).toMatch(/got .*newer\.db from a newer version \(it has 900-from-later\); update mneme/);
  });

  test("leave other files alone", async () => {
    const foreign = join(root, "foreign.db");
    const db = new DatabaseSync(foreign);
    db.exec("CREATE TABLE addresses (a)");
    db.close();
    expect(thrown(() => openStore(foreign)).message).toMatch(/with other tables \(addresses\)/);
    const garbage = join(root, "garbage.db");
    await writeFile(garbage, "this is no database ".repeat(1000));
    expect(thrown(() => openStore(garbage)).message).toMatch(/no database; delete it and rebuild it/);
    expect(thrown(() => openStore(root)).message).toMatch(/cannot be opened/);
  });
});

test("several processes write into one new database and nothing is lost", async () => {
  const path = join(root, "shared.db");
  const events = 200;
  const run = (name: string): Promise<number | null> =>
    new Promise((resolve, reject) => {
      const args = [...scriptArguments("tests/support/store-child.ts"), path, name, String(events)];
      const child = spawn(process.execPath, args, { stdio: "inherit" });
      child.on("error", reject).on("close", resolve);
    });
  const names = ["p", "q", "r"];
  expect(await Promise.all(names.map(run))).toEqual([0, 0, 0]);
  const store = openStore(path);
  for (const name of names) {
    const { id, status } = store.run(name);
    expect(status).toBe("finished");
    expect(store.events(id, 0).map(({ time }) => time)).toEqual(Array.from({ length: events }, (_, i) => i));
  }
  store.close();
});

describe("an evaluation", () => {
  test("is in the store as it is in its folder, and a lost database is built again from it", async () => {
    const folder = join(root, "runs", "eval");
    const path = join(root, "runs", "mneme.db");
    const store = openStore(path);
    const { summary, seen } = await evaluate(store, folder);
    expect(summary?.seeds).toEqual([3, 4]);
    const before = store.run("eval");
    const kept = [3, 4].map((seed) => store.events(before.id, seed));
    expect(kept.flat()).toEqual(seen);
    const results = store.results(before.id);
    const acc = results.map(({ result }) => result.metrics.acc as number);
    expect(summary?.metrics.acc).toBeCloseTo((acc[0] + acc[1]) / 2, 12);
    // t(0.975, 1) = 12.7062 and the deviation of two values is |a - b| / sqrt(2)
    expect(summary?.intervals.acc).toBeCloseTo((12.706204736 * Math.abs(acc[0] - acc[1])) / 2, 9);
    store.close();

    for (const end of ["", "-wal", "-shm"]) await rm(path + end, { force: true });
    const again = openStore(path);
    expect(await reindex(again, join(root, "runs"))).toEqual({ runs: ["eval"], damaged: [] });
    const after = again.run("eval");
    const { finished } = after;
    expect({ ...after, id: 0 }).toEqual({ ...before, id: 0, finished, status: "finished" });
    expect([3, 4].map((seed) => again.events(after.id, seed))).toEqual(kept);
    expect(again.results(after.id)).toEqual(results);
    expect((await evaluate(again, folder)).summary).toEqual(summary);
    expect([3, 4].map((seed) => again.events(after.id, seed))).toEqual(kept);
    again.close();
  });

  test("stopped and taken up with a new database has the same result and all its events", async () => {
    const [whole, parts] = [join(root, "whole"), join(root, "parts")];
    const first = openStore(join(root, "first.db"));
    const unbroken = await evaluate(first, whole);
    const stop = new AbortController();
    let steps = 0;
    const createMethod = async (seed: number) => {
      const method = fakeMethod({ seed });
      const score = method.score.bind(method);
      return {
        ...method,
        score: (...args: Parameters<typeof score>) => (++steps === 15 && stop.abort(), score(...args)),
      };
    };
    const stopped = await evaluate(first, parts, { signal: stop.signal, createMethod });
    expect(stopped.summary).toBeUndefined();
    expect(first.run("parts").status).toBe("interrupted");
    first.close();
    const second = openStore(join(root, "second.db"));
    const resumed = await evaluate(second, parts);
    expect(resumed.summary?.matrix).toEqual(unbroken.summary?.matrix);
    expect(resumed.summary?.metrics).toEqual(unbroken.summary?.metrics);
    const { id } = second.run("parts");
    expect(second.events(id, 3)).toEqual([...stopped.seen, ...resumed.seen].slice(0, second.eventCount(id, 3)));
    second.close();
  });

  test("with seeds added reuses those that are finished and equals a run with all of them", async () => {
    const store = openStore(join(root, "added.db"));
    const three = { ...plan, seeds: [3, 4, 5] };
    const whole = await evaluate(store, join(root, "three"), {}, three);
    const folder = join(root, "grown");
    await evaluate(store, folder, {}, { ...plan, seeds: [3] });
    const made: number[] = [];
    const createMethod = async (seed: number) => (made.push(seed), fakeMethod({ seed }));
    const { summary } = await evaluate(store, folder, { createMethod }, three);
    expect(made).toEqual([4, 5]);
    const { seeds, metrics, intervals, matrix } = whole.summary ?? {};
    expect(summary).toMatchObject({ seeds, metrics, intervals, matrix });
    expect(store.run("grown")).toMatchObject({ seeds: three.seeds, status: "finished" });
    expect(store.results(store.run("grown").id).map(({ seed }) => seed)).toEqual(three.seeds);
    // Killed between the two writes it is an unfinished run of the old seeds; fewer seeds are refused
    const record = await loadRecord(folder);
    if (!record) throw new Error("no record");
    await expect(addSeeds(folder, record, [3, 4])).rejects.toThrow(/at least the seeds .*3, 4, 5.*got 3, 4;/);
    expect(existsSync(join(folder, summaryName))).toBe(true);
    expect(await addSeeds(folder, record, [3, 4, 5, 6])).toMatchObject({ plan: { seeds: [3, 4, 5, 6] } });
    expect(existsSync(join(folder, summaryName))).toBe(false);
    store.close();
  }, 240_000);

  test("gives every seed a stream of its own unless the plan names one", async () => {
    const store = openStore(join(root, "streams.db"));
    const own = { ...plan, taskOptions: { holdout: 0.2 }, stream: { option: "world", base: 100 } };
    expect([3, 4].map((seed) => taskOptionsOf(own, seed))).toEqual([
      { holdout: 0.2, world: 103 },
      { holdout: 0.2, world: 104 },
    ]);
    expect(taskOptionsOf({ taskOptions: { world: 7 } }, 3)).toEqual({ world: 7 });
    const asked: number[] = [];
    const createTask = async (seed: number) => {
      asked.push(seed);
      // Another order of topics stands for another stream
      const texts = sampleTexts();
      return textTask(seed === 3 ? texts : texts.toReversed());
    };
    const { summary } = await evaluate(store, join(root, "streams"), { createTask }, own);
    expect(asked).toEqual([3, 4]);
    const results = store.results(store.run("streams").id);
    expect(results.map(({ result }) => result.config)).toMatchObject([
      { streamSeed: "world", taskOptions: { world: 103 } },
      { streamSeed: "world", taskOptions: { world: 104 } },
    ]);
    expect(results[0].result.matrix.R).not.toEqual(results[1].result.matrix.R);
    // One setting all the same: the means are over both
    expect(summary?.seeds).toEqual([3, 4]);
    const mean = (results[0].result.matrix.R[2][0] as number) / 2 + (results[1].result.matrix.R[2][0] as number) / 2;
    expect(summary?.matrix.R[2][0]).toBeCloseTo(mean, 12);
    store.close();
  });

  test("refuses another plan, foreign folders and half-deleted ones", async () => {
    const store = openStore(join(root, "refuse.db"));
    const folder = join(root, "refuse");
    await evaluate(store, folder);
    await expect(beginEvaluation(folder, { ...plan, seeds: [3] })).rejects.toThrow(
      /got another seeds \(seeds was \[3,4\]\); go on with --resume/,
    );
    await cp(folder, join(root, "half"), { recursive: true });
    await rm(join(root, "half", "run.json"));
    await expect(beginEvaluation(join(root, "half"), plan)).rejects.toThrow(/new or empty folder.*use another folder/);
    // A finished seed of which only a part is left says so; the other seed is still good
    await rm(join(seedFolder(folder, 4), "progress.json"));
    await expect(evaluate(store, folder)).rejects.toThrow(/half deleted\?.*delete the folder/);
    await rm(seedFolder(folder, 4), { recursive: true });
    expect((await evaluate(store, folder)).summary?.seeds).toEqual([3, 4]);
    store.close();
  });

  test("that the method refuses leaves nothing behind", async () => {
    const store = openStore(join(root, "refused.db"));
    const folder = join(root, "refused");
    const createMethod = () => Promise.reject(new UserError("fake: expected better, got worse; mend it"));
    await expect(evaluate(store, folder, { createMethod })).rejects.toThrow(/expected better/);
    expect(existsSync(folder)).toBe(false);
    expect(store.runs()).toEqual([]);
    store.close();
  });

  test("with a damaged folder does not stop the others from being read", async () => {
    const runs = join(root, "many");
    const store = openStore(join(runs, "mneme.db"));
    await evaluate(store, join(runs, "good"));
    await cp(join(runs, "good"), join(runs, "bad"), { recursive: true });
    await writeFile(join(runs, "bad", "run.json"), "{}");
    await cp(join(runs, "good"), join(runs, "part"), { recursive: true });
    await rm(seedFolder(join(runs, "part"), 4), { recursive: true });
    store.close();
    const fresh = openStore(join(runs, "fresh.db"));
    const { runs: found, damaged } = await reindex(fresh, runs);
    expect(found).toEqual(["good", "part"]);
    expect(damaged).toEqual([{ folder: join(runs, "bad"), reason: expect.stringMatching(/wrong or missing plan/) }]);
    expect(fresh.run("good").status).toBe("finished");
    expect(fresh.run("part").status).toBe("interrupted");
    fresh.close();
  });
});
