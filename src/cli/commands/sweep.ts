/** `mneme sweep`: one method on one task under many settings, several processes at a time, and which was best. */
import { availableParallelism } from "node:os";
import { type Command, InvalidArgumentError } from "commander";
import { z } from "zod";
import { UserError } from "../../errors.ts";
import { formatScore, formatSeconds } from "../../eval/format.ts";
import { parseTaskOptions } from "../../eval/tasks/definition.ts";
import { taskNamed } from "../../eval/tasks/index.ts";
import { parseMethodOptions } from "../../methods/definition.ts";
import { methodNamed } from "../../methods/index.ts";
import type { RunStore, StoredTrial } from "../../runs/store.ts";
import {
  beginSweep,
  loadSweep,
  parseObjective,
  ranked,
  runSweep,
  type SweepPlan,
  sweepName,
  sweepSchema,
  settingsOf,
  trialPlan,
} from "../../runs/sweep.ts";
import { parseSpace } from "../../runs/sweep-space.ts";
import { kebab, refuseBesideResume } from "../method-flags.ts";
import { table } from "../output.ts";
import { addPlanFlags, type PlanFlags, planOf } from "../plan-flags.ts";
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
    .option("--resume <sweep>", "go on with a sweep, by name or folder");
  addStoreFlags(command);
  addPlanFlags(command);
}

/** The sweep that the flags describe; every setting is checked before anything is run. */
function sweepOf(command: Command, flags: Flags): SweepPlan {
  const plan = planOf(command, flags);
  if (flags.grid === undefined) {
    throw new UserError(
      "sweep: expected --grid, got none; name what to try, such as 'learningRate=1e-4,3e-4;epochs=2,4'",
    );
  }
  const [method, task] = [methodNamed(plan.method), taskNamed(plan.task)];
  const known = z.object({ ...task.options.shape, ...method.options.shape });
  const space = parseSpace(flags.grid, known, { ranges: flags.random !== undefined });
  const sweep = sweepSchema.parse({
    plan,
    space,
    random: flags.random ?? null,
    seed: flags.seed,
    objective: parseObjective(flags.objective),
  });
  for (const setting of settingsOf(sweep)) {
    const { methodOptions, taskOptions } = trialPlan(sweep, setting);
    parseMethodOptions(method, methodOptions);
    parseTaskOptions(task, taskOptions);
  }
  return sweep;
}

async function openSweep(
  command: Command,
  flags: Flags,
  store: RunStore,
): Promise<{ folder: string; sweep: SweepPlan }> {
  if (flags.resume === undefined) {
    const sweep = sweepOf(command, flags);
    const { task, method } = sweep.plan;
    const folder = flags.out ?? (await newFolder(store, `sweep-${task}-${method}`));
    await beginSweep(folder, sweep);
    return { folder, sweep };
  }
  refuseBesideResume(command, ["device", "threads", "db", "jobs", "budget", "retryFailed"]);
  const folder = await folderOfRun(store, flags.resume, sweepName);
  const sweep = await loadSweep(folder);
  if (sweep) return { folder, sweep };
  throw new UserError(
    `sweep: expected ${sweepName} in ${shownPath(folder)}, got none (half deleted?); start a new sweep`,
  );
}

const settingText = ({ options }: StoredTrial): string =>
  Object.entries(options)
    .map(([key, value]) => `${key}=${String(value)}`)
    .join(" ");

function printRanking({ output }: Session, sweep: SweepPlan, trials: readonly StoredTrial[]): void {
  const { print, style } = output;
  const { names, direction } = sweep.objective;
  const best = ranked(sweep.objective, trials);
  const name = names.join("*");
  const keys = sweep.space.map(({ key }) => key);
  const rows = best.map(({ trial, value }) => [
    String(trial.number),
    ...keys.map((key) => String(trial.options[key])),
    formatScore(value, 4),
    formatSeconds(trial.seconds ?? 0),
  ]);
  for (const line of table([["trial", ...keys, name, "time"], ...rows], {
    right: keys.concat("", "").map((_, i) => i + 1),
  }))
    print(line);
  const [first] = best;
  if (!first) return print(`no finished trial has ${name}`);
  const way = direction === "task" ? "best for the task" : direction === "lower" ? "lowest" : "highest";
  const flags = sweep.space.map(({ key }) => `--${kebab(key)} ${String(first.trial.options[key])}`).join(" ");
  print();
  print(`best by ${name} (${way}): ${style("bold", flags)}  ${name} ${formatScore(first.value, 4)}`);
}

export async function run(command: Command, session: Session): Promise<Record<string, unknown>> {
  const flags = command.opts<Flags>();
  const { progress, output } = session;
  return withStore(flags, async (store) => {
    const { folder, sweep } = await openSweep(command, flags, store);
    const threads = flags.threads ?? Math.max(1, Math.floor(availableParallelism() / flags.jobs));
    const engine = ["--threads", String(threads), "--device", flags.device, "--db", flags.db];
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
          `trial ${event.trial.number} of ${total} ${event.resumed ? "goes on" : "starts"}: ${settingText(event.trial)}`,
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
    printRanking(session, sweep, trials);
    const failed = trials.filter(({ status }) => status === "failed");
    const [best] = ranked(sweep.objective, trials);
    const result = {
      command: "sweep",
      folder,
      objective: sweep.objective,
      best: best ? { trial: best.trial.number, options: best.trial.options, value: best.value } : null,
      trials,
    };
    output.print(`folder: ${output.style("cyan", shownPath(folder))}`);
    if (failed.length === 0) return result;
    output.print();
    for (const trial of failed) output.print(`trial ${trial.number} failed (${settingText(trial)}): ${trial.error}`);
    const others = trials.length - failed.length;
    throw new PartlyFailed(
      `sweep: expected ${trials.length} trials to finish, got ${failed.length} that failed (${failed.map(({ number }) => number).join(", ")}) ` +
        `beside ${others} others; correct the cause and go on with: ${resumeCommand(folder, flags)} --retry-failed`,
      result,
    );
  });
}

const resumeCommand = (folder: string, flags: Flags): string =>
  commandLine(["sweep", "--resume", shownPath(folder), ...databaseArguments(flags)]);
