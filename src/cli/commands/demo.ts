/**
 * `mneme demo`, which `npm start` runs: a small new world, learned topic by topic by four methods; what each of them
 * learned, what it forgot, and the report. A demo that was stopped goes on; a finished one begins again.
 */
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { exists, writeFileAtomic } from "../../checkpoint/files.ts";
import { UserError } from "../../errors.ts";
import { renderMatrix } from "../../eval/matrix-text.ts";
import { checkFits } from "../../eval/questions.ts";
import { reportHtml } from "../../eval/report.ts";
import { groupRuns } from "../../eval/report-groups.ts";
import type { ReportRun } from "../../eval/result.ts";
import { costColumns, intervalOf, scoreColumns } from "../../eval/tables.ts";
import { parseTaskOptions } from "../../eval/tasks/definition.ts";
import { worldTopics } from "../../eval/tasks/world-topics.ts";
import { parseMethodOptions } from "../../methods/definition.ts";
import { methodNamed } from "../../methods/index.ts";
import { defaultModel } from "../../models/embedded.ts";
import { beginEvaluation, type EvaluationPlan, loadRecord, planSchema } from "../../runs/evaluation.ts";
import { acquireLock } from "../../checkpoint/lock.ts";
import { versionInfo } from "../../runs/machine.ts";
import { openStore } from "../../runs/store.ts";
import type { Summary } from "../../runs/summary.ts";
import { evaluate } from "../evaluate.ts";
import { openModel } from "../open-model.ts";
import { table, wrap } from "../output.ts";
import { reportRuns } from "../run-tables.ts";
import { addEngineFlags, commandLine, type EngineFlags, openRuntime, type Session, shownPath } from "../session.ts";
import { comparison, story } from "../story.ts";

/** What is learned: some twenty facts a topic, so that all is told in two minutes. A world for development. */
const stream = { world: 1, topics: 3, people: 10, tellings: 2, longTail: 0, limit: 16, known: 40 };
/** Plain prose, to see how much of the language is kept. */
const prose = fileURLToPath(new URL("../../../examples/notes/1-lighthouse.txt", import.meta.url));

/** Who learns it; what is not named here is the method's default. */
const training = { epochs: 8, batchSize: 4 };
const methods: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  finetune: { ...training, learningRate: 1e-3 },
  lora: { ...training, learningRate: 1e-2, rank: 16, alpha: 32 },
  replay: { ...training, learningRate: 1e-3, share: 0.1 },
  rag: { topK: 2 },
};

/** Numbers of the closing table. */
const closing = ["nar", "rkr", "baseRetention", "seconds", "bytes"];
const known = { probe: "knownWorld", what: "world 0, on which the model was trained" };

const lockName = "demo.lock";
const databaseName = "demo.db";
const reportName = "report.html";

interface Flags extends EngineFlags {
  readonly model: string;
  readonly out: string;
}

export function define(command: Command): void {
  command
    .option("--model <name>", "embedded name, folder or hub id", defaultModel)
    .option("--out <folder>", "folder for the results; a finished demo in it is replaced", join("runs", "demo"));
  addEngineFlags(command);
}

/** What is run, a plan per method. */
export function demoPlans({ model, seed }: Pick<Flags, "model" | "seed">): EvaluationPlan[] {
  const taskOptions = parseTaskOptions(worldTopics, { ...stream, validation: [shownPath(prose)] });
  return Object.entries(methods).map(([method, given]) => {
    const methodOptions = parseMethodOptions(methodNamed(method), given);
    return planSchema.parse({ model, task: worldTopics.name, taskOptions, method, methodOptions, seeds: [seed] });
  });
}

/** Did these very plans, under these versions, stop before their report? */
async function isBegun(out: string, plans: readonly EvaluationPlan[]): Promise<boolean> {
  if (await exists(join(out, reportName))) return false;
  for (const plan of plans) {
    const folder = join(out, plan.method);
    if (!(await exists(folder))) continue;
    const record = await loadRecord(folder).catch(() => undefined);
    const ours = JSON.parse(JSON.stringify({ plan, versions: versionInfo() })) as unknown;
    if (!record || !isDeepStrictEqual({ plan: record.plan, versions: record.versions }, ours)) return false;
  }
  return true;
}

/**
 * Empties the folder of an earlier demo unless it is the beginning of this one; a folder of anything else is
 * refused.
 */
export async function clear(out: string, plans: readonly EvaluationPlan[]): Promise<void> {
  const isOurs = (name: string): boolean =>
    Object.hasOwn(methods, name) || name === reportName || name.startsWith(databaseName);
  const found = (await readdir(out)).filter((name) => !name.startsWith(lockName));
  const other = found.find((name) => !isOurs(name));
  if (other !== undefined)
    throw new UserError(
      `demo: expected a folder of an earlier demo, got ${out} with ${other}; name another with --out`,
    );
  if (await isBegun(out, plans)) return;
  for (const name of found) await rm(join(out, name), { recursive: true });
}

/** The matrix of a run and what it means. */
function printRun({ output }: Session, { result }: ReportRun): void {
  const { style, print, colour, width } = output;
  print(style("bold", result.method));
  for (const line of wrap(methodNamed(result.method).summary, width)) print(style("dim", line));
  print();
  print(renderMatrix(result.matrix, { colour, width }));
  print();
  for (const line of wrap(story(result, known), width)) print(line);
  print();
}

/** All methods side by side. */
function printClosing({ output }: Session, runs: readonly ReportRun[]): void {
  const groups = groupRuns(runs);
  const all = [...scoreColumns(groups), ...costColumns(groups)];
  const columns = closing.flatMap((key) => all.find((column) => column.key === key) ?? []);
  const rows = groups.map((group) => [
    group.label,
    ...columns.map((column) => {
      const interval = intervalOf(group, column);
      return interval === null ? "–" : column.show(interval.mean);
    }),
  ]);
  const right = columns.map((_, i) => i + 1);
  const [head, ...body] = table([["", ...columns.map(({ title }) => title)], ...rows], { right });
  output.print(output.style("bold", head));
  for (const line of body) output.print(line);
  for (const { formula } of columns)
    if (formula !== undefined) for (const line of wrap(formula, output.width)) output.print(output.style("dim", line));
  output.print();
  const sentence = comparison(runs.map(({ result }) => result));
  for (const line of sentence === "" ? [] : wrap(sentence, output.width)) output.print(line);
}

/** Runs all methods in an empty folder, prints what comes of them, and writes the report. */
async function runAll(
  session: Session,
  { model: name, out, device, threads }: Flags,
  plans: readonly EvaluationPlan[],
): Promise<{ runs: readonly Summary[]; report: string }> {
  const { output } = session;
  const { print, style, width } = output;
  const taskOptions = parseTaskOptions(worldTopics, plans[0].taskOptions);
  const task = await worldTopics.create(taskOptions, { signal: session.signal });
  const model = await openModel(name, session);
  checkFits(model.tokenizer, model.geometry.context, task.questions ?? [], task);
  const opening =
    `Telling ${name} about a world that it never saw, ${task.topics.length} topics one after another ` +
    `(${task.topics.map((topic) => topic.name).join(", ")}), in ${plans.length} ways. After each topic ` +
    "it is asked about all of them, in words that it was never told.";
  for (const line of wrap(opening, width)) print(line.replace(name, (text) => style("bold", text)));
  print();
  const runtime = openRuntime({ device, threads });
  const store = openStore(join(out, databaseName));
  const summaries: Summary[] = [];
  const runs: ReportRun[] = [];
  try {
    for (const plan of plans) {
      const folder = join(out, plan.method);
      const record = await beginEvaluation(folder, plan);
      const resume = commandLine(session.argv);
      const createTask = async () => task;
      summaries.push(await evaluate(session, record, { folder, store, createTask, model, runtime, resume }));
      const [run] = reportRuns(store, store.run(folder));
      runs.push(run);
      printRun(session, run);
    }
  } finally {
    store.close();
    await runtime.dispose();
  }
  printClosing(session, runs);
  const report = join(out, reportName);
  await writeFileAtomic(report, reportHtml(runs));
  print(`report: ${style("cyan", shownPath(report))}`);
  return { runs: summaries, report };
}

export async function run(command: Command, session: Session): Promise<Record<string, unknown>> {
  const flags = command.opts<Flags>();
  const { out } = flags;
  await mkdir(out, { recursive: true });
  const lock = await acquireLock(join(out, lockName), out);
  try {
    const plans = demoPlans(flags);
    await clear(out, plans);
    return { command: "demo", ...(await runAll(session, flags, plans)), folder: out };
  } finally {
    await lock.release();
  }
}
