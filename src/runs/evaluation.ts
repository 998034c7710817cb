/**
 * An evaluation: one task, one method, one model, several seeds. Its folder holds `run.json` (what it is), one run
 * folder `seed-S` for each seed, and `result.json` with the means once all seeds are done.
 * It can be stopped or killed at any moment and goes on from its folder; the store is told what passes.
 */
import { mkdir, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { exists, readChecked, requireEmptyFolder, writeFileAtomic } from "../checkpoint/files.ts";
import { UserError } from "../errors.ts";
import type { RunResult } from "../eval/result.ts";
import type { Task } from "../eval/task.ts";
import type { Method } from "../methods/method.ts";
import { parseStreamConfig, streamConfigSchema } from "./config.ts";
import type { StreamConfig } from "./config.ts";
import type { RunEvent } from "./events.ts";
import { openRunFolder, type RunFolder } from "./folder.ts";
import { machineInfo, versionInfo } from "./machine.ts";
import { recordRun } from "./record.ts";
import { runName } from "./run-name.ts";
import { runStream, type StreamDeps } from "./run.ts";
import type { RunStore } from "./store.ts";
import { summaryOf } from "./summary.ts";
import type { Summary } from "./summary.ts";

const options = z.record(z.string(), z.unknown());

/** What an evaluation is asked to do. */
const shared = { model: true, method: true, columns: true, baseline: true, byteCost: true } as const;
export const planSchema = streamConfigSchema.pick(shared).extend({
  kind: z.literal("eval").default("eval"),
  task: z.string().min(1),
  taskOptions: options.default({}),
  methodOptions: options.default({}),
  seeds: z.array(z.int().min(0).max(0xffffffff)).min(1),
  /** Each seed keeps the method's last state, which nothing but an unfinished run needs. */
  keepState: z.boolean().default(false),
  /** Each seed has a stream of its own: this option of the task is `base` + seed. Without it all have the same. */
  stream: z.strictObject({ option: z.string(), base: z.int().min(0) }).optional(),
});
export type EvaluationPlan = z.output<typeof planSchema>;

/** Options of the task as one seed has them. */
export const taskOptionsOf = (
  { taskOptions, stream }: Pick<EvaluationPlan, "taskOptions" | "stream">,
  seed: number,
): Record<string, unknown> => (stream ? { ...taskOptions, [stream.option]: stream.base + seed } : taskOptions);

/** run.json: the plan, and where and when it was begun. */
const recordSchema = z.object({
  plan: planSchema,
  started: z.string(),
  versions: options,
  machine: options,
});
export type EvaluationRecord = z.output<typeof recordSchema>;

export const recordName = "run.json";
export const summaryName = "result.json";
export const seedFolder = (folder: string, seed: number): string => join(folder, `seed-${seed}`);

/** Reads run.json; undefined where there is none. */
export async function loadRecord(folder: string): Promise<EvaluationRecord | undefined> {
  const path = join(folder, recordName);
  if (!(await exists(path))) return undefined;
  return readChecked(path, recordSchema, { caller: "eval", what: "an evaluation" });
}

/** Is a plan another one only in that it has more seeds? */
const hasMoreSeeds = (before: EvaluationPlan, after: EvaluationPlan): boolean =>
  isDeepStrictEqual({ ...before, seeds: [] }, { ...after, seeds: [] }) &&
  before.seeds.every((seed) => after.seeds.includes(seed));

/** The same evaluation with seeds added to it: those that are finished stay. */
export async function addSeeds(
  folder: string,
  record: EvaluationRecord,
  seeds: readonly number[],
): Promise<EvaluationRecord> {
  const missing = record.plan.seeds.filter((seed) => !seeds.includes(seed));
  if (missing.length > 0) {
    throw new UserError(
      `eval: expected at least the seeds that ${folder} has (${record.plan.seeds.join(", ")}), got ` +
        `${seeds.join(", ")}; ` +
        "ask for more seeds, or use another folder",
    );
  }
  if (isDeepStrictEqual(record.plan.seeds, seeds)) return record;
  const more = { ...record, plan: { ...record.plan, seeds: [...seeds] } };
  // The means of fewer seeds go first: a folder without them is only unfinished
  await rm(join(folder, summaryName), { force: true });
  await writeFileAtomic(join(folder, recordName), `${JSON.stringify(more, null, 2)}\n`);
  return more;
}

/**
 * Makes the folder of an evaluation, or finds the one that was begun with the same plan; a plan with more seeds adds
 * them to it. A folder with another plan or with something else is a UserError.
 */
export async function beginEvaluation(
  folder: string,
  plan: EvaluationPlan,
  clock: () => number = Date.now,
): Promise<EvaluationRecord> {
  const plain = JSON.parse(JSON.stringify(plan)) as EvaluationPlan;
  const before = await loadRecord(folder);
  if (before) {
    const keys = Object.keys({ ...before.plan, ...plain }) as (keyof EvaluationPlan)[];
    const differing = keys.filter((key) => !isDeepStrictEqual(before.plan[key], plain[key]));
    if (differing.length === 0) return before;
    if (hasMoreSeeds(before.plan, plain)) return addSeeds(folder, before, plain.seeds);
    const [key] = differing;
    throw new UserError(
      `eval: expected the options that ${folder} was begun with, got another ${differing.join(", ")} ` +
        `(${key} was ${JSON.stringify(before.plan[key])}); go on with --resume ${folder}, or use another folder`,
    );
  }
  await requireEmptyFolder(folder, { caller: "eval", what: "a new or empty folder, or one of an evaluation" });
  const record = {
    plan: plain,
    started: new Date(clock()).toISOString(),
    versions: versionInfo(),
    machine: machineInfo(),
  };
  await mkdir(folder, { recursive: true });
  await writeFileAtomic(join(folder, recordName), `${JSON.stringify(record, null, 2)}\n`);
  return record;
}

/** The configuration of one seed's run. */
function seedConfig(plan: EvaluationPlan, seed: number, folder: string): StreamConfig {
  const { model, method, methodOptions, task, columns, baseline, byteCost, stream } = plan;
  const taskOptions = taskOptionsOf(plan, seed);
  const rest = { columns, baseline, byteCost, seed, streamSeed: stream?.option, out: seedFolder(folder, seed) };
  return parseStreamConfig({ model, method, methodOptions, task, taskOptions, ...rest });
}

export interface EvaluationDeps {
  /** A folder that `beginEvaluation` has made. */
  readonly folder: string;
  readonly store: RunStore;
  /** The stream of one seed, from `taskOptionsOf` the plan. */
  createTask(seed: number): Promise<Task>;
  /** A fresh method on its untouched base. */
  createMethod(seed: number): Promise<Method>;
  /** The methods' runtime, to tell how much of the time was spent outside of it. */
  readonly runtime?: StreamDeps["runtime"];
  readonly signal?: AbortSignal;
  readonly clock?: () => number;
}

/** Takes back an evaluation in which nothing was done, such as one whose options the method refused. */
async function discardUnused({ folder, store }: EvaluationDeps, id: number, seeds: readonly number[]): Promise<void> {
  for (const seed of seeds) if (await exists(seedFolder(folder, seed))) return;
  store.remove(id);
  await rm(join(folder, recordName), { force: true });
  await rmdir(folder).catch(() => undefined);
}

/**
 * Runs what is left of an evaluation, seed after seed, and yields its events. Returns the means over the seeds, or
 * undefined when the signal stopped it.
 */
export async function* runEvaluation(
  { plan, started, versions, machine }: EvaluationRecord,
  deps: EvaluationDeps,
): AsyncGenerator<{ seed: number; event: RunEvent }, Summary | undefined> {
  const { folder, store, signal, clock = Date.now } = deps;
  const { task, method, model, seeds } = plan;
  const name = runName(folder, store.path);
  const open = async (seed: number): Promise<RunFolder> => {
    const path = seedFolder(folder, seed);
    return openRunFolder(path, { resume: await exists(join(path, "config.json")) });
  };
  // Before the store says that it runs: a run that another process works on, or a damaged one, keeps its record
  let run = await open(seeds[0]);
  let id: number;
  try {
    id = store.begin({ name, folder, task, method, model, seeds, config: plan, versions, machine, started });
  } catch (error) {
    await run.close();
    throw error;
  }
  const results: RunResult[] = [];
  try {
    for (const [i, seed] of seeds.entries()) {
      if (i > 0) run = await open(seed);
      try {
        const events = runStream(seedConfig(plan, seed, folder), {
          task: await deps.createTask(seed),
          createMethod: () => deps.createMethod(seed),
          folder: run,
          runtime: deps.runtime,
          keepState: plan.keepState,
          signal,
          clock,
        });
        for await (const event of recordRun(store, { id, seed, folder: run, clock }, events)) {
          yield { seed, event };
          if (event.type === "interrupted") {
            store.setStatus(id, "interrupted");
            return undefined;
          }
          if (event.type === "result") results.push(event.result);
        }
      } finally {
        await run.close();
      }
    }
  } catch (error) {
    store.setStatus(id, "failed");
    await discardUnused(deps, id, seeds);
    throw error;
  }
  const summary = summaryOf(name, results);
  await writeFileAtomic(join(folder, summaryName), `${JSON.stringify(summary, null, 2)}\n`);
  store.setStatus(id, "finished", new Date(clock()).toISOString());
  return summary;
}
