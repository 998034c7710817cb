/**
 * What a run is asked to do, as one schema: defaults and one line of help each live here and nowhere else.
 * The resolved configuration is saved with the run and with its result.
 */
import { z } from "zod";
import { UserError } from "../errors.ts";
import { holdoutOption } from "../eval/tasks/text.ts";

export const streamConfigSchema = z.strictObject({
  kind: z.literal("stream").default("stream"),
  model: z.string().min(1).describe("folder, hub id or name of an embedded model"),
  method: z.string().min(1).describe("name of a learning method"),
  methodOptions: z
    .record(z.string(), z.unknown())
    .default({})
    .describe("options of the method, checked by its own schema"),
  task: z.string().min(1).optional().describe("name of a task; a stream of text files needs none"),
  taskOptions: z.record(z.string(), z.unknown()).optional().describe("options of the task, checked by its own schema"),
  streamSeed: z.string().min(1).optional().describe("option of the task that was chosen by the seed"),
  files: z
    .array(z.string().min(1))
    .min(1)
    .optional()
    .describe("text files, learned in this order, where no task is named"),
  seed: z.int().min(0).max(0xffffffff).default(0).describe("seed of everything random"),
  holdout: holdoutOption,
  columns: z.enum(["all", "seen"]).default("all").describe("score all topics after each step, or those learned so far"),
  baseline: z.boolean().default(true).describe("score all topics before anything is learned (FWT and NAR need it)"),
  byteCost: z
    .number()
    .nonnegative()
    .default(0.01)
    .describe("reward of a step: accuracy that a megabyte (10^6 bytes) the method holds costs"),
  threads: z.int().min(1).optional().describe("threads of the engine"),
  out: z.string().min(1).describe("folder of the run"),
});

/** A resolved stream configuration. */
export type StreamConfig = z.output<typeof streamConfigSchema>;
/** What a caller writes: everything that has a default may be left out. */
export type StreamConfigInput = z.input<typeof streamConfigSchema>;

/** Checks a configuration and fills in the defaults; `from` names where it came from in the error. */
export function parseStreamConfig(value: unknown, from = "the options"): StreamConfig {
  const parsed = streamConfigSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map((issue) => {
    const place = issue.path.map(String).join(".");
    return (place === "" ? "" : `${place}: `) + issue.message.replace(/\s+/g, " ");
  });
  throw new UserError(
    `streamConfig: expected the configuration of a stream in ${from}, got ${faults.join("; ")}; correct it`,
  );
}
