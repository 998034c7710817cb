/**
 * Streams for the terminal: one run per method over the same texts, their progress, their matrices and the report.
 * One method has the output folder to itself; several get a folder each in it, with one report over all of them.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { exists, readChecked, requireEmptyFolder, writeFileAtomic } from "../checkpoint/files.ts";
import { formatBytes, formatChange, formatCount, formatScore, formatSeconds } from "../eval/format.ts";
import { forgettingSentence, learningSentence, renderMatrix } from "../eval/matrix-text.ts";
import { reportHtml } from "../eval/report.ts";
import type { ReportRun, RunResult } from "../eval/result.ts";
import { textTask } from "../eval/tasks/text.ts";
import { readTextFile } from "../checkpoint/text.ts";
import { parseMethodOptions } from "../methods/definition.ts";
import { methodNamed } from "../methods/index.ts";
import type { LoadedModel } from "../models/load.ts";
import { type StreamConfig, streamConfigSchema } from "../runs/config.ts";
import { openRunFolder } from "../runs/folder.ts";
import { loadReportRun, runStream, savedConfig } from "../runs/run.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { follow } from "./follow.ts";
import { openModel } from "./open-model.ts";
import { wrap } from "./output.ts";
import { commandLine, type EngineFlags, openRuntime, resumeOrAnother, type Session, shownPath } from "./session.ts";
import { Interrupted } from "./signals.ts";

/** The file that says which runs a folder of several holds. */
const planName = "stream.json";
const planSchema = z.object({ runs: z.array(streamConfigSchema).min(1) });

export interface StreamPlan {
  /** Folder that the user named. */
  readonly out: string;
  /** One per method. */
  readonly configs: readonly StreamConfig[];
}

const isJoint = ({ configs }: StreamPlan): boolean => configs.length > 1;
const folderOf = (plan: StreamPlan, { method }: StreamConfig): string =>
  isJoint(plan) ? join(plan.out, method) : plan.out;

/** The plan of a folder that was begun earlier. */
export async function loadPlan(out: string): Promise<StreamPlan> {
  const path = join(out, planName);
  if (await exists(path)) {
    return { out, configs: (await readChecked(path, planSchema, { caller: "stream", what: "a list of runs" })).runs };
  }
  const folder = await openRunFolder(out, { resume: true });
  try {
    return { out, configs: [await savedConfig(folder)] };
  } finally {
    await folder.close();
  }
}

/** Makes the folder of several runs and says in it what they are; it must be new or empty. */
async function beginJoint({ out, configs }: StreamPlan): Promise<void> {
  await requireEmptyFolder(out, { caller: "stream", wayOut: resumeOrAnother(out, planName) });
  await mkdir(out, { recursive: true });
  await writeFileAtomic(join(out, planName), `${JSON.stringify({ runs: configs }, null, 2)}\n`);
}

/** One run from wherever it stands to its end. */
async function runOne(
  plan: StreamPlan,
  config: StreamConfig,
  { session, model, runtime }: { session: Session; model: LoadedModel; runtime: Runtime },
): Promise<ReportRun> {
  const definition = methodNamed(config.method);
  const options = parseMethodOptions(definition, config.methodOptions);
  const task = textTask(await Promise.all((config.files ?? []).map(readTextFile)), { holdout: config.holdout });
  const path = folderOf(plan, config);
  const resume = await exists(join(path, "config.json"));
  const folder = await openRunFolder(path, { resume });
  const show = follow(session);
  try {
    const createMethod = () => definition.create(model, options, { runtime, seed: config.seed });
    for await (const event of runStream(config, { task, createMethod, folder, runtime, signal: session.signal })) {
      show(config.method, event);
      if (event.type === "interrupted") throw new Interrupted(commandLine(["stream", "--resume", plan.out]));
    }
    return await loadReportRun(folder);
  } finally {
    session.progress.clear();
    await folder.close();
  }
}

/** The matrix of a run, its numbers, and what they mean. */
function printResult({ output }: Session, { method, matrix, metrics, cost }: RunResult): void {
  const { style, print, colour, width } = output;
  print(`${style("bold", method)}  ${style("dim", methodNamed(method).summary)}`);
  print();
  print(renderMatrix(matrix, { colour, width }));
  print();
  const numbers = [
    ["ACC", formatScore(metrics.acc)],
    ["BWT", formatChange(metrics.bwt)],
    ["forgetting", formatScore(metrics.forgetting)],
  ];
  print(numbers.map(([name, value]) => `${name} ${style("bold", value)}`).join("   "));
  for (const sentence of [learningSentence(matrix), forgettingSentence(matrix)])
    if (sentence !== "") for (const line of wrap(sentence, width)) print(line);
  const { seconds, tokens, bytes } = cost;
  const costs = `learned in ${formatSeconds(seconds)} from ${formatCount(tokens)} tokens; holds ${formatBytes(bytes)} of its own`;
  print(style("dim", costs));
  print();
}

/** Which of several methods kept more, and which learned more, in one sentence. */
function comparison(results: readonly RunResult[]): string {
  const known = results.flatMap(({ method, metrics: { forgetting, acc } }) =>
    forgetting === null || acc === null ? [] : [{ method, forgetting, acc }],
  );
  if (known.length < 2) return "";
  const { unit, direction } = results[0].matrix;
  const least = known.reduce((a, b) => (b.forgetting < a.forgetting ? b : a));
  const best = known.reduce((a, b) => ((direction === "lower" ? b.acc < a.acc : b.acc > a.acc) ? b : a));
  const others = (name: string, value: (one: (typeof known)[number]) => number): string =>
    known
      .filter(({ method }) => method !== name)
      .map((one) => `${formatScore(value(one))} of ${one.method}`)
      .join(", ");
  return (
    `${least.method} forgot least, ${formatScore(least.forgetting)} ${unit} (against ` +
    `${others(least.method, (one) => one.forgetting)}); ` +
    `${best.method} ends with the best mean over all texts, ${formatScore(best.acc)} (against ` +
    `${others(best.method, (one) => one.acc)}).`
  );
}

export interface PlanOptions {
  readonly session: Session;
  readonly engine: EngineFlags;
  /** Go on with what is in the folder. */
  readonly resume?: boolean;
}

/** Runs what a plan says, or what is left of it, prints the results and writes the report. */
export async function runPlan(
  plan: StreamPlan,
  { session, engine, resume = false }: PlanOptions,
): Promise<{ runs: readonly RunResult[]; folder: string; report: string }> {
  const { output } = session;
  const [{ files = [], holdout, model: name }] = plan.configs;
  // Faults of the texts show before anything is downloaded, loaded or written
  textTask(await Promise.all(files.map(readTextFile)), { holdout });
  const model = await openModel(name, session);
  if (isJoint(plan) && !resume) await beginJoint(plan);
  const runtime = openRuntime({ ...engine, threads: engine.threads ?? plan.configs[0].threads });
  const reports: ReportRun[] = [];
  try {
    for (const config of plan.configs) {
      const report = await runOne(plan, config, { session, model, runtime });
      reports.push(report);
      printResult(session, report.result);
    }
  } finally {
    await runtime.dispose();
  }
  const runs = reports.map(({ result }) => result);
  const report = join(plan.out, "report.html");
  if (isJoint(plan)) {
    await writeFileAtomic(report, reportHtml(reports));
    await writeFileAtomic(join(plan.out, "result.json"), `${JSON.stringify({ runs }, null, 2)}\n`);
    const sentence = comparison(runs);
    for (const line of sentence === "" ? [] : wrap(sentence, output.width)) output.print(line);
  }
  output.print(`report: ${output.style("cyan", shownPath(report))}`);
  return { runs, folder: plan.out, report };
}
