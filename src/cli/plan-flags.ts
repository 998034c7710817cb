/** The flags that say what is evaluated: task, method, model, seeds. The commands `eval` and `sweep` share them. */
import type { Command } from "commander";
import { UserError } from "../errors.ts";
import { parseTaskOptions, type TaskDefinition } from "../eval/tasks/definition.ts";
import { taskNamed } from "../eval/tasks/index.ts";
import { defaultModel } from "../models/embedded.ts";
import { streamConfigSchema } from "../runs/config.ts";
import { type EvaluationPlan, planSchema, taskOptionsOf } from "../runs/evaluation.ts";
import { addMethodFlags, addSchemaFlags, addTaskFlags, kebab, methodOptions, taskOptions } from "./method-flags.ts";
import { addEngineFlags, type EngineFlags, numberFlag } from "./session.ts";

export interface PlanFlags extends EngineFlags {
  readonly task?: string[];
  readonly method?: string[];
  readonly model: string;
  readonly seeds: number;
  readonly columns?: "all" | "seen";
  readonly baseline?: boolean;
  readonly byteCost?: number;
}

export function addPlanFlags(command: Command, { several }: { several: boolean }): void {
  command
    .option("--model <name>", "embedded name, folder or hub id", defaultModel)
    .option(
      "--seeds <n>",
      "how many seeds, from --seed on; each has a stream of its own (another world, other words or questions) " +
        "unless the stream is named, such as --world 7",
      numberFlag({ min: 1, max: 1000, integer: true }),
      1,
    );
  addEngineFlags(command);
  addSchemaFlags(command, streamConfigSchema.pick({ columns: true, baseline: true, byteCost: true }));
  addMethodFlags(command, { several });
  addTaskFlags(command);
}

/** `count` seeds from `first` on. */
export const seedsFrom = (first: number, count: number): number[] => Array.from({ length: count }, (_, i) => first + i);

/**
 * How seeds choose streams: each its own unless the user named one. Checked for every seed, and those for development
 * never run into the others.
 */
function streamOf(
  definition: TaskDefinition,
  { options, seeds, development }: { options: Record<string, unknown>; seeds: number[]; development: boolean },
): EvaluationPlan["stream"] {
  if (!definition.stream) return undefined;
  const { option, development: kept } = definition.stream;
  const stream = { option, base: development && kept ? kept[0] : (options[option] as number) };
  for (const seed of seeds) {
    if (development && kept && stream.base + seed > kept[1]) {
      throw new UserError(
        `sweep: expected seeds below ${kept[1] - kept[0] + 1}, as ${definition.name} has --${kebab(option)} ` +
          `${kept.join(" to ")} for development, got ${seed}; ask for less, or name --${kebab(option)}`,
      );
    }
    parseTaskOptions(definition, taskOptionsOf({ taskOptions: options, stream }, seed));
  }
  return stream;
}

/** Are all streams of a plan such that are kept for development? */
export function isForDevelopment(plan: EvaluationPlan): boolean {
  const { option, development } = taskNamed(plan.task).stream ?? {};
  if (option === undefined || development === undefined) return false;
  return plan.seeds.every((seed) => {
    const value = Number(taskOptionsOf(plan, seed)[option]);
    return value >= development[0] && value <= development[1];
  });
}

const without = (options: Readonly<Record<string, unknown>>, name: string | undefined): Record<string, unknown> =>
  Object.fromEntries(Object.entries(options).filter(([key]) => key !== name));

export interface PlanPresets {
  /** Plans whose options stand in place of the defaults: one per method, all of one task and model. */
  readonly tuned?: readonly EvaluationPlan[];
  /** Streams that are kept for choosing options. */
  readonly development?: boolean;
}

/** What the flags ask for, a plan per method, complete and checked. */
export function plansOf(
  command: Command,
  flags: PlanFlags,
  { tuned = [], development = false }: PlanPresets = {},
): EvaluationPlan[] {
  const { seeds: count, seed, columns, baseline, byteCost } = flags;
  const [from] = tuned;
  const [name] = flags.task ?? (from ? [from.task] : []);
  const methods = flags.method ?? (tuned.length === 1 ? [from.method] : undefined);
  if (name === undefined) throw new UserError(`${command.name()}: expected --task, got none; --help lists the tasks`);
  if (methods === undefined) {
    const way = from ? `name one of ${tuned.map(({ method }) => method).join(", ")}` : "--help lists the methods";
    throw new UserError(`${command.name()}: expected --method, got none; ${way}`);
  }
  const given = (key: string): boolean => command.getOptionValueSource(key) === "cli";
  // A sweep's stream was for development, whichever it was
  const preset = from?.task === name ? without(from.taskOptions, taskNamed(name).stream?.option) : {};
  const task = taskOptions(command, name, preset);
  const presets = Object.fromEntries(tuned.map(({ method, methodOptions: options }) => [method, options]));
  const seeds = seedsFrom(seed, count);
  const named = task.given.includes(task.definition.stream?.option ?? "");
  const stream = named ? undefined : streamOf(task.definition, { options: task.options, seeds, development });
  const shared = without(task.options, stream?.option);
  return methodOptions(command, methods, presets).map(({ definition, options }) =>
    planSchema.parse({
      model: from && !given("model") ? from.model : flags.model,
      task: task.definition.name,
      taskOptions: shared,
      method: definition.name,
      methodOptions: options,
      columns: columns ?? from?.columns,
      byteCost: byteCost ?? from?.byteCost,
      baseline: from && !given("baseline") ? from.baseline : baseline,
      seeds,
      stream,
    }),
  );
}
