/** The tool that kills a writer of a bank: a few trials of it, two kills each. */
import { expect, test } from "vitest";
import { type KilledWriters, killing, killTool } from "./support/kill-tool.ts";

test("a bank loses nothing acknowledged when its writer is killed", killing, async () => {
  const summary = await killTool<KilledWriters>(
    "tools/bank-kill-trials.ts",
    "--trials",
    "4",
    "--kills",
    "2",
    "--writes",
    "300",
  );
  expect(summary.whole).toBe(4);
  expect(summary.kills).toBeGreaterThanOrEqual(4);
  expect(summary.trials.map(({ fault }) => fault)).toEqual(["", "", "", ""]);
});
