/**
 * Kills a process that writes into a table of slots with SIGKILL at random moments and opens the table again:
 * `npx tsx tools/slot-kill-trials.ts --trials 100`. It must be the table after the last write that was acknowledged, or
 * after the one in flight, and nothing between.
 */
import { join } from "node:path";
import { exists } from "../src/checkpoint/files.ts";
import { openSlotTable } from "../src/memory/slot-table.ts";
import { type Found, killTrials } from "../tests/support/kill-writer.ts";
import { slotHashes } from "../tests/support/slot-script.ts";

let hashes: Promise<string[]> | undefined;

async function inspect(folder: string, acknowledged: number, writes: number): Promise<Found> {
  const path = join(folder, "slots");
  if (!(await exists(path))) return { done: acknowledged, fault: acknowledged > 0 ? "the table is gone" : "" };
  const wanted = await (hashes ??= slotHashes(writes));
  const table = await openSlotTable(path, { durability: "process" });
  const hash = await table.hash();
  await table.close();
  const done = [acknowledged, acknowledged + 1].find((n) => wanted[n] === hash);
  return done === undefined
    ? { done: -1, fault: `another table than after ${acknowledged} writes` }
    : { done, fault: "" };
}

await killTrials({
  tool: "slot-kill-trials",
  what: "tables",
  writes: 200,
  script: "tests/support/slot-child.ts",
  args: (folder, from, to) => [folder, `${from}`, `${to}`],
  inspect,
});
