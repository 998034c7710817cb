/** A memory on a read-only place: read as it is, whatever files lie beside it; what would write is refused. */
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "@photostructure/sqlite";
import { afterAll, beforeAll, expect, test } from "vitest";
import { sumFact, sumIdentity, sumMemory } from "../../tests/support/sum-memory.ts";
import { UserError } from "../errors.ts";
import { type DatabaseOptions, openDatabase } from "./database.ts";
import { exportMemory, readArchive } from "./ledger-archive.ts";
import { type Memory, openMemory } from "./ledger-memory.ts";
import { noteMade } from "./stored-memory.ts";
import type { DatabaseKind } from "./migrate.ts";

let root = "";
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "mneme-read-only-"));
  chmodSync(root, 0o755);
});
afterAll(() => {
  for (const name of readdirSync(root)) chmodSync(join(root, name), 0o755);
  rmSync(root, { recursive: true, force: true });
});

/** Does `work` as somebody whom permissions bind, which root is not. */
async function bound<T>(work: () => Promise<T>): Promise<T> {
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) process.seteuid?.(65534);
  try {
    return await work();
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
}

function makeReadOnly(folder: string): void {
  for (const name of readdirSync(folder)) chmodSync(join(folder, name), 0o444);
  chmodSync(folder, 0o555);
}

const open = (folder: string): Promise<Memory> =>
  openMemory(folder, { identity: sumIdentity, store: sumMemory(), snapshotEvery: 1 });
const contents = (folder: string) =>
  readdirSync(folder).map((name) => [name, readFileSync(join(folder, name)).toString("base64")]);
const readings = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith("mneme-reading-"));

/** What lies beside the ledger, and how a memory comes to be so. */
const left: Record<string, (ledger: string) => void> = {
  "log and index": () => {},
  "a log alone": (ledger) => rmSync(`${ledger}-shm`),
  "an empty log": (ledger) => {
    const db = new DatabaseSync(ledger);
    db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    db.close();
    rmSync(`${ledger}-shm`, { force: true });
  },
  nothing: (ledger) => {
    left["an empty log"](ledger);
    rmSync(`${ledger}-wal`, { force: true });
  },
};

test.each(Object.keys(left))("read with %s beside it; writing is refused and leaves nothing", async (what) => {
  const folder = join(root, what);
  const made = await open(folder);
  for (let i = 0; i < 5; i++) await made.write(sumFact(`Question ${i}?`, "x"));
  await made.forget(made.ledger.find("Question 3")[0].id);
  const whole = [made.ledger.list({ status: "any" }), made.ledger.log()];
  const { live } = made.ledger.counts();
  // The latest write is in the log alone
  await made.close();
  left[what](join(folder, "ledger.db"));
  makeReadOnly(folder);
  const [before, copies] = [contents(folder), readings()];

  await bound(async () => {
    const memory = await open(folder);
    expect([memory.ledger.list({ status: "any" }), memory.ledger.log()]).toEqual(whole);
    expect(memory.stats()).toMatchObject({ live, events: 6 });
    expect(memory.verify()).toEqual({ events: 6, facts: 4, equal: true });
    const refusal = /openLedger: expected a ledger that may be written to, got .*ledger\.db, which is read-only; copy/;
    const { id } = memory.ledger.find("Question 1")[0];
    for (const work of [() => memory.write(sumFact("New?", "x")), () => memory.forget(id), () => memory.revert(id)]) {
      await expect(work()).rejects.toThrow(UserError);
      await expect(work()).rejects.toThrow(refusal);
    }
    expect(memory.verify()).toMatchObject({ facts: 4, equal: true });
    // Asking under another name of the same model is reading
    noteMade(memory.ledger, { model: "elsewhere", options: {} });
    expect(memory.ledger.note("made")).toBeUndefined();
    await memory.close();
  });
  expect(contents(folder)).toEqual(before);
  expect(readings()).toEqual(copies);
});

test("exported from where nothing may be written", async () => {
  const folder = join(root, "exported");
  const memory = await open(folder);
  await memory.write(sumFact("Question?", "x"));
  await memory.close();
  makeReadOnly(folder);
  const there = join(root, "free");
  mkdirSync(there);
  chmodSync(there, 0o777);
  await bound(async () => {
    const read = await open(folder);
    await exportMemory(read.ledger, join(there, "copy.mneme"));
    await read.close();
    expect(await readArchive(join(there, "copy.mneme"))).toMatchObject({ live: 1, events: 1 });
  });
  expect(readdirSync(there)).toEqual(["copy.mneme"]);
});

test("tables of an older version are brought up to date in a copy; nowhere else without being asked", async () => {
  const folder = join(root, "older");
  const file = join(folder, "some.db");
  const first = { name: "001", sql: "CREATE TABLE things (name TEXT) STRICT; INSERT INTO things VALUES ('net')" };
  const second = { name: "002", sql: "ALTER TABLE things ADD COLUMN place TEXT DEFAULT 'harbour'" };
  const kind: DatabaseKind = { caller: "open", what: "things", elsewhere: "", damaged: "", steps: [first] };
  const options: DatabaseOptions = { kind, now: "2026", durability: "process" };
  openDatabase(file, options).close();
  makeReadOnly(folder);
  const { size } = statSync(file);
  await bound(async () => {
    const db = openDatabase(file, { ...options, kind: { ...kind, steps: [first, second] }, reading: true });
    expect(db.readOnly).toBe(true);
    expect(db.statement("SELECT * FROM things").all()).toEqual([{ name: "net", place: "harbour" }]);
    expect(() => db.together(() => {})).toThrow("open: expected things that may be written to");
    db.close();
  });
  expect(statSync(file).size).toBe(size);
});
