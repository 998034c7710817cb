/** `mneme sweep`: methods on one task under many settings, several processes at a time, and which were best. */
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { z } from "zod";
import { UserError } from "../../errors.ts";
import { equalLearningTable } from "../../eval/equal-learning.ts";
import { formatScore, formatSeconds } from "../../eval/format.ts";
import { groupRuns, sharedConfig } from "../../eval/report-groups.ts";
import type { ReportRun } from "../../eval/result.ts";
import { parseTaskOptions } from "../../eval/tasks/definition.ts";
import { taskNamed } from "../../eval/tasks/index.ts";
import { parseMethodOptions } from "../../methods/definition.ts";
import { methodNamed } from "../../methods/index.ts";
import type { RunStore, StoredTrial } from "../../runs/store.ts";
import { taskOptionsOf } from "../../runs/evaluation.ts";
import {
  beginSweep,
  checkFair,
  loadSweep,
  parseObjective,
  ranked,
  runSweep,
  type SweepPlan,
  sweepName,
  sweepSchema,
  trialsOf,
  trialsOfMethod,
} from "../../runs/sweep.ts";
import { parseSpaces } from "../../runs/sweep-space.ts";
import { kebab, refuseBesideResume } from "../method-flags.ts";
import { table } from "../output.ts";
import { addPlanFlags, isForDevelopment, type PlanFlags, plansOf } from "../plan-flags.ts";
import { comparableParts, equalLearningLines, finishedTrials, recordsOf, reportRuns } from "../run-tables.ts";
import { commandLine, numberFlag, PartlyFailed, type Session, shownPath } from "../session.ts";
import { Interrupted } from "../signals.ts";
import {
  addStoreFlags,
  databaseArguments,
  folderOfRun,
  newFolder,
  type StoreFlags,
  withStore,
} from "../store-flags.ts";
import { runTrialProcess } from "../trial-process.ts";

interface Flags extends PlanFlags, StoreFlags {
  readonly grid?: string;
  readonly random?: number;
  readonly objective: string;
  readonly jobs: number;
  readonly budget?: { readonly trials?: number; readonly seconds?: number };
  readonly retryFailed?: boolean;
  readonly out?: string;
  readonly resume?: string;
  readonly tensorboard?: string;
}

/** "12" is a number of trials, "90s", "10m" and "2h" a time. */
function budgetFlag(text: string): { trials?: number; seconds?: number } {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(s|m|h)?$/.exec(text.trim()) ?? [];
  const value = Number(number);
  const size = { s: 1, m: 60, h: 3600 }[unit ?? ""];
  if (number === undefined || !(value > 0) || (size === undefined && !Number.isInteger(value))) {
    throw new InvalidArgumentError("Expected a number of trials such as 12, or a time such as 90s, 10m or 2h.");
  }
  return size === undefined ? { trials: value } : { seconds: value * size };
}

export function define(command: Command): void {
  command
    .option("--grid <spec>", "values to try, all combinations: 'learningRate=1e-4,3e-4;epochs=2,4'")
    .option(
      "--random <n>",
      "try n random settings instead; --grid may then have ranges: 'learningRate=1e-5..1e-3'",
      numberFlag({ min: 1, max: 100_000, integer: true }),
    )
    .option("--objective <metric>", "what is best: a metric such as nar, a product nar*rkr, or min:forgetting", "acc")
    .option("--jobs <n>", "trials at a time", numberFlag({ min: 1, max: 256, integer: true }), 1)
    .option(
      "--budget <n|time>",
      "most trials in all (12), or a time after which none is started (90s, 10m, 2h)",
      budgetFlag,
    )
    .option("--retry-failed", "when resuming, run failed trials again")
    .option("--out <folder>", "folder of the sweep; one that was begun with the same options goes on")
    .option("--resume <sweep>", "go on with a sweep, by name or folder")
    .option("--tensorboard <folder>", "also write the curves of every trial as event files, a folder for each");
  addStoreFlags(command);
  addPlanFlags(command, { several: true });
  command.addHelpText(
    "after",
    "\nSeveral methods (--method a,b) get as many trials each. A plain key of --grid is for all that have the " +
      "option,\n" +
      "METHOD.KEY for one. Streams are those kept for development (such as worlds 1 to 99), where the task has such\n" +
      "and none is named; tasks that read files have none, so give them another file than the one you report.",
  );
}

/** The sweep that the flags describe; every setting is checked before anything is run. */
function sweepOf(command: Command, flags: Flags): SweepPlan {
  const plans = plansOf(command, flags, { development: true });
  if (flags.grid === undefined) {
    throw new UserError(
      "sweep: expected --grid, got none; name what to try, such as 'learningRate=1e-4,3e-4;epochs=2,4'",
    );
  }
  const task = taskNamed(plans[0].task);
  const known = Object.fromEntries(
    plans.map(({ method }) => [method, z.object({ ...task.options.shape, ...methodNamed(method).options.shape })]),
  );
  const spaces = parseSpaces(flags.grid, known, { ranges: flags.random !== undefined });
  const sweep = sweepSchema.parse({
    entries: plans.map((plan, i) => ({ plan, space: spaces[i] })),
    random: flags.random ?? null,
    seed: flags.seed,
    objective: parseObjective(flags.objective),
  });
  checkFair(sweep);
  for (const { plan } of trialsOf(sweep)) {
    parseMethodOptions(methodNamed(plan.method), plan.methodOptions);
    for (const seed of plan.seeds) parseTaskOptions(task, taskOptionsOf(plan, seed));
  }
  return sweep;
}

/** What to mind where options are chosen on what may be reported; null on streams that are kept for development. */
function developmentNote(sweep: SweepPlan): string | null {
  if (trialsOf(sweep).every(({ plan }) => isForDevelopment(plan))) return null;
  const { name, stream } = taskNamed(sweep.entries[0].plan.task);
  if (stream?.development === undefined)
    return (
      `options are chosen on the data that is given, as ${name} has no streams for development; ` +
      "give it another file than the one you report"
    );
  return (
    `options are chosen on the streams that are named, not on those for development ` +
    `(--${kebab(stream.option)} ${stream.development.join(" to ")}); report other streams`
  );
}

async function openSweep(
  command: Command,
  flags: Flags,
  store: RunStore,
): Promise<{ folder: string; sweep: SweepPlan }> {
  if (flags.resume === undefined) {
    const sweep = sweepOf(command, flags);
    const stem = `sweep-${sweep.entries[0].plan.task}-${methodsOf(sweep).join("-")}`;
    const folder = flags.out ?? (await newFolder(store, stem));
    await beginSweep(folder, sweep);
    return { folder, sweep };
  }
  refuseBesideResume(command, ["device", "threads", "db", "jobs", "budget", "retryFailed", "tensorboard"]);
  const folder = await folderOfRun(store, flags.resume, sweepName);
  const sweep = await loadSweep(folder);
  if (sweep) return { folder, sweep };
  throw new UserError(
    `sweep: expected ${sweepName} in ${shownPath(folder)}, got none (half deleted?); start a new sweep`,
  );
}

const methodsOf = ({ entries }: SweepPlan): string[] => entries.map(({ plan }) => plan.method);

/** "lora learningRate=0.01", without the method where there is one only. */
const settingText = (sweep: SweepPlan, { number, options }: StoredTrial): string => {
  const method = sweep.entries.length > 1 ? [trialsOf(sweep)[number - 1].plan.method] : [];
  return [...method, ...Object.entries(options).map(([key, value]) => `${key}=${String(value)}`)].join(" ");
};

/** The trials of one method, the best first, and its options as flags. */
function printRanking({ output }: Session, sweep: SweepPlan, at: number, trials: readonly StoredTrial[]): void {
  const { print, style } = output;
  const { names, direction } = sweep.objective;
  const { plan, space } = sweep.entries[at];
  const best = ranked(sweep.objective, trialsOfMethod(sweep, plan.method, trials));
  const name = names.join("*");
  const keys = space.map(({ key }) => key);
  const rows = best.map(({ trial, value }) => [
    String(trial.number),
    ...keys.map((key) => String(trial.options[key])),
    formatScore(value, 4),
    formatSeconds(trial.seconds ?? 0),
  ]);
  if (sweep.entries.length > 1) print(style("bold", plan.method));
  for (const line of table([["trial", ...keys, name, "time"], ...rows], {
    right: keys.concat("", "").map((_, i) => i + 1),
  }))
    print(line);
  const [first] = best;
  if (!first) return print(`no finished trial has ${name}`);
  const way = direction === "task" ? "best for the task" : direction === "lower" ? "lowest" : "highest";
  const flags = keys.map((key) => `--${kebab(key)} ${String(first.trial.options[key])}`).join(" ");
  print();
  print(`best by ${name} (${way}): ${style("bold", flags || "as it is")}  ${name} ${formatScore(first.value, 4)}`);
  if (at < sweep.entries.length - 1) print();
}

/** The best trial of each method, as --json says it. */
function bestByMethod(sweep: SweepPlan, trials: readonly StoredTrial[]): Record<string, unknown> {
  const best = (method: string) => {
    const own = trialsOfMethod(sweep, method, trials);
    const [first] = ranked(sweep.objective, own);
    const found = first ? { trial: first.trial.number, options: first.trial.options, value: first.value } : null;
    return { trials: own.length, best: found };
  };
  return Object.fromEntries(methodsOf(sweep).map((method) => [method, best(method)]));
}

const taskOptionsIn = ([{ result }]: readonly ReportRun[]): unknown => sharedConfig(result.config).taskOptions;

export async function run(command: Command, session: Session): Promise<Record<string, unknown>> {
  const flags = command.opts<Flags>();
  const { progress, output } = session;
  return withStore(flags, async (store) => {
    const { folder, sweep } = await openSweep(command, flags, store);
    const note = developmentNote(sweep);
    if (note !== null) progress.line(`note: ${note}`);
    const threads = flags.threads ?? Math.max(1, Math.floor(availableParallelism() / flags.jobs));
    const curves = flags.tensorboard === undefined ? [] : ["--tensorboard", flags.tensorboard];
    const engine = ["--threads", String(threads), "--device", flags.device, "--db", flags.db, ...curves];
    let [total, done] = [0, 0];
    let trials: readonly StoredTrial[] = [];
    const show = (detail = ""): void => progress.update({ label: "trials", done, total, detail });
    const events = runSweep(sweep, {
      folder,
      store,
      jobs: flags.jobs,
      budget: flags.budget,
      retry: flags.retryFailed,
      signal: session.signal,
      runTrial: (path, signal) => runTrialProcess(path, engine, signal),
    });
    for await (const event of events) {
      if (event.type === "sweep-start") {
        [total, done] = [event.trials, event.finished + event.failed];
        if (done > 0) progress.line(`going on after ${done} of ${total} trials`);
        show();
      } else if (event.type === "trial-start") {
        progress.line(
          `trial ${event.trial.number} of ${total} ${event.resumed ? "goes on" : "starts"}: ` +
            `${settingText(sweep, event.trial)}`,
        );
      } else if (event.type === "trial-end") {
        done++;
        const { number, status, error, seconds } = event.trial;
        const [best] = ranked(sweep.objective, [event.trial]);
        const value = best ? `, ${sweep.objective.names.join("*")} ${formatScore(best.value, 4)}` : "";
        progress.line(
          `trial ${number} ${status} in ${formatSeconds(seconds ?? 0)}${error === null ? value : `: ${error}`}`,
        );
        show();
      } else if (event.type === "budget") {
        progress.line(
          `the budget left out ${event.left} of ${total} trials; go on with: ${resumeCommand(folder, flags)}`,
        );
      } else if (event.type === "interrupted") {
        throw new Interrupted(resumeCommand(folder, flags));
      } else {
        trials = event.trials;
      }
    }
    progress.clear();
    for (const [i] of sweep.entries.entries()) printRanking(session, sweep, i, trials);
    const reports = finishedTrials(store, resolve(folder)).flatMap((run) => reportRuns(store, run));
    // Trials of other task options are no settings of a method: each part has a table of its own
    const parts = comparableParts(reports);
    for (const part of parts) {
      const lines = equalLearningLines(groupRuns(part), output.width);
      if (parts.length > 1 && lines.length > 0) output.print(`\n${JSON.stringify(taskOptionsIn(part))}`);
      for (const line of lines) output.print(line);
    }
    const failed = trials.filter(({ status }) => status === "failed");
    const [best] = ranked(sweep.objective, trials);
    const result = {
      command: "sweep",
      folder,
      objective: sweep.objective,
      note,
      best: best ? { trial: best.trial.number, options: best.trial.options, value: best.value } : null,
      methods: bestByMethod(sweep, trials),
      equalLearning: parts.flatMap((part): Record<string, unknown>[] => {
        const rows = recordsOf(equalLearningTable(part));
        return parts.length > 1 ? rows.map((row) => ({ ...row, taskOptions: taskOptionsIn(part) })) : rows;
      }),
      trials,
    };
    output.print();
    output.print(`folder: ${output.style("cyan", shownPath(folder))}`);
    if (best) output.print(`evaluate the best: ${evaluateCommand(sweep, folder, flags)}`);
    if (failed.length === 0) return result;
    output.print();
    for (const trial of failed)
      output.print(`trial ${trial.number} failed (${settingText(sweep, trial)}): ${trial.error}`);
    const others = trials.length - failed.length;
    throw new PartlyFailed(
      `sweep: expected ${trials.length} trials to finish, got ${failed.length} that failed ` +
        `(${failed.map(({ number }) => number).join(", ")}) ` +
        `beside ${others} others; correct the cause and go on with: ${resumeCommand(folder, flags)} --retry-failed`,
      result,
    );
  });
}

const resumeCommand = (folder: string, flags: Flags): string =>
  commandLine(["sweep", "--resume", shownPath(folder), ...databaseArguments(flags)]);

/** How the best options are measured: on other streams than those of the sweep, where the task draws streams at all. */
const evaluateCommand = (sweep: SweepPlan, folder: string, flags: Flags): string => {
  const method = sweep.entries.length > 1 ? ["--method", methodsOf(sweep)[0]] : [];
  const args = ["eval", "--from-sweep", shownPath(folder), ...method, "--seeds", "3"];
  return commandLine([...args, ...databaseArguments(flags)]);
};
