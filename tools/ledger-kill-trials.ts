/**
 * Kills a process that writes into a ledger with SIGKILL at random moments, opens the memory again, and compares it
 * with the list of what was written: `npx tsx tools/ledger-kill-trials.ts --trials 100`. Nothing that was acknowledged
 * may be missing, nothing may be there by half, and the state must be the one computed from the live facts.
 */
import { isDeepStrictEqual } from "node:util";
import { openMemory } from "../src/runs/ledger-memory.ts";
import { type Found, killTrials } from "../tests/support/kill-writer.ts";
import { ledgerAfter, ledgerScript } from "../tests/support/ledger-script.ts";
import { sumIdentity, sumMemory } from "../tests/support/sum-memory.ts";

/** Opens the memory and compares it with the script. */
async function inspect(folder: string, acknowledged: number, writes: number): Promise<Found> {
  const deeds = ledgerScript(writes);
  const store = sumMemory({ room: 16 });
  const memory = await openMemory(folder, { identity: sumIdentity, store, durability: "process" });
  try {
    const opened = store.fingerprint();
    const found = memory.ledger
      .list({ status: "any" })
      .map(({ prompt, target, status }) => ({ prompt, target, status }));
    const done = [acknowledged, acknowledged + 1].find((n) =>
      isDeepStrictEqual(
        found,
        ledgerAfter(deeds.slice(0, n)).map((line) => ({ ...line })),
      ),
    );
    if (done === undefined) return { done: -1, fault: `other facts than after ${acknowledged} deeds` };
    const { equal } = memory.verify();
    // The oracle: a memory that has seen nothing but the live facts
    const other = sumMemory({ room: 16 });
    for (const { fact } of memory.ledger.list()) other.replay([memory.ledger.rows.placed(fact)]);
    const same = equal && opened === other.fingerprint();
    return { done, fault: same ? "" : "another state than the live facts give" };
  } finally {
    await memory.close();
  }
}

await killTrials({
  tool: "ledger-kill-trials",
  what: "ledgers",
  writes: 1000,
  script: "tests/support/ledger-child.ts",
  args: (folder, from, to) => [folder, "", `${from}`, `${to}`],
  inspect,
});
