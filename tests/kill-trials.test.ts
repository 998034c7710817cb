/** The tool that kills evaluations: a few trials of it, each of which must end as an unbroken run does. */
import { spawn } from "node:child_process";
import { expect, test } from "vitest";
import { scriptArguments } from "./support/script.ts";

test("evaluations killed at random moments go on to the same numbers and weights", { timeout: 600_000 }, async () => {
  const args = [...scriptArguments("tools/kill-trials.ts"), "--trials", "2", "--methods", "finetune,lora", "--json"];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (data: Buffer) => (stdout += data.toString()));
  child.stderr.on("data", (data: Buffer) => (stderr += data.toString()));
  const code = await new Promise((resolve) => child.on("close", resolve));
  expect(code, stderr).toBe(0);
  const summary = JSON.parse(stdout) as { kills: number; equal: number; trials: { method: string; differs: [] }[] };
  expect(summary.equal).toBe(2);
  expect(summary.kills).toBeGreaterThanOrEqual(2);
  expect(summary.trials.map(({ method, differs }) => [method, differs])).toEqual([
    ["finetune", []],
    ["lora", []],
  ]);
});
