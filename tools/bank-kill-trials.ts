/**
 * Kills a process that writes into a bank with SIGKILL at random moments, opens the bank again, and compares it with a
 * plain array: `npx tsx tools/bank-kill-trials.ts --trials 100`. Nothing that was acknowledged may be missing, and a
 * write is there whole or not at all, whether it was an append, a replacement with evictions, or the log written anew.
 */
import { isDeepStrictEqual } from "node:util";
import { bankAfter, countsOf, folderBytes, lineOf, scriptBank } from "../tests/support/bank-script.ts";
import { type Found, killTrials } from "../tests/support/kill-writer.ts";

async function inspect(folder: string, acknowledged: number): Promise<Found> {
  const bank = await scriptBank(folder);
  try {
    const found: string[] = [];
    for await (const page of bank.pages()) found.push(...page.map(lineOf));
    const done = [acknowledged, acknowledged + 1].find((n) => isDeepStrictEqual(found, bankAfter(n)));
    if (done === undefined) return { done: -1, fault: `other entries than after ${acknowledged} deeds` };
    if (!isDeepStrictEqual(bank.histogram(1), countsOf(found))) return { done, fault: "other counts than entries" };
    const { total } = await bank.size();
    return { done, fault: total === 8 * folderBytes(folder) ? "" : "files that the bank does not know" };
  } finally {
    await bank.close();
  }
}

await killTrials({
  tool: "bank-kill-trials",
  what: "banks",
  writes: 1000,
  script: "tests/support/bank-child.ts",
  args: (folder, from, to) => [folder, `${from}`, `${to}`],
  inspect,
});
