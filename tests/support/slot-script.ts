/** A fixed list of writes into a table of slots, each of many rows, and the table after the first n of them. */
import { createSlotTable, type SlotTable } from "../../src/memory/slot-table.ts";
import { randomStream } from "../../src/tensor/random.ts";

export const slotShape = { rows: 2000, width: 64, format: "float16" } as const;
const rowsOfWrite = 400;

/** Write number `i`: different rows, and their numbers. */
export async function writeSlots(table: SlotTable, i: number): Promise<void> {
  const { rows, width } = slotShape;
  const random = randomStream(0, "slots", i);
  const first = random.integer(rows);
  const places = Array.from({ length: rowsOfWrite }, (_, k) => (first + 3 * k) % rows);
  const numbers = new Float32Array(rowsOfWrite * width);
  random.fillNormal(numbers, 0, 1);
  await table.write([...new Set(places)], numbers);
}

/** The hashes after 0, 1, ... `count` writes. */
export async function slotHashes(count: number): Promise<string[]> {
  const table = createSlotTable(slotShape);
  const hashes = [await table.hash()];
  for (let i = 0; i < count; i++) {
    await writeSlots(table, i);
    hashes.push(await table.hash());
  }
  return hashes;
}
