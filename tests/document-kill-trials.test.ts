/** The tool that kills a writer of documents: four trials of it, two kills each. */
import { spawn } from "node:child_process";
import { expect, test } from "vitest";
import { scriptArguments } from "./support/script.ts";

test("a memory of documents loses nothing acknowledged when its writer is killed", { timeout: 600_000 }, async () => {
  const args = [
    ...scriptArguments("tools/document-kill-trials.ts"),
    ..."--trials 4 --kills 2 --writes 120 --json".split(" "),
  ];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (data: Buffer) => (stdout += data.toString()));
  child.stderr.on("data", (data: Buffer) => (stderr += data.toString()));
  const code = await new Promise((resolve) => child.on("close", resolve));
  expect(code, stderr).toBe(0);
  const summary = JSON.parse(stdout) as { kills: number; whole: number; trials: { fault: string }[] };
  expect(summary.whole).toBe(4);
  expect(summary.kills).toBeGreaterThanOrEqual(4);
  expect(summary.trials.map(({ fault }) => fault)).toEqual(Array(4).fill(""));
});
