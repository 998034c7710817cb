/** What every command works with, and the options that many of them share. */
import { isAbsolute, relative, sep } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { UserError } from "../errors.ts";
import type { Device } from "../runtime/session.ts";
import { createRuntime, type Runtime } from "../runtime/runtime.ts";
import { type Output, shellWord } from "./output.ts";
import type { Progress } from "./progress.ts";

export interface Session {
  readonly output: Output;
  readonly progress: Progress;
  readonly signal: AbortSignal;
  /** Arguments as they were typed, without the program. */
  readonly argv: readonly string[];
}

/** A file in commands/: what it takes, and what it does. The value returned is what --json prints. */
export interface CommandModule {
  define(command: Command): void;
  run(command: Command, session: Session): Promise<Readonly<Record<string, unknown>>>;
}

/** The user's input was good in part: the error for the exit code, and what was reached for --json. */
export class PartlyFailed extends UserError {
  readonly result: Readonly<Record<string, unknown>>;

  constructor(message: string, result: Readonly<Record<string, unknown>>) {
    super(message);
    this.result = result;
  }
}

export interface EngineFlags {
  readonly device: Device;
  readonly threads?: number;
  readonly seed: number;
}

/** Parser of a number within limits, for commander. */
export function numberFlag({
  min = Number.NEGATIVE_INFINITY,
  max = Number.POSITIVE_INFINITY,
  integer = false,
}: {
  min?: number;
  max?: number;
  integer?: boolean;
} = {}): (text: string) => number {
  return (text) => {
    const value = text.trim() === "" ? Number.NaN : Number(text);
    if (Number.isFinite(value) && value >= min && value <= max && (!integer || Number.isInteger(value))) return value;
    const from = Number.isFinite(min) ? ` from ${min}` : "";
    const to = Number.isFinite(max) ? ` to ${max}` : "";
    throw new InvalidArgumentError(`Expected a ${integer ? "whole " : ""}number${from}${to}.`);
  };
}

/** --json and --debug, which every command has. */
export function addCommonFlags(command: Command): void {
  command
    .option("--json", "print one JSON object on stdout, and nothing else there")
    .option("--debug", "print the stack of an internal error");
}

/** --device, --threads and, unless something else decides it, --seed, for commands that compute. */
export function addEngineFlags(command: Command, { seed = true }: { seed?: boolean } = {}): void {
  command
    .addOption(new Option("--device <name>", "where to compute").choices(["cpu", "webgpu", "cuda"]).default("cpu"))
    .option(
      "--threads <n>",
      "threads of the engine (default: all cores)",
      numberFlag({ min: 1, max: 1024, integer: true }),
    );
  if (seed)
    command.option(
      "--seed <n>",
      "seed of everything random",
      numberFlag({ min: 0, max: 0xffffffff, integer: true }),
      0,
    );
}

export const openRuntime = ({ device, threads }: Omit<EngineFlags, "seed">): Runtime =>
  createRuntime({ device, threads });

/** A path as short as it can be written from here; what lies elsewhere stays absolute. */
export function shownPath(path: string): string {
  const short = isAbsolute(path) ? relative(process.cwd(), path) : path;
  return short.startsWith(`..${sep}..`) ? path : short || ".";
}

/** The way out for who names a folder that is in use: it may be work that was begun, which `mark` in it tells. */
export const resumeOrAnother =
  (folder: string, mark: string) =>
  (found: readonly string[]): string =>
    found.includes(mark) ? `go on with --resume ${folder}, or use another folder` : "use another folder";

/** A command line that runs this program with other arguments, as the user would type it here. */
export function commandLine(
  args: readonly string[],
  { entry = process.argv[1] ?? "", env = process.env }: { entry?: string; env?: NodeJS.ProcessEnv } = {},
): string {
  // npm sets the variable for `npm start` and npx; without them `mneme` is found on the path
  const installed = env.npm_execpath === undefined ? ["mneme"] : ["npx", "mneme"];
  const program = entry.endsWith(".ts") ? ["npx", "tsx", shownPath(entry)] : installed;
  return [...program, ...args].map(shellWord).join(" ");
}
