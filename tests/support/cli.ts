/** The real command line as a child process. */
import { spawn } from "node:child_process";
import { expect } from "vitest";
import { moduleUrl, scriptArguments } from "./script.ts";

export interface CliResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  cwd?: string;
  /** Written to stdin, which is closed after it. */
  stdin?: string;
  env?: Readonly<Record<string, string>>;
  /** Sends `kill` (SIGINT) once stderr has this. */
  interruptAt?: RegExp;
  kill?: NodeJS.Signals;
  /** Closes our end of its stdout after the first bytes. */
  closeStdout?: boolean;
  /** A module to load before the program, by its path in the repository. */
  preload?: string;
}

const imports = (preload?: string): string[] => (preload === undefined ? [] : ["--import", moduleUrl(preload)]);

/** Runs `mneme ...args` to its end. */
export function mneme(
  args: readonly string[],
  { cwd, stdin = "", env = {}, interruptAt, kill = "SIGINT", closeStdout = false, preload }: CliOptions = {},
): Promise<CliResult> {
  const child = spawn(process.execPath, [...imports(preload), ...scriptArguments("src/cli/main.ts"), ...args], {
    cwd,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, HF_HUB_OFFLINE: "1", ...env },
  });
  let [stdout, stderr] = ["", ""];
  let interrupted = false;
  child.stdout.on("data", (data: Buffer) => {
    stdout += data.toString();
    if (closeStdout) child.stdout.destroy();
  });
  child.stderr.on("data", (data: Buffer) => {
    stderr += data.toString();
    if (interruptAt?.test(stderr) && !interrupted) {
      interrupted = true;
      child.kill(kill);
    }
  });
  child.stdin.on("error", () => undefined); // it may end without reading
  child.stdin.end(stdin);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

/** The one JSON object that a command with --json prints, and nothing else. */
export function jsonOf({ stdout, stderr }: CliResult): Record<string, unknown> {
  const lines = stdout.split("\n");
  if (lines.length !== 2 || lines[1] !== "")
    throw new Error(`expected one line, got ${JSON.stringify(stdout)}; stderr: ${stderr}`);
  return JSON.parse(lines[0]) as Record<string, unknown>;
}

/** Commands that run in a folder. */
export function commandsIn(cwd: string, options: Omit<CliOptions, "cwd"> = {}) {
  const run = (...args: string[]): Promise<CliResult> => mneme(args, { ...options, cwd });
  return {
    run,
    /** The result of a command with --json that is to succeed. */
    async done(...args: string[]): Promise<Record<string, unknown>> {
      const result = await run(...args);
      expect(result.code, result.stderr).toBe(0);
      return jsonOf(result);
    },
    /** Expects exit code 2 and one line on stderr. */
    async refuses(args: readonly string[], message: RegExp): Promise<void> {
      const { code, stderr } = await run(...args);
      expect(stderr).toMatch(message);
      expect(stderr.trimEnd().split("\n")).toHaveLength(1);
      expect(code).toBe(2);
    },
  };
}
