/** A process that makes some of the writes of slot-script.ts and says on stdout what is done: to be killed. */
import { mkdirSync, writeSync } from "node:fs";
import { join } from "node:path";
import { exists } from "../../src/checkpoint/files.ts";
import { openSlotTable, writeSlotTable } from "../../src/memory/slot-table.ts";
import { slotShape, writeSlots } from "./slot-script.ts";

const [folder, from, to] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const path = join(folder, "slots");
if (!(await exists(path))) await writeSlotTable(path, slotShape);
// Killing a process tells nothing of fsync
const table = await openSlotTable(path, { durability: "process", cacheBytes: 1 << 16 });
for (let i = Number(from); i < Number(to); i++) {
  await writeSlots(table, i);
  writeSync(1, `${i + 1}\n`);
}
await table.close();
