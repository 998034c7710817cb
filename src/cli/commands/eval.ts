/** `mneme eval`: one method on one task with one or more seeds; the means over the seeds at the end. */
import type { Command } from "commander";
import { UserError } from "../../errors.ts";
import { parseTaskOptions } from "../../eval/tasks/definition.ts";
import { checkFits } from "../../eval/questions.ts";
import { taskNamed } from "../../eval/tasks/index.ts";
import { parseMethodOptions } from "../../methods/definition.ts";
import { methodNamed } from "../../methods/index.ts";
import type { Task } from "../../eval/task.ts";
import {
  addSeeds,
  beginEvaluation,
  type EvaluationPlan,
  type EvaluationRecord,
  loadRecord,
  taskOptionsOf,
} from "../../runs/evaluation.ts";
import type { RunStore } from "../../runs/store.ts";
import { bestPlans, loadSweep, sweepName } from "../../runs/sweep.ts";
import { evaluate } from "../evaluate.ts";
import { refuseBesideResume } from "../method-flags.ts";
import { openModel } from "../open-model.ts";
import { addPlanFlags, type PlanFlags, plansOf, seedsFrom } from "../plan-flags.ts";
import { printSummary } from "../print-summary.ts";
import { withRelativeMetrics } from "../run-tables.ts";
import { commandLine, openRuntime, type Session, shownPath } from "../session.ts";
import {
  addStoreFlags,
  databaseArguments,
  folderOfRun,
  newFolder,
  type StoreFlags,
  sweepFolder,
  withStore,
} from "../store-flags.ts";
import { tensorboardLog } from "../tensorboard-log.ts";

interface Flags extends PlanFlags, StoreFlags {
  readonly out?: string;
  readonly resume?: string;
  readonly fromSweep?: string;
  readonly keepState?: boolean;
  readonly tensorboard?: string;
  readonly stopWithStdin?: boolean;
}

export function define(command: Command): void {
  command
    .option("--out <folder>", "folder of the run; one that was begun with the same options goes on")
    .option("--resume <run>", "go on with a run, by name or folder; with --seeds, add seeds to it")
    .option(
      "--from-sweep <sweep>",
      "take task, model and the options of a method's best trial from a sweep; other flags go before them",
    )
    .option(
      "--keep-state",
      "keep what the method has learned (seed-N/state-T), for some methods a whole model per seed",
    )
    .option("--tensorboard <folder>", "also write its curves as event files for TensorBoard");
  // For a program that starts this one and may be killed: its end is ours
  command.addOption(command.createOption("--stop-with-stdin", "stop when stdin ends").hideHelp());
  addStoreFlags(command);
  addPlanFlags(command, { several: false });
}

/** The best evaluation of each method of a sweep. */
async function tunedPlans(store: RunStore, name: string): Promise<EvaluationPlan[]> {
  const folder = (await sweepFolder(store, name)) ?? name;
  const sweep = await loadSweep(folder);
  if (!sweep) {
    throw new UserError(`eval: expected the name or folder of a sweep, got ${name} without ${sweepName}; correct it`);
  }
  const plans = await bestPlans(folder, sweep);
  if (plans.length > 0) return plans;
  const objective = sweep.objective.names.join("*");
  throw new UserError(
    `eval: expected a finished trial with ${objective} in the sweep ${name}, got none; go on with it: ` +
      `mneme sweep --resume ${name}`,
  );
}

/** The evaluation that the flags name, in its folder; everything that can be wrong with them shows before. */
async function recordOf(
  command: Command,
  flags: Flags,
  store: RunStore,
): Promise<{ plan: EvaluationRecord["plan"]; begin: () => Promise<{ folder: string; record: EvaluationRecord }> }> {
  if (flags.resume !== undefined) {
    refuseBesideResume(command, ["device", "threads", "db", "seeds", "tensorboard", "stopWithStdin"]);
    const folder = await folderOfRun(store, flags.resume);
    const record = await loadRecord(folder);
    if (record) {
      const { seeds: before } = record.plan;
      const more = command.getOptionValueSource("seeds") === "cli";
      const seeds = more ? seedsFrom(before[0], flags.seeds) : before;
      return {
        plan: { ...record.plan, seeds },
        begin: async () => ({ folder, record: await addSeeds(folder, record, seeds) }),
      };
    }
    throw new UserError(
      `eval: expected run.json in ${shownPath(folder)}, got none (half deleted?); start the run again in a new folder`,
    );
  }
  const tuned = flags.fromSweep === undefined ? [] : await tunedPlans(store, flags.fromSweep);
  const [asked] = plansOf(command, flags, { tuned });
  const plan = { ...asked, keepState: flags.keepState ?? false };
  return {
    plan,
    begin: async () => {
      const folder = flags.out ?? (await newFolder(store, `${plan.task}-${plan.method}`));
      return { folder, record: await beginEvaluation(folder, plan) };
    },
  };
}

export async function run(command: Command, session: Session): Promise<Record<string, unknown>> {
  const flags = command.opts<Flags>();
  if (flags.stopWithStdin) {
    const stop = (): void => void process.kill(process.pid, "SIGTERM");
    process.stdin.resume().once("end", stop).once("error", stop);
    (process.stdin as { unref?: () => void }).unref?.();
  }
  return withStore(flags, async (store) => {
    const { plan, begin } = await recordOf(command, flags, store);
    const taskDefinition = taskNamed(plan.task);
    // Faults of the options and the data show before anything is downloaded, loaded or written
    parseMethodOptions(methodNamed(plan.method), plan.methodOptions);
    const makeTask = (seed: number): Promise<Task> =>
      taskDefinition.create(parseTaskOptions(taskDefinition, taskOptionsOf(plan, seed)), { signal: session.signal });
    const [first] = plan.seeds;
    const firstTask = await makeTask(first);
    const model = await openModel(plan.model, session);
    const fitting = (task: Task): Task => {
      if (task.questions) checkFits(model.tokenizer, model.geometry.context, task.questions, task);
      return task;
    };
    fitting(firstTask);
    const createTask = async (seed: number): Promise<Task> =>
      seed === first || !plan.stream ? firstTask : fitting(await makeTask(seed));
    const runtime = openRuntime(flags);
    try {
      const { folder, record } = await begin();
      const log = tensorboardLog(flags.tensorboard, store, folder);
      const resume = commandLine(["eval", "--resume", shownPath(folder), ...databaseArguments(flags)]);
      const parts = { folder, store, createTask, model, runtime, resume, onEvent: log.write };
      const found = await evaluate(session, record, parts).finally(log.close);
      const summary = withRelativeMetrics(store, store.run(folder), found);
      printSummary(session, summary);
      session.output.print(`folder: ${session.output.style("cyan", shownPath(folder))}`);
      return { command: "eval", ...summary, folder };
    } finally {
      await runtime.dispose();
    }
  });
}
