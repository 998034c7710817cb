/** The tool that kills evaluations: a few trials of it, each of which must end as an unbroken run does. */
import { expect, test } from "vitest";
import { killing, killTool } from "./support/kill-tool.ts";

test("evaluations killed at random moments go on to the same numbers and weights", killing, async () => {
  const summary = await killTool<{ kills: number; equal: number; trials: { method: string; differs: [] }[] }>(
    "tools/kill-trials.ts",
    "--trials",
    "2",
    "--methods",
    "finetune,lora",
  );
  expect(summary.equal).toBe(2);
  expect(summary.kills).toBeGreaterThanOrEqual(2);
  expect(summary.trials.map(({ method, differs }) => [method, differs])).toEqual([
    ["finetune", []],
    ["lora", []],
  ]);
});
