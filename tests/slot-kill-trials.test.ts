/** The tool that kills a writer of a table of slots: a few trials of it. */
import { expect, test } from "vitest";
import { type KilledWriters, killing, killTool } from "./support/kill-tool.ts";

test("a table of slots is whole when its writer is killed", killing, async () => {
  const summary = await killTool<KilledWriters>("tools/slot-kill-trials.ts", "--trials", "5", "--writes", "60");
  expect(summary).toMatchObject({ kills: 5, whole: 5 });
  expect(summary.trials.map(({ fault }) => fault)).toEqual(["", "", "", "", ""]);
});
