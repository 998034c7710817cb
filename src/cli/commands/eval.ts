/** `mneme eval`: one method on one task with one or more seeds; the means over the seeds at the end. */
import type { Command } from "commander";
import { UserError } from "../../errors.ts";
import { parseTaskOptions } from "../../eval/tasks/definition.ts";
import { checkFits } from "../../eval/questions.ts";
import { taskNamed } from "../../eval/tasks/index.ts";
import { parseMethodOptions } from "../../methods/definition.ts";
import { methodNamed } from "../../methods/index.ts";
import { beginEvaluation, type EvaluationRecord, loadRecord, runEvaluation } from "../../runs/evaluation.ts";
import type { RunStore } from "../../runs/store.ts";
import { follow } from "../follow.ts";
import { refuseBesideResume } from "../method-flags.ts";
import { openModel } from "../open-model.ts";
import { addPlanFlags, type PlanFlags, planOf } from "../plan-flags.ts";
import { printSummary } from "../print-summary.ts";
import { relativeMetrics } from "../run-tables.ts";
import { commandLine, openRuntime, type Session, shownPath } from "../session.ts";
import { Interrupted } from "../signals.ts";
import {
  addStoreFlags,
  databaseArguments,
  folderOfRun,
  newFolder,
  type StoreFlags,
  withStore,
} from "../store-flags.ts";
import { tensorboardLog } from "../tensorboard-log.ts";

interface Flags extends PlanFlags, StoreFlags {
  readonly out?: string;
  readonly resume?: string;
  readonly tensorboard?: string;
  readonly stopWithStdin?: boolean;
}

export function define(command: Command): void {
  command
    .option("--out <folder>", "folder of the run; one that was begun with the same options goes on")
    .option("--resume <run>", "go on with a run, by name or folder")
    .option("--tensorboard <folder>", "also write its curves as event files for TensorBoard");
  // For a program that starts this one and may be killed: its end is ours
  command.addOption(command.createOption("--stop-with-stdin", "stop when stdin ends").hideHelp());
  addStoreFlags(command);
  addPlanFlags(command);
}

/** The evaluation that the flags name, in its folder; everything that can be wrong with them shows before. */
async function recordOf(
  command: Command,
  flags: Flags,
  store: RunStore,
): Promise<{ plan: EvaluationRecord["plan"]; begin: () => Promise<{ folder: string; record: EvaluationRecord }> }> {
  if (flags.resume !== undefined) {
    refuseBesideResume(command, ["device", "threads", "db", "tensorboard", "stopWithStdin"]);
    const folder = await folderOfRun(store, flags.resume);
    const record = await loadRecord(folder);
    if (record) return { plan: record.plan, begin: async () => ({ folder, record }) };
    throw new UserError(
      `eval: expected run.json in ${shownPath(folder)}, got none (half deleted?); start the run again in a new folder`,
    );
  }
  const plan = planOf(command, flags);
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
    const [definition, taskDefinition] = [methodNamed(plan.method), taskNamed(plan.task)];
    const options = parseMethodOptions(definition, plan.methodOptions);
    const taskOptions = parseTaskOptions(taskDefinition, plan.taskOptions);
    // Faults of the data show before anything is downloaded, loaded or written
    const task = await taskDefinition.create(taskOptions, { signal: session.signal });
    const model = await openModel(plan.model, session);
    if (task.questions) checkFits(model.tokenizer, model.geometry.context, task.questions, task);
    const runtime = openRuntime(flags);
    try {
      const { folder, record } = await begin();
      const createMethod = (seed: number) => definition.create(model, options, { runtime, seed });
      const { signal } = session;
      const events = runEvaluation(record, { folder, store, task, createMethod, runtime, signal });
      const show = follow(session);
      const log = tensorboardLog(flags.tensorboard, store, folder);
      let next: Awaited<ReturnType<typeof events.next>>;
      try {
        for (next = await events.next(); !next.done; next = await events.next()) {
          const { seed, event } = next.value;
          show(plan.seeds.length > 1 ? `${plan.method} seed ${seed}` : plan.method, event);
          await log.write(seed, event);
        }
      } finally {
        // A failure here must end the method's work as well
        await events.return(undefined);
        await log.close();
        session.progress.clear();
      }
      if (next.value === undefined) {
        throw new Interrupted(commandLine(["eval", "--resume", shownPath(folder), ...databaseArguments(flags)]));
      }
      const { cer } = relativeMetrics(store, store.run(folder));
      const summary = { ...next.value, metrics: { ...next.value.metrics, cer } };
      printSummary(session, summary);
      session.output.print(`folder: ${session.output.style("cyan", shownPath(folder))}`);
      return { command: "eval", ...summary, folder };
    } finally {
      await runtime.dispose();
    }
  });
}
