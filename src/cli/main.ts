#!/usr/bin/env node
/**
 * The command line: finds the command, hands it a session, and turns every outcome into an exit code.
 * 0 done, 1 our own fault, 2 the user's input, 130 interrupted. Only the module of the named command is loaded.
 */
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { errorCode } from "../checkpoint/files.ts";
import { UserError } from "../errors.ts";
import { createOutput } from "./output.ts";
import { createProgress } from "./progress.ts";
import { addCommonFlags, type CommandModule, commandLine, PartlyFailed } from "./session.ts";
import { exitInterrupted, exitPipe, Interrupted, listenForInterrupts } from "./signals.ts";

interface Entry {
  readonly summary: string;
  readonly load: () => Promise<CommandModule>;
}

const commands: Readonly<Record<string, Entry>> = {
  demo: {
    summary: "learn a small world topic by topic in four ways and show what was forgotten",
    load: () => import("./commands/demo.ts"),
  },
  generate: { summary: "continue a text", load: () => import("./commands/generate.ts") },
  score: { summary: "measure how well a model predicts texts", load: () => import("./commands/score.ts") },
  learn: { summary: "learn texts into a model or a memory", load: () => import("./commands/learn.ts") },
  ask: { summary: "ask with the memory and without it", load: () => import("./commands/ask.ts") },
  edit: { summary: "write facts into the memory", load: () => import("./commands/edit.ts") },
  forget: { summary: "take facts or documents out of the memory", load: () => import("./commands/forget.ts") },
  revert: { summary: "take back what was done to the memory", load: () => import("./commands/revert.ts") },
  log: { summary: "list what happened to the memory", load: () => import("./commands/log.ts") },
  memory: { summary: "export, import, measure or mend the memory", load: () => import("./commands/memory.ts") },
  stream: {
    summary: "learn texts one after another and measure what is remembered",
    load: () => import("./commands/stream.ts"),
  },
  eval: { summary: "measure a method on a task, with several seeds", load: () => import("./commands/eval.ts") },
  sweep: { summary: "try options of a method on a task", load: () => import("./commands/sweep.ts") },
  runs: { summary: "list the runs", load: () => import("./commands/runs.ts") },
  show: { summary: "show one run, fact or document", load: () => import("./commands/show.ts") },
  compare: { summary: "put runs of one task side by side", load: () => import("./commands/compare.ts") },
  report: { summary: "write runs as one HTML page", load: () => import("./commands/report.ts") },
  pretrain: { summary: "train a model from nothing", load: () => import("./commands/pretrain.ts") },
  fit: { summary: "fit a method's module to a model", load: () => import("./commands/fit.ts") },
  models: { summary: "list the models at hand", load: () => import("./commands/models.ts") },
  bench: { summary: "measure the engine or the laboratory on this machine", load: () => import("./commands/bench.ts") },
};

const version = (): string => {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
};

/** Codes of file-system failures that the user can mend. */
const userCodes = ["ENOSPC", "EDQUOT", "EACCES", "EPERM", "EROFS", "ENOENT", "ENOTDIR", "EISDIR", "EEXIST", "EMFILE"];

async function main(argv: readonly string[]): Promise<number> {
  const json = argv.includes("--json");
  const debug = argv.includes("--debug");
  const output = createOutput({ json });
  const progress = createProgress();
  const interrupts = listenForInterrupts(() => {
    progress.line("stopping at the next step; Ctrl-C again ends at once");
  });
  const say = (line: string): void => progress.line(`mneme: ${line}`);

  /** Says what went wrong; returns the exit code. */
  const report = (error: unknown): number => {
    progress.clear();
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return 0;
      // "error: unknown option '--x'\n(Did you mean --y?)" as one line
      const [first, ...rest] = error.message.replace(/^error: /, "").split("\n");
      const hint = rest.map((line) => line.trim().replace(/^\((Did)(.*)\)$/, "did$2")).filter((line) => line !== "");
      const message = [first.trim().replace(/\.$/, ""), ...hint].join("; ");
      say(hint.length > 0 ? message : `${message}; see --help`);
      output.result({ error: message, kind: "user" });
      return 2;
    }
    if (interrupts.signal.aborted && !(error instanceof UserError)) {
      if (interrupts.pipeClosed) return exitPipe;
      // A command that keeps no state of its own (a download in it may) goes on when it is run again
      const stopped = error instanceof Interrupted ? error : new Interrupted(commandLine(argv));
      say(stopped.resume === undefined ? "stopped" : `stopped; go on with: ${stopped.resume}`);
      output.result({ interrupted: true, resume: stopped.resume ?? null });
      return exitInterrupted;
    }
    const message = error instanceof Error ? error.message : String(error);
    if (error instanceof UserError || userCodes.includes(errorCode(error) ?? "")) {
      say(message.replace(/\s*\n\s*/g, " "));
      if (debug && error instanceof Error) progress.line(error.stack ?? "");
      const reached = error instanceof PartlyFailed ? error.result : {};
      output.result({ ...reached, error: message, kind: "user" });
      return 2;
    }
    const hint = debug ? "" : "; this is a fault of mneme: run it again with --debug and report what it prints";
    say(`internal: ${message.replace(/^internal: /, "")}${hint}`);
    if (debug && error instanceof Error) progress.line(error.stack ?? "");
    output.result({ error: message, kind: "internal" });
    return 1;
  };

  const program = new Command("mneme")
    .description("A memory that lives in a language model, not in its prompt.")
    .version(version())
    .configureOutput({ writeErr: () => undefined, writeOut: (text) => process.stdout.write(text) })
    .exitOverride()
    .showSuggestionAfterError(true);
  const named = argv.find((word) => !word.startsWith("-"));
  try {
    for (const [name, { summary, load }] of Object.entries(commands)) {
      const command = program
        .command(name)
        .summary(summary)
        .description(`${summary[0].toUpperCase()}${summary.slice(1)}.`);
      if (name !== named) continue;
      const { define, run } = await load();
      define(command);
      addCommonFlags(command);
      command.action(async () => {
        const result = await run(command, { output, progress, signal: interrupts.signal, argv });
        progress.clear();
        output.result(result);
      });
    }
    if (argv.length === 0) program.outputHelp();
    else await program.parseAsync([...argv], { from: "user" });
    return interrupts.pipeClosed ? exitPipe : 0;
  } catch (error) {
    return report(error);
  } finally {
    interrupts.dispose();
  }
}

process.exitCode = await main(process.argv.slice(2));
