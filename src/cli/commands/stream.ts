/**
 * `mneme stream`: learns texts one after another with one or more methods, and shows what each step cost the
 * others.
 */
import type { Command } from "commander";
import { UserError } from "../../errors.ts";
import { parseStreamConfig, streamConfigSchema } from "../../runs/config.ts";
import { addMethodFlags, addSchemaFlags, methodOptions, refuseBesideResume } from "../method-flags.ts";
import { defaultModel } from "../../models/embedded.ts";
import { addEngineFlags, type EngineFlags, type Session } from "../session.ts";
import { loadPlan, runPlan, type StreamPlan } from "../stream-runs.ts";

interface Flags extends EngineFlags {
  readonly model: string;
  readonly method?: string[];
  readonly out?: string;
  readonly resume?: string;
  readonly holdout?: number;
  readonly columns?: "all" | "seen";
  readonly baseline?: boolean;
}

export function define(command: Command): void {
  command
    .argument("[file...]", "UTF-8 text files, learned in this order")
    .option("--model <name>", "embedded name, folder or hub id", defaultModel)
    .option("--out <folder>", "new folder for the results")
    .option("--resume <folder>", "go on with the stream in this folder");
  addSchemaFlags(command, streamConfigSchema.pick({ holdout: true, columns: true, baseline: true }));
  addMethodFlags(command, { several: true });
  addEngineFlags(command);
}

function planOf(command: Command, flags: Flags): StreamPlan {
  const [files] = command.processedArgs as [string[]];
  const { model, method: chosen = [], out, holdout, columns, baseline, seed, threads } = flags;
  if (files.length === 0)
    throw new UserError("stream: expected text files, got none; name them in the order in which they are learned");
  if (chosen.length === 0)
    throw new UserError(
      "stream: expected --method, got none; name one or more, such as --method finetune --method lora",
    );
  if (out === undefined) throw new UserError("stream: expected --out, got none; name a new folder for the results");
  const configs = methodOptions(command, chosen).map(({ definition, options }) =>
    parseStreamConfig({
      model,
      method: definition.name,
      methodOptions: options,
      files,
      seed,
      holdout,
      columns,
      baseline,
      threads,
      out,
    }),
  );
  return { out, configs };
}

export async function run(command: Command, session: Session): Promise<Record<string, unknown>> {
  const flags = command.opts<Flags>();
  if (flags.resume === undefined) {
    return { command: "stream", ...(await runPlan(planOf(command, flags), { session, engine: flags })) };
  }
  refuseBesideResume(command, ["device", "threads"]);
  return {
    command: "stream",
    ...(await runPlan(await loadPlan(flags.resume), { session, engine: flags, resume: true })),
  };
}
