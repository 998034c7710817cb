/** Runs one of the tools that kill writers, with --json; it must end well. */
import { spawn } from "node:child_process";
import { expect } from "vitest";
import { scriptArguments } from "./script.ts";

export const killing = { timeout: 600_000 };

/** What the tool says at its end. */
export async function killTool<Summary>(tool: string, ...args: readonly string[]): Promise<Summary> {
  const all = [...scriptArguments(tool), ...args, "--json"];
  const child = spawn(process.execPath, all, { stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (data: Buffer) => (stdout += data.toString()));
  child.stderr.on("data", (data: Buffer) => (stderr += data.toString()));
  const code = await new Promise((resolve) => child.on("close", resolve));
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout) as Summary;
}

/** Of tools that kill writers of what is kept. */
export interface KilledWriters {
  readonly kills: number;
  readonly whole: number;
  readonly trials: readonly { readonly fault: string }[];
}
