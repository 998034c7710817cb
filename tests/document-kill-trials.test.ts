/** The tool that kills a writer of documents: four trials of it, two kills each. */
import { expect, test } from "vitest";
import { type KilledWriters, killing, killTool } from "./support/kill-tool.ts";

test("a memory of documents loses nothing acknowledged when its writer is killed", killing, async () => {
  const summary = await killTool<KilledWriters>(
    "tools/document-kill-trials.ts",
    "--trials",
    "4",
    "--kills",
    "2",
    "--writes",
    "120",
  );
  expect(summary.whole).toBe(4);
  expect(summary.kills).toBeGreaterThanOrEqual(4);
  expect(summary.trials.map(({ fault }) => fault)).toEqual(Array(4).fill(""));
});
