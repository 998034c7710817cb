/** A process that does a part of the ledger script, and says on stdout what is done: to be killed, or to have rivals. */
import { writeSync } from "node:fs";
import { subjectOf } from "../../src/memory/subject.ts";
import { openMemory } from "../../src/runs/ledger-memory.ts";
import { ledgerScript } from "./ledger-script.ts";
import { sumFact, sumIdentity, sumMemory } from "./sum-memory.ts";

const [folder, name, from, to] = process.argv.slice(2);
const memory = await openMemory(folder, {
  identity: sumIdentity,
  store: sumMemory({ room: 16 }),
  // Killing a process tells nothing of fsync
  durability: "process",
  snapshotEvery: 23,
});
const deeds = ledgerScript(Number(to), name);
for (let i = Number(from); i < deeds.length; i++) {
  const { do: kind, prompt, target } = deeds[i];
  if (kind === "forget") await memory.forget(memory.ledger.rows.liveAbout(subjectOf(prompt))?.id ?? "");
  else await memory.write(sumFact(prompt, target));
  writeSync(1, `${i + 1}\n`);
}
await memory.close();
