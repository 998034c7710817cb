/** Sweeps with a pretended runner: what is tried, how many at a time, what fails, stops and goes on. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { loadRecord, planSchema, summaryName } from "./evaluation.ts";
import { openStore, type RunStore } from "./store.ts";
import {
  beginSweep,
  bestPlans,
  checkFair,
  parseObjective,
  ranked,
  runSweep,
  type SweepDeps,
  type SweepEvent,
  type SweepPlan,
  sweepSchema,
  type TrialEnd,
  trialsOf,
} from "./sweep.ts";
import { gridSettings, parseSpace, parseSpaces, randomSettings } from "./sweep-space.ts";

let root = "";
beforeAll(async () => void (root = await mkdtemp(join(tmpdir(), "mneme-sweep-"))));
afterAll(() => rm(root, { recursive: true, force: true }));

const schema = z.object({
  learningRate: z.number().gt(0).default(1),
  epochs: z.int().min(1).default(4),
  mode: z.enum(["a", "b"]).default("a"),
  merge: z.boolean().default(false),
});

describe("the space", () => {
  const grid = (text: string) => gridSettings(parseSpace(text, schema, { ranges: false }));

  test("of a grid is every combination, the last option fastest", () => {
    expect(grid("learningRate=1e-4,3e-4; epochs=2,4")).toEqual([
      { learningRate: 1e-4, epochs: 2 },
      { learningRate: 1e-4, epochs: 4 },
      { learningRate: 3e-4, epochs: 2 },
      { learningRate: 3e-4, epochs: 4 },
    ]);
    expect(grid("mode=b,a;merge=true,false,true").length).toBe(4);
    expect(grid("merge=true")).toEqual([{ merge: true }]);
  });

  test.each([
    ["", /expected options in --grid, got none/],
    ["learnigRate=1", /got "learnigRate"; did you mean learningRate\?/],
    ["epochs=two", /values of epochs in the grid, got "two"/],
    ["epochs=1.5", /got "1.5"/],
    ["mode=c", /got "c"/],
    ["epochs=", /got ""/],
    ["epochs=1;epochs=2", /epochs twice/],
    ["learningRate=1e-5..1e-3", /got the range .*add --random N/],
  ])("%s is refused", (text, message) => {
    expect(() => grid(text)).toThrow(message);
  });

  test("of random draws has different settings within its limits, the same for one seed", () => {
    const space = parseSpace("learningRate=1e-5..1e-1;epochs=2..5;mode=a,b", schema, { ranges: true });
    const settings = randomSettings(space, 400, 1);
    expect(settings).toEqual(randomSettings(space, 400, 1));
    expect(settings).not.toEqual(randomSettings(space, 400, 2));
    expect(new Set(settings.map((setting) => JSON.stringify(setting))).size).toBe(400);
    expect(new Set(settings.map(({ epochs }) => epochs))).toEqual(new Set([2, 3, 4, 5]));
    const rates = settings.map(({ learningRate }) => learningRate as number);
    expect(Math.min(...rates)).toBeGreaterThanOrEqual(1e-5);
    expect(Math.max(...rates)).toBeLessThanOrEqual(1e-1);
    // Even in the logarithm: half of them below 1e-3. Six standard deviations of 400 draws are 60.
    expect(Math.abs(rates.filter((rate) => rate < 1e-3).length - 200)).toBeLessThan(60);
    const few = parseSpace("epochs=1,2;mode=a,b", schema, { ranges: true });
    expect(randomSettings(few, 10, 0).length).toBe(4);
  });
});

const base = planSchema.parse({
  model: "m",
  method: "x",
  task: "t",
  seeds: [0],
  methodOptions: { learningRate: 1, epochs: 4 },
  taskOptions: { pairs: 3 },
});
describe("the spaces of several methods", () => {
  const lora = schema.extend({ rank: z.int().default(8) });
  const none = z.object({ pairs: z.int() });
  const settings = (text: string) =>
    parseSpaces(text, { tuned: schema, lora, none }, { ranges: false }).map((space) => gridSettings(space));

  test("share plain options where they have them, and have their own beside", () => {
    expect(settings("epochs=1,2; lora.rank=4,8; tuned.learningRate=1,2; lora.epochs=3")).toEqual([
      [
        { epochs: 1, learningRate: 1 },
        { epochs: 1, learningRate: 2 },
        { epochs: 2, learningRate: 1 },
        { epochs: 2, learningRate: 2 },
      ],
      [
        { rank: 4, epochs: 3 },
        { rank: 8, epochs: 3 },
      ],
      [{}],
    ]);
  });

  test.each([
    ["rnk=4", /got "rnk"; did you mean rank\?/],
    ["tuned.rank=4", /got "tuned.rank"/],
    ["lora.rank=x", /values of rank in the grid, got "x"/],
    ["", /expected options in --grid, got none/],
  ])("%s is refused", (text, message) => {
    expect(() => settings(text)).toThrow(message);
  });

  const sweepOf = (text: string, random: number | null = null): SweepPlan => {
    const methods = { tuned: schema, lora, none };
    const spaces = parseSpaces(text, methods, { ranges: random !== null });
    const entries = Object.keys(methods).map((method, i) => ({ plan: { ...base, method }, space: spaces[i] }));
    return sweepSchema.parse({ entries, random, objective: parseObjective("nar") });
  };

  test("take turns, so that a budget leaves each as many trials", () => {
    const trials = trialsOf(sweepOf("epochs=1,2,3"));
    expect(trials.map(({ plan, setting }) => `${plan.method} ${JSON.stringify(setting)}`)).toEqual([
      'tuned {"epochs":1}',
      'lora {"epochs":1}',
      "none {}",
      'tuned {"epochs":2}',
      'lora {"epochs":2}',
      'tuned {"epochs":3}',
      'lora {"epochs":3}',
    ]);
  });

  test("must be equally large; random draws make them so", () => {
    expect(() => checkFair(sweepOf("epochs=1,2,3"))).not.toThrow();
    expect(() => checkFair(sweepOf("epochs=1,2,3;rank=4,8"))).toThrow(
      /expected as many trials of each method, got 3 of tuned, 6 of lora; add --random 3/,
    );
    const drawn = sweepOf("learningRate=1e-5..1e-3;rank=4,8", 5);
    expect(() => checkFair(drawn)).not.toThrow();
    const methods = trialsOf(drawn).map(({ plan }) => plan.method);
    expect([methods.length, methods.filter((name) => name === "lora").length]).toEqual([11, 5]);
  });

  test("a setting that names the stream goes before the seeds' own streams", () => {
    const plan = { ...base, stream: { option: "pairs", base: 100 } };
    const space = parseSpace("pairs=1,2", none, { ranges: false });
    const other = parseSpace("epochs=1", schema, { ranges: false });
    const plans = (one: typeof space) =>
      trialsOf(sweepSchema.parse({ entries: [{ plan, space: one }], objective: parseObjective("nar") }));
    expect(plans(space).map(({ plan: { stream, taskOptions } }) => [stream, taskOptions.pairs])).toEqual([
      [undefined, 1],
      [undefined, 2],
    ]);
    expect(plans(other)[0].plan.stream).toEqual({ option: "pairs", base: 100 });
  });
});

const planOf = (grid: string, objective = "nar"): SweepPlan =>
  sweepSchema.parse({
    entries: [{ plan: base, space: parseSpace(grid, schema.extend({ pairs: z.int() }), { ranges: false }) }],
    objective: parseObjective(objective),
  });

/** A summary whose numbers follow from the options, so that the best setting is known: 3 epochs. */
async function pretend(folder: string): Promise<TrialEnd> {
  const { methodOptions, taskOptions } = (await loadRecord(folder))?.plan ?? base;
  const epochs = methodOptions.epochs as number;
  if (epochs === 13) return { type: "failed", error: "an unlucky number" };
  if (epochs === 14) throw new Error("thrown");
  const summary = { metrics: { nar: 1 / (1 + (epochs - 3) ** 2), rkr: epochs, pairs: taskOptions.pairs }, cost: {} };
  await writeFile(join(folder, summaryName), JSON.stringify(summary));
  return { type: "finished", summary };
}

async function sweep(name: string, plan: SweepPlan, store: RunStore, deps: Partial<SweepDeps> = {}) {
  const folder = join(root, name);
  await beginSweep(folder, plan);
  const events: SweepEvent[] = [];
  for await (const event of runSweep(plan, { folder, store, runTrial: pretend, ...deps })) events.push(event);
  const last = events.at(-1);
  return { events, trials: last?.type === "done" ? last.trials : [], types: events.map(({ type }) => type) };
}

describe("a sweep", () => {
  test("runs all trials, several at a time, lists those that fail and finds the best", async () => {
    const store = openStore(join(root, "all.db"));
    let [now, most] = [0, 0];
    const runTrial = async (folder: string): Promise<TrialEnd> => {
      most = Math.max(most, ++now);
      await sleep(20);
      now--;
      return pretend(folder);
    };
    const plan = planOf("epochs=1,13,3,14,5;pairs=7");
    const { trials, types } = await sweep("all", plan, store, { runTrial, jobs: 2 });
    expect(most).toBe(2);
    expect(types.filter((type) => type === "trial-end").length).toBe(5);
    expect(trials.map(({ status, error }) => error ?? status)).toEqual([
      "finished",
      "an unlucky number",
      "finished",
      "thrown",
      "finished",
    ]);
    expect(ranked(plan.objective, trials).map(({ trial, value }) => [trial.number, value])).toEqual([
      [3, 1],
      [1, 0.2],
      [5, 0.2],
    ]);
    expect(trials[2].summary).toMatchObject({ metrics: { pairs: 7 } });
    const lowest = ranked(parseObjective("min:nar*rkr"), trials);
    expect(lowest.map(({ trial, value }) => [trial.number, value])).toEqual([
      [1, 0.2],
      [5, 1],
      [3, 3],
    ]);
    expect(ranked(parseObjective("bwt"), trials)).toEqual([]);

    // Found again from the folders alone: the best trial's options, for an evaluation elsewhere
    expect(await bestPlans(join(root, "all"), plan)).toEqual([
      { ...base, methodOptions: { learningRate: 1, epochs: 3 }, taskOptions: { pairs: 7 } },
    ]);

    let ran = 0;
    const count = (folder: string) => (ran++, pretend(folder));
    await sweep("all", plan, store, { runTrial: count });
    expect(ran).toBe(0);
    await sweep("all", plan, store, { runTrial: count, retry: true });
    expect(ran).toBe(2);
    store.close();
  });

  test("goes by the direction of the task for acc", () => {
    const { objective } = planOf("epochs=1", "acc");
    const trial = (number: number, acc: number, direction: string) => ({
      number,
      options: {},
      folder: "",
      status: "finished" as const,
      summary: { metrics: { acc }, matrix: { direction } },
      error: null,
      seconds: 1,
    });
    const best = (direction: string) =>
      ranked(objective, [trial(1, 2, direction), trial(2, 1, direction)])[0].trial.number;
    expect([best("lower"), best("higher")]).toEqual([2, 1]);
    expect(() => parseObjective("nar+rkr")).toThrow(/expected an objective such as nar/);
  });

  test("keeps to its budget of trials and of seconds, and goes on with a larger one", async () => {
    const store = openStore(join(root, "budget.db"));
    const plan = planOf("epochs=1,2,3,4");
    const first = await sweep("budget", plan, store, { budget: { trials: 1 } });
    expect(first.events).toContainEqual({ type: "budget", left: 3 });
    // A clock that moves 10 seconds at each look: the second trial ends after the limit
    let time = 0;
    const clock = () => (time += 10_000);
    const second = await sweep("budget", plan, store, { budget: { seconds: 40 }, clock });
    expect(second.events.at(-2)).toEqual({ type: "budget", left: 2 });
    const third = await sweep("budget", plan, store);
    expect(third.types).not.toContain("budget");
    expect(third.events[0]).toEqual({ type: "sweep-start", trials: 4, finished: 2, failed: 0 });
    expect(third.trials.every(({ status }) => status === "finished")).toBe(true);
    store.close();
  });

  test("stopped in the middle goes on, also with a new database", async () => {
    const plan = planOf("epochs=1,2,3,4");
    const stop = new AbortController();
    const ran: string[] = [];
    const runTrial = async (folder: string, signal: AbortSignal): Promise<TrialEnd> => {
      ran.push(folder.slice(-3));
      if (ran.length === 3) stop.abort();
      return signal.aborted ? { type: "interrupted" } : pretend(folder);
    };
    const store = openStore(join(root, "stopped.db"));
    const first = await sweep("stopped", plan, store, { runTrial, signal: stop.signal });
    expect(first.types.at(-1)).toBe("interrupted");
    store.close();
    const other = openStore(join(root, "other.db"));
    const second = await sweep("stopped", plan, other, {
      runTrial: (folder) => (ran.push(folder.slice(-3)), pretend(folder)),
    });
    expect(ran).toEqual(["001", "002", "003", "003", "004"]);
    expect(second.trials.map(({ status }) => status)).toEqual(Array.from({ length: 4 }, () => "finished"));
    await expect(sweep("stopped", planOf("epochs=1,2"), other)).rejects.toThrow(
      /got another entries; go on with --resume/,
    );
    other.close();
  });

  test("belongs to one process at a time", async () => {
    const store = openStore(join(root, "locked.db"));
    const plan = planOf("epochs=1,2");
    const runTrial = async (folder: string): Promise<TrialEnd> => {
      await expect(sweep("locked", plan, store)).rejects.toThrow(/to be free, got a lock of this process/);
      return pretend(folder);
    };
    expect((await sweep("locked", plan, store, { runTrial })).trials.length).toBe(2);
    store.close();
  });
});
