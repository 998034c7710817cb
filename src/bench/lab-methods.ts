/**
 * What every method of the catalogue costs in one whole run of a small stream, as `mneme eval` runs it: seconds per
 * 1,000 training tokens, seconds per 100 questions, and the share of the run outside the runtime. The run is made once
 * and serves all three measures.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Method } from "../methods/method.ts";
import { methods } from "../methods/index.ts";
import type { LoadedModel } from "../models/load.ts";
import { loadModel } from "../models/load.ts";
import { parseStreamConfig } from "../runs/config.ts";
import { openRunFolder } from "../runs/folder.ts";
import { runStream } from "../runs/run.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { createLabTask, labTask, type LabTask } from "./lab-task.ts";
import { type Measure, type MeasureOptions, settle, timings } from "./measure.ts";
import { median, type Spread, spread } from "./stats.ts";

/** One method's run. */
export interface LabRun {
  /** Seconds of learning and tokens learned from, of each topic; no tokens where a method trains nothing. */
  readonly topics: readonly { readonly seconds: number; readonly tokens: number }[];
  /** Seconds for all questions of the stream at once, after all was learned; once per repeat. */
  readonly answering: readonly number[];
  readonly questions: number;
  readonly outsideRuntimeShare: number | null;
}

type LabRuns = Readonly<Record<string, LabRun>>;

/** Fewer passes over the documents where a method makes passes. */
const quickOptions = (shape: object): Record<string, unknown> => ("epochs" in shape ? { epochs: 1 } : {});

async function runMethod(
  name: string,
  { model, task, options: { quick, signal } }: { model: LoadedModel; task: LabTask; options: MeasureOptions },
): Promise<LabRun> {
  const definition = methods[name];
  const methodOptions = quick ? quickOptions(definition.options.shape) : {};
  const runtime = createRuntime();
  const path = await mkdtemp(join(tmpdir(), "mneme-bench-"));
  let method: Method | undefined;
  try {
    const config = parseStreamConfig({ model: model.folder, method: name, task: task.name, methodOptions, out: path });
    const folder = await openRunFolder(join(path, "run"));
    const topics: { seconds: number; tokens: number }[] = [];
    let share: number | null = null;
    try {
      const created = (method = await definition.create(model, methodOptions, { runtime, seed: config.seed }));
      // It answers once more after the run
      const createMethod = async (): Promise<Method> => ({ ...created, dispose: async () => {} });
      for await (const event of runStream(config, { task, createMethod, folder, runtime, signal })) {
        if (event.type === "interrupted") signal?.throwIfAborted();
        if (event.type === "topic-learned") {
          const { steps, tokens } = event.receipt;
          topics.push({ seconds: 0, tokens: steps > 0 ? tokens : 0 });
        }
        if (event.type === "result") {
          share = event.result.outsideRuntimeShare;
          for (const [i, seconds] of event.result.durations.learn.entries()) topics[i] = { ...topics[i], seconds };
        }
      }
    } finally {
      await folder.close();
    }
    const queries = task.questions.map(({ query }) => query);
    await settle();
    const answering = await timings(quick ? 1 : 5, () =>
      (method as Method).answer(queries, { maxTokens: task.maxTokens, signal }),
    );
    const { length: questions } = queries;
    return { topics, answering: answering.map((ms) => ms / 1000), questions, outsideRuntimeShare: share };
  } finally {
    await method?.dispose();
    await runtime.dispose();
    await rm(path, { recursive: true, force: true });
  }
}

/** Runs of all methods, by the options that they were made with: one object for all measures of a suite. */
const made = new WeakMap<MeasureOptions, Promise<LabRuns>>();

async function runAll(options: MeasureOptions): Promise<LabRuns> {
  const [model, task] = [await loadModel(options.model), await createLabTask()];
  const runs: Record<string, LabRun> = {};
  for (const name of Object.keys(methods)) {
    options.signal?.throwIfAborted();
    await settle();
    runs[name] = await runMethod(name, { model, task, options });
    options.log(`${name}: one run of ${labTask.name}`);
  }
  return runs;
}

function runsOf(options: MeasureOptions): Promise<LabRuns> {
  const runs = made.get(options) ?? runAll(options);
  made.set(options, runs);
  return runs;
}

/** A figure for every method, and the median of those that have one. */
export function byMethod<T extends { readonly median: number }>(
  runs: LabRuns,
  figure: (run: LabRun) => T | null,
): { value: number | null; reason?: string; methods: Record<string, T | null> } {
  const found = Object.fromEntries(Object.entries(runs).map(([name, run]) => [name, figure(run)]));
  const known = Object.values(found).flatMap((one) => (one === null ? [] : [one.median]));
  if (known.length === 0) return { value: null, reason: "no method has it", methods: found };
  return { value: median(known), methods: found };
}

/** Of learning, topic by topic: graphs are compiled in the first one. Null where nothing was trained. */
export const trainingSeconds = ({ topics }: LabRun): Spread | null => {
  const trained = topics.filter(({ tokens }) => tokens > 0);
  return trained.length === 0 ? null : spread(trained.map(({ seconds, tokens }) => (1000 * seconds) / tokens));
};

/** Of all questions asked at once. */
export const questionSeconds = ({ answering, questions }: LabRun): Spread =>
  spread(answering.map((seconds) => (100 * seconds) / questions));

const labMeasure =
  (figure: Parameters<typeof byMethod>[1]): Measure =>
  async (options) => ({ ...byMethod(await runsOf(options), figure), task: labTask });

export const secondsPer1000TrainingTokens = labMeasure(trainingSeconds);
export const secondsPer100Questions = labMeasure(questionSeconds);
export const outsideRuntimeShare = labMeasure(({ outsideRuntimeShare: share }) =>
  share === null ? null : spread([share]),
);
