/** A memory as one file: the same on another machine, and refused when it is not what it was. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { sumFact, sumIdentity, sumMemory } from "../../tests/support/sum-memory.ts";
import { UserError } from "../errors.ts";
import { exportMemory, importMemory, readArchive } from "./ledger-archive.ts";
import { type Memory, openMemory } from "./ledger-memory.ts";

let root = "";
beforeAll(() => void (root = mkdtempSync(join(tmpdir(), "mneme-archive-"))));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const identity = sumIdentity;
const options = { identity, durability: "process" } as const;
const texts = (memory: Memory) => [memory.ledger.list({ status: "any" }), memory.ledger.log({ limit: 100 })];

async function refused(work: () => Promise<unknown>): Promise<string> {
  const error = await work().then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(UserError);
  return (error as Error).message;
}

test("an exported memory is the same where it is imported, and a damaged one is refused", async () => {
  const store = sumMemory();
  const memory = await openMemory(join(root, "it's one"), { ...options, store, snapshotEvery: 4 });
  for (let i = 0; i < 9; i++) await memory.write(sumFact(`Question ${i}?`, "x"));
  await memory.write(sumFact("Question 3?", "y"));
  await memory.forget(memory.ledger.find("Question 5")[0].id);
  const file = join(root, "memory.mneme");
  const header = await exportMemory(memory.ledger, file);
  expect(header).toMatchObject({ identity, events: 12, live: 8 });
  expect(readdirSync(join(root, "it's one")).filter((name) => name.startsWith("."))).toEqual([]);
  expect(await readArchive(file)).toMatchObject(header);

  const there = join(root, "there");
  mkdirSync(there); // an empty folder will do
  expect(await importMemory(file, there, { identity })).toEqual(header);
  const other = sumMemory();
  expect(readdirSync(there).filter((name) => !name.startsWith("ledger.db"))).toEqual([]);
  const copy = await openMemory(there, { ...options, store: other });
  expect(copy.stats()).toMatchObject({ snapshots: [], notes: [] });
  expect(texts(copy)).toEqual(texts(memory));
  expect(other.fingerprint()).toBe(store.fingerprint());
  expect(copy.verify()).toEqual({ events: 12, facts: 8, equal: true });
  expect(copy.ledger.origin).toBe(memory.ledger.origin);
  // They go on apart
  await copy.write(sumFact("New?", "x"));
  expect(memory.verify()).toMatchObject({ events: 12, equal: true });

  expect(await refused(() => importMemory(file, there, { identity }))).toMatch(/expected a new or empty folder, got/);
  const wrong = { ...identity, module: "d".repeat(64) };
  const nowhere = join(root, "nowhere");
  expect(await refused(() => importMemory(file, nowhere, { identity: wrong }))).toMatch(
    /expected a memory of module d{16}\.\.\., got .* of module b{16}\.\.\./,
  );
  const whole = readFileSync(file);
  const start = 12 + whole.readUInt32LE(8);
  const cases: [Buffer, RegExp][] = [
    [whole.subarray(0, 5), /expected an exported memory/],
    [whole.subarray(0, 20), /only 20 bytes \(cut off\)/],
    [whole.subarray(0, -1), /got \d+ \(cut off\)/],
    [Buffer.concat([whole, Buffer.from("x")]), /expected \d+ bytes .*, got \d+; copy/],
    [Buffer.from("something else entirely"), /another kind of file/],
    [Buffer.from(whole).fill("{", 12, 14), /a damaged one/],
    [Buffer.from(whole).fill(0xff, start + 5000, start + 5001), /a wrong checksum/],
    [Buffer.from(whole).fill("9", whole.indexOf('"format":1') + 9, whole.indexOf('"format":1') + 10), /of format 9/],
  ];
  for (const [bytes, message] of cases) {
    const path = join(root, "broken.mneme");
    writeFileSync(path, bytes);
    expect(await refused(() => importMemory(path, nowhere, { identity }))).toMatch(message);
  }
  expect(await refused(() => importMemory(join(root, "none"), nowhere, { identity }))).toMatch(/got nothing there/);
  expect(await refused(() => exportMemory(memory.ledger, join(root, "no", "where")))).toMatch(
    /the folder does not exist/,
  );
  expect(readdirSync(root).filter((name) => name.startsWith(".") || name === "nowhere")).toEqual([]);
  await memory.close();
  await copy.close();
});
