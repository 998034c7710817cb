/**
 * A sweep: the same evaluation under many settings of one or more methods, several at a time, as many settings for each
 * method. `sweep.json` in its folder says what it tries, each trial is an evaluation in a folder of its own, and the
 * store holds how far each came. It goes on after any end: finished trials stay, running ones are resumed in their
 * folders. A trial that fails does not stop the others. Who runs a trial (a child process of the command line) is an
 * argument.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { exists, readChecked, readJsonObject, requireEmptyFolder, writeFileAtomic } from "../checkpoint/files.ts";
import { UserError } from "../errors.ts";
import { beginEvaluation, type EvaluationPlan, planSchema, seedFolder, summaryName } from "./evaluation.ts";
import { isOpenRun } from "./folder.ts";
import { acquireLock } from "../checkpoint/lock.ts";
import { runName } from "./run-name.ts";
import type { RunStore, StoredTrial } from "./store.ts";
import { gridSettings, randomSettings, type Setting, spaceSchema } from "./sweep-space.ts";

export const sweepName = "sweep.json";

export const sweepSchema = z.strictObject({
  kind: z.literal("sweep").default("sweep"),
  /** One per method: what its trials start from, and the options that a setting replaces. */
  entries: z.array(z.strictObject({ plan: planSchema, space: spaceSchema })).min(1),
  /** Random draws instead of all combinations. */
  random: z.int().min(1).nullable().default(null),
  /** Seed of the draws. */
  seed: z.int().min(0).default(0),
  /** Numbers of a summary to be multiplied, such as "nar" or "nar*rkr", and which way is better. */
  objective: z.strictObject({
    names: z.array(z.string().min(1)).min(1),
    /** "task": as the scores of the task. */
    direction: z.enum(["higher", "lower", "task"]),
  }),
});
export type SweepPlan = z.output<typeof sweepSchema>;
type Objective = SweepPlan["objective"];

/** "nar", "nar*rkr" or "min:forgetting"; without a direction, `acc` goes as the task's scores do and others up. */
export function parseObjective(text: string): Objective {
  const [, way, product] = /^(?:(min|max):)?(.*)$/s.exec(text.trim()) ?? [];
  const names = (product ?? "").split("*").map((name) => name.trim());
  if (names.some((name) => !/^[\w.]+$/.test(name))) {
    throw new UserError(
      `sweep: expected an objective such as nar, nar*rkr or min:forgetting, got ${JSON.stringify(text)}; name a metric`,
    );
  }
  const automatic = names.length === 1 && names[0] === "acc" ? "task" : "higher";
  return { names, direction: way === "min" ? "lower" : way === "max" ? "higher" : automatic };
}

/** One trial as the sweep's plan has it; its number is its place in the list, from 1. */
export interface PlannedTrial {
  readonly setting: Setting;
  readonly plan: EvaluationPlan;
}

/** The evaluation of one setting. Options that the method has are its own, the others are the task's. */
function trialPlan(plan: EvaluationPlan, setting: Setting): EvaluationPlan {
  const entries = Object.entries(setting);
  const own = entries.filter(([key]) => Object.hasOwn(plan.methodOptions, key));
  const others = entries.filter(([key]) => !Object.hasOwn(plan.methodOptions, key));
  const { stream, ...rest } = plan;
  return {
    ...rest,
    methodOptions: { ...plan.methodOptions, ...Object.fromEntries(own) },
    taskOptions: { ...plan.taskOptions, ...Object.fromEntries(others) },
    // A setting that names the stream has its word
    ...(stream && !Object.hasOwn(setting, stream.option) ? { stream } : {}),
  };
}

/**
 * The trials of a sweep, always the same ones in the same order: the first setting of each method, the second of each,
 * and so on, so that methods had equally many whatever a budget leaves out.
 */
export function trialsOf({ entries, random, seed }: SweepPlan): PlannedTrial[] {
  const lists = entries.map(({ plan, space }) => {
    const settings = random === null ? gridSettings(space) : randomSettings(space, random, seed);
    return settings.map((setting) => ({ setting, plan: trialPlan(plan, setting) }));
  });
  const most = Math.max(...lists.map(({ length }) => length));
  return Array.from({ length: most }, (_, i) => lists.flatMap((list) => list.slice(i, i + 1))).flat();
}

/** Refuses a sweep in which one method would have more trials than another; one without any option has just one. */
export function checkFair(sweep: SweepPlan): void {
  const trials = trialsOf(sweep);
  const counts = sweep.entries
    .filter(({ space }) => space.length > 0)
    .map(({ plan: { method } }) => ({ method, count: trials.filter(({ plan }) => plan.method === method).length }));
  const least = Math.min(...counts.map(({ count }) => count));
  if (counts.every(({ count }) => count === least)) return;
  throw new UserError(
    `sweep: expected as many trials of each method, got ${counts.map(({ method, count }) => `${count} of ${method}`).join(", ")}; ` +
      `add --random ${least}, or give each as many values`,
  );
}

/** The objective of a finished trial; null where its summary does not have it. */
function objectiveOf({ names }: Objective, { summary }: StoredTrial): number | null {
  const { metrics = {}, cost = {} } = (summary ?? {}) as { metrics?: object; cost?: object };
  const numbers = { ...cost, ...metrics } as Record<string, unknown>;
  const values = names.map((name) => numbers[name]);
  return values.every((value) => typeof value === "number") ? values.reduce((a, b) => a * b, 1) : null;
}

/** Finished trials that have an objective, the best first; equals in the order of their numbers. */
export function ranked(objective: Objective, trials: readonly StoredTrial[]): { trial: StoredTrial; value: number }[] {
  const found = trials.flatMap((trial) => {
    const value = trial.status === "finished" ? objectiveOf(objective, trial) : null;
    return value === null ? [] : [{ trial, value }];
  });
  const matrix = found[0]?.trial.summary?.matrix as { direction?: string } | undefined;
  const lower = objective.direction === "lower" || (objective.direction === "task" && matrix?.direction === "lower");
  return found.toSorted((a, b) => (lower ? a.value - b.value : b.value - a.value) || a.trial.number - b.trial.number);
}

/** The trials of one method. */
export const trialsOfMethod = (sweep: SweepPlan, method: string, trials: readonly StoredTrial[]): StoredTrial[] => {
  const planned = trialsOf(sweep);
  return trials.filter(({ number }) => planned[number - 1].plan.method === method);
};

/** The evaluations of each method's best trial, as the folders of the finished trials show them. */
export async function bestPlans(folder: string, sweep: SweepPlan): Promise<EvaluationPlan[]> {
  const planned = trialsOf(sweep);
  const trials = await Promise.all(planned.map((_, i) => trialInFolder(folder, i + 1, planned[i])));
  return sweep.entries.flatMap(({ plan: { method } }) => {
    const [best] = ranked(sweep.objective, trialsOfMethod(sweep, method, trials));
    return best ? [planned[best.trial.number - 1].plan] : [];
  });
}

/** How one trial ended. */
export type TrialEnd =
  | { type: "finished"; summary: Readonly<Record<string, unknown>> }
  | { type: "failed"; error: string }
  | { type: "interrupted" };

export type SweepEvent =
  | { type: "sweep-start"; trials: number; finished: number; failed: number }
  | { type: "trial-start"; trial: StoredTrial; resumed: boolean }
  | { type: "trial-end"; trial: StoredTrial }
  /** Trials that the budget left out. */
  | { type: "budget"; left: number }
  | { type: "interrupted" }
  | { type: "done"; trials: readonly StoredTrial[] };

export interface SweepDeps {
  readonly folder: string;
  readonly store: RunStore;
  /** Runs the evaluation of which `folder` holds the plan, to its end. */
  runTrial(folder: string, signal: AbortSignal): Promise<TrialEnd>;
  /** Trials at a time. */
  readonly jobs?: number;
  /** Trials to run in all sittings, and seconds after which no trial is started. */
  readonly budget?: { readonly trials?: number; readonly seconds?: number };
  /** Run failed trials again. */
  readonly retry?: boolean;
  readonly signal?: AbortSignal;
  readonly clock?: () => number;
}

/** Reads the plan of a sweep that was begun; undefined where there is none. */
export async function loadSweep(folder: string): Promise<SweepPlan | undefined> {
  const path = join(folder, sweepName);
  if (!(await exists(path))) return undefined;
  return readChecked(path, sweepSchema, { caller: "sweep", what: "a sweep" });
}

/** Makes the folder of a sweep, or checks that it holds the same one. */
export async function beginSweep(folder: string, plan: SweepPlan): Promise<void> {
  const plain = JSON.parse(JSON.stringify(plan)) as SweepPlan;
  const before = await loadSweep(folder);
  if (before) {
    const keys = Object.keys(plain) as (keyof SweepPlan)[];
    const differing = keys.filter((key) => !isDeepStrictEqual(before[key], plain[key]));
    if (differing.length === 0) return;
    throw new UserError(
      `sweep: expected the options that ${folder} was begun with, got another ${differing.join(", ")}; ` +
        `go on with --resume ${folder}, or use another folder`,
    );
  }
  await requireEmptyFolder(folder, { caller: "sweep" });
  await mkdir(folder, { recursive: true });
  await writeFileAtomic(join(folder, sweepName), `${JSON.stringify(plain, null, 2)}\n`);
}

const trialName = (number: number): string => `trial-${String(number).padStart(3, "0")}`;

/** One trial as its folder shows it: finished with a summary, or to be done. */
async function trialInFolder(folder: string, number: number, { setting }: PlannedTrial): Promise<StoredTrial> {
  const path = join(folder, trialName(number));
  const result = join(path, summaryName);
  const summary = (await exists(result)) ? await readJsonObject(result) : null;
  const status = summary === null ? "queued" : "finished";
  return { number, options: setting, folder: path, status, summary, error: null, seconds: null };
}

/** The trials as the store knows them, and those that it does not know as their folders show them. */
async function knownTrials(
  plan: SweepPlan,
  sweep: number,
  { folder, store, retry }: SweepDeps,
): Promise<StoredTrial[]> {
  const stored = new Map(store.trials(sweep).map((trial) => [trial.number, trial]));
  const trials: StoredTrial[] = [];
  for (const [i, planned] of trialsOf(plan).entries()) {
    const shown = await trialInFolder(folder, i + 1, planned);
    const before = stored.get(i + 1) ?? { ...shown, status: "queued", summary: null };
    if (before.status !== "finished" && shown.status === "finished") {
      trials.push({ ...before, status: "finished", summary: shown.summary, error: null });
    } else {
      const again = before.status === "running" || (before.status === "failed" && retry);
      trials.push(again ? { ...before, status: "queued", error: null } : before);
    }
  }
  for (const trial of trials) if (!isDeepStrictEqual(stored.get(trial.number), trial)) store.putTrial(sweep, trial);
  return trials;
}

/** Waits until no process works on an evaluation any more: one whose starter was killed needs a moment to stop. */
async function untilFree(folder: string, seeds: readonly number[], signal: AbortSignal | undefined): Promise<void> {
  for (const seed of seeds) {
    for (let turn = 0; turn < 600 && !signal?.aborted && (await isOpenRun(seedFolder(folder, seed))); turn++) {
      await sleep(100);
    }
  }
}

/**
 * Runs what is left of a sweep and yields what happens. Ends with "interrupted" when the signal stopped it (running
 * trials were stopped and can go on), else with "done".
 */
export async function* runSweep(plan: SweepPlan, deps: SweepDeps): AsyncGenerator<SweepEvent> {
  const { folder, store, jobs = 1, budget = {}, clock = Date.now } = deps;
  const lock = await acquireLock(join(folder, "run.lock"), folder);
  const running = new Map<number, Promise<{ trial: StoredTrial; end: TrialEnd }>>();
  const stop = new AbortController();
  const signal = deps.signal ? AbortSignal.any([deps.signal, stop.signal]) : stop.signal;
  try {
    const started = new Date(clock()).toISOString();
    const sweep = store.beginSweep({ name: runName(folder, store.path), folder, config: plan, started });
    const trials = await knownTrials(plan, sweep.id, deps);
    const planned = trialsOf(plan);
    const of = (status: StoredTrial["status"]) => trials.filter((trial) => trial.status === status).length;
    yield { type: "sweep-start", trials: trials.length, finished: of("finished"), failed: of("failed") };
    let counted = clock();
    let seconds = sweep.seconds;
    const put = (trial: StoredTrial): StoredTrial => {
      const now = clock();
      store.addSweepSeconds(sweep.id, (now - counted) / 1000);
      seconds += (now - counted) / 1000;
      counted = now;
      trials[trial.number - 1] = trial;
      store.putTrial(sweep.id, trial);
      return trial;
    };
    const run = async (trial: StoredTrial): Promise<{ trial: StoredTrial; end: TrialEnd }> => {
      const begun = clock();
      let end: TrialEnd;
      try {
        const own = planned[trial.number - 1].plan;
        await untilFree(trial.folder, own.seeds, signal);
        await beginEvaluation(trial.folder, own, clock);
        end = signal.aborted ? { type: "interrupted" } : await deps.runTrial(trial.folder, signal);
      } catch (error) {
        end = { type: "failed", error: error instanceof Error ? error.message : String(error) };
      }
      return { trial: { ...trial, seconds: (trial.seconds ?? 0) + (clock() - begun) / 1000 }, end };
    };
    const affordable = (): boolean => {
      const used = trials.filter(({ status }) => status !== "queued").length;
      const time = seconds + (clock() - counted) / 1000;
      return used < (budget.trials ?? Number.POSITIVE_INFINITY) && time < (budget.seconds ?? Number.POSITIVE_INFINITY);
    };
    for (;;) {
      while (running.size < jobs && !signal.aborted && affordable()) {
        const next = trials.find(({ status }) => status === "queued");
        if (!next) break;
        const resumed = await exists(next.folder);
        const trial = put({ ...next, status: "running" });
        running.set(trial.number, run(trial));
        yield { type: "trial-start", trial, resumed };
      }
      if (running.size === 0) break;
      const { trial, end } = await Promise.race(running.values());
      running.delete(trial.number);
      if (end.type === "interrupted") put({ ...trial, status: "queued" });
      else if (end.type === "failed")
        yield { type: "trial-end", trial: put({ ...trial, status: "failed", error: end.error }) };
      else yield { type: "trial-end", trial: put({ ...trial, status: "finished", summary: end.summary }) };
    }
    const left = of("queued");
    if (signal.aborted && left > 0) {
      yield { type: "interrupted" };
      return;
    }
    if (left > 0) yield { type: "budget", left };
    yield { type: "done", trials };
  } finally {
    // Left early or failed: no trial goes on without us
    stop.abort();
    await Promise.allSettled(running.values());
    await lock.release();
  }
}
