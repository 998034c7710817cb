/** The flags that say what is evaluated: task, method, model, seeds. The commands `eval` and `sweep` share them. */
import type { Command } from "commander";
import { UserError } from "../errors.ts";
import { defaultModel } from "../models/embedded.ts";
import { streamConfigSchema } from "../runs/config.ts";
import { type EvaluationPlan, planSchema } from "../runs/evaluation.ts";
import { addMethodFlags, addSchemaFlags, addTaskFlags, methodOptions, taskOptions } from "./method-flags.ts";
import { addEngineFlags, type EngineFlags, numberFlag } from "./session.ts";

export interface PlanFlags extends EngineFlags {
  readonly task?: string[];
  readonly method?: string[];
  readonly model: string;
  readonly seeds: number;
  readonly columns?: "all" | "seen";
  readonly baseline?: boolean;
}

export function addPlanFlags(command: Command): void {
  command
    .option("--model <name>", "embedded name, folder or hub id", defaultModel)
    .option("--seeds <n>", "how many seeds, from --seed on", numberFlag({ min: 1, max: 1000, integer: true }), 1);
  addEngineFlags(command);
  addSchemaFlags(command, streamConfigSchema.pick({ columns: true, baseline: true }));
  addMethodFlags(command, { several: false });
  addTaskFlags(command);
}

/** What the flags ask for, complete and checked. */
export function planOf(command: Command, flags: PlanFlags): EvaluationPlan {
  const { task: tasks, method: methods, model, seeds, seed, columns, baseline } = flags;
  if (tasks === undefined) throw new UserError(`${command.name()}: expected --task, got none; --help lists the tasks`);
  if (methods === undefined) {
    throw new UserError(`${command.name()}: expected --method, got none; --help lists the methods`);
  }
  const [task, method] = [taskOptions(command, tasks[0]), methodOptions(command, methods)[0]];
  return planSchema.parse({
    model,
    task: task.definition.name,
    taskOptions: task.options,
    method: method.definition.name,
    methodOptions: method.options,
    columns,
    baseline,
    seeds: Array.from({ length: seeds }, (_, i) => seed + i),
  });
}
