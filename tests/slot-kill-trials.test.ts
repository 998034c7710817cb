/** The tool that kills a writer of a table of slots: a few trials of it. */
import { spawn } from "node:child_process";
import { expect, test } from "vitest";
import { scriptArguments } from "./support/script.ts";

test("a table of slots is whole when its writer is killed", { timeout: 600_000 }, async () => {
  const args = [...scriptArguments("tools/slot-kill-trials.ts"), "--trials", "5", "--writes", "60", "--json"];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (data: Buffer) => (stdout += data.toString()));
  child.stderr.on("data", (data: Buffer) => (stderr += data.toString()));
  const code = await new Promise((resolve) => child.on("close", resolve));
  expect(code, stderr).toBe(0);
  const summary = JSON.parse(stdout) as { kills: number; whole: number; trials: { fault: string }[] };
  expect(summary).toMatchObject({ kills: 5, whole: 5 });
  expect(summary.trials.map(({ fault }) => fault)).toEqual(["", "", "", "", ""]);
});
