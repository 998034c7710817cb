/**
 * Kills a process that learns and forgets documents with SIGKILL at random moments, opens the memory again, and compares
 * it with a plain list: `npx tsx tools/document-kill-trials.ts --trials 100`. Nothing that was acknowledged may be
 * missing, a deed is there whole or not at all, and bank and ledger hold the same.
 */
import { isDeepStrictEqual } from "node:util";
import { documentsAfter, documentsOf, scriptDocuments } from "../tests/support/document-script.ts";
import { type Found, killTrials } from "../tests/support/kill-writer.ts";

async function inspect(folder: string, acknowledged: number): Promise<Found> {
  const { memory, close } = await scriptDocuments(folder);
  try {
    const found = documentsOf(memory);
    const done = [acknowledged, acknowledged + 1].find((n) => isDeepStrictEqual(found, documentsAfter(n)));
    if (done === undefined) return { done: -1, fault: `other documents than after ${acknowledged} deeds` };
    const inBank = [...memory.bank.documents()].toSorted();
    const inLedger = memory.ledger.list().map(({ prompt }) => prompt);
    if (!isDeepStrictEqual(inBank, inLedger.toSorted())) return { done, fault: "the bank has others than the ledger" };
    const { equal } = await memory.verify();
    return { done, fault: equal ? "" : "other entries in the bank than in the ledger" };
  } finally {
    await close();
  }
}

await killTrials({
  tool: "document-kill-trials",
  what: "memories",
  writes: 300,
  script: "tests/support/document-child.ts",
  args: (folder, from, to) => [folder, `${from}`, `${to}`],
  inspect,
});
