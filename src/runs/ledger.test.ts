/** The ledger and its memory against what was said: history, search, receipts, bad input, several processes, damage. */
import { spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "@photostructure/sqlite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ledgerAfter, ledgerScript } from "../../tests/support/ledger-script.ts";
import { scriptArguments } from "../../tests/support/script.ts";
import { sumFact, sumIdentity, sumMemory } from "../../tests/support/sum-memory.ts";
import { UserError } from "../errors.ts";
import type { MemoryStore } from "../memory/memory-store.ts";
import { openLedger } from "./ledger.ts";
import { subjectOf } from "../memory/subject.ts";
import { factBytes } from "./ledger-fact.ts";
import { type Memory, type MemoryOptions, openMemory } from "./ledger-memory.ts";

let root = "";
beforeAll(() => void (root = mkdtempSync(join(tmpdir(), "mneme-ledger-"))));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let now = 1000;
const open = (name: string, more: Partial<MemoryOptions> = {}): Promise<Memory> =>
  openMemory(join(root, name), {
    identity: sumIdentity,
    store: sumMemory(),
    clock: () => now,
    durability: "process",
    ...more,
  });

/** The one-line error that `work` ends with. */
async function refused(work: () => unknown): Promise<string> {
  try {
    await work();
  } catch (error) {
    expect(error).toBeInstanceOf(UserError);
    expect((error as Error).message).not.toContain("\n");
    return (error as Error).message;
  }
  throw new Error("expected an error");
}

/** What the ledger and the memory hold, to see that nothing has changed. */
const stateOf = (memory: Memory, store: MemoryStore) => [
  memory.ledger.list({ status: "any" }),
  memory.ledger.log({ limit: 1000 }),
  store.fingerprint(),
];

describe("a ledger", () => {
  test("tells what became of a fact", async () => {
    const memory = await open("story");
    now = 1000;
    const rome = await memory.write(sumFact("Where does Ann live?", "Rome", { rephrasings: ["Ann lives in"] }));
    now = 2000;
    const oslo = await memory.write(sumFact("where does  Ann live", "Oslo", { source: "cli" }));
    expect(rome).toEqual({ id: rome.id, fact: 1, placement: 0, outcome: "written" });
    expect(rome.id).toMatch(/^[0-9a-f]{12}$/);
    expect(oslo).toMatchObject({ fact: 2, outcome: "superseding", supersedes: { id: rome.id, status: "superseded" } });
    now = 3000;
    expect(await memory.write(sumFact("Where does Ann live?", " Oslo "))).toEqual({
      id: oslo.id,
      fact: 2,
      placement: 0,
      outcome: "duplicate",
    });
    const { ledger } = memory;
    expect(ledger.show(rome.id)).toMatchObject({
      prompt: "Where does Ann live?",
      target: "Rome",
      rephrasings: ["Ann lives in"],
      source: "test",
      time: 1000,
      status: "superseded",
      supersededBy: oslo.id,
      bytes: { key: 8, value: 8 },
    });
    expect(ledger.show(oslo.id.slice(0, 5))).toMatchObject({ supersedes: [{ id: rome.id }], receipt: null });
    // Back to Rome, and back to Oslo, and neither
    expect(await memory.revert(oslo.id)).toEqual([
      { id: oslo.id, fact: 2, before: "live", after: "forgotten" },
      { id: rome.id, fact: 1, before: "superseded", after: "live" },
    ]);
    await memory.revert(oslo.id);
    expect(ledger.list().map(({ target }) => target)).toEqual(["Oslo"]);
    now = 4000;
    await memory.forget(oslo.id);
    expect(ledger.list()).toEqual([]);
    expect(ledger.show(rome.id).events.map(({ kind, act, status }) => [kind, act, status])).toEqual([
      ["write", 1, "live"],
      ["supersede", 2, "superseded"],
      ["restore", 4, "live"],
      ["supersede", 6, "superseded"],
    ]);
    expect(ledger.log({ limit: 2 }).map(({ seq, kind, target, time }) => [seq, kind, target, time])).toEqual([
      [8, "forget", "Oslo", 4000],
      [7, "restore", "Oslo", 3000],
    ]);
    expect(ledger.log({ since: 2000, until: 2500 }).map(({ kind, source }) => [kind, source])).toEqual([
      ["write", "cli"],
      ["supersede", "test"],
    ]);
    expect(ledger.log({ before: 3, kinds: ["write"] }).map(({ seq }) => seq)).toEqual([1]);
    // To a moment, by time and by event
    await memory.revertTo({ time: 1500 });
    expect(ledger.list().map(({ target }) => target)).toEqual(["Rome"]);
    await memory.revertTo({ event: 2 }); // the second of three events of one deed: all of it
    expect(ledger.list({ status: "any" }).map(({ target, status }) => [target, status])).toEqual([
      ["Rome", "superseded"],
      ["Oslo", "live"],
    ]);
    await memory.revertTo({ time: 0 });
    expect(ledger.list()).toEqual([]);
    expect(memory.verify()).toMatchObject({ facts: 0, equal: true });
    await memory.close();
  });

  test("goes back to the fact whose place was taken last", async () => {
    const memory = await open("chain");
    const [a, b, c] = [
      await memory.write(sumFact("Q?", "a")),
      await memory.write(sumFact("Q?", "b")),
      await memory.write(sumFact("Q?", "c")),
    ];
    const live = () => memory.ledger.list().map(({ target }) => target);
    await memory.revert(a.id);
    expect(live()).toEqual(["a"]);
    await memory.revert(c.id); // now c has taken the place of b, and then of a
    expect(memory.ledger.show(c.id).supersedes.map(({ id }) => id)).toEqual([a.id, b.id]);
    await memory.revert(c.id);
    expect(live()).toEqual(["a"]);
    await memory.close();
  });

  test("keeps receipts, and counts", async () => {
    const memory = await open("receipts");
    const receipt = { probability: { before: 0.01, after: 0.98 }, seconds: { write: 0.002 } };
    const { id } = await memory.write(sumFact("One?", "1", { receipt }));
    const [two] = await memory.writeAll([sumFact("Two?", "2"), sumFact("Three?", "3")]);
    memory.setReceipt(two.id, { answer: { before: "no", after: "2" } });
    expect([id, two.id].map((one) => memory.ledger.show(one).receipt)).toEqual([
      receipt,
      { answer: { before: "no", after: "2" } },
    ]);
    await memory.writeAll([sumFact("Four?", "4"), sumFact("Five?", "5")]);
    await memory.forget(two.id, id);
    expect(memory.stats()).toMatchObject({
      live: 3,
      forgotten: 2,
      superseded: 0,
      events: 7,
      placements: { 0: 2, 1: 1 },
      vectorBytes: 80,
      unsaved: 7,
      snapshots: [],
    });
    await memory.save();
    expect(memory.stats()).toMatchObject({ unsaved: 0, snapshots: [{ seq: 7 }], notes: [] });
    await memory.close();
  });

  test("finds facts by their words", async () => {
    const memory = await open("find");
    await memory.writeAll([
      sumFact("What is the capital of Norway?", "Oslo"),
      sumFact("What is the capital of Sweden?", "Stockholm", { rephrasings: ["Sweden is governed from"] }),
      sumFact("挪威的首都是哪里？", "奥斯陆"),
    ]);
    const { ledger } = memory;
    const found = (query: string) => ledger.find(query).map(({ target }) => target);
    expect(found("capital of norway")[0]).toBe("Oslo");
    expect(found("stockholm")).toEqual(["Stockholm"]);
    expect(found("is governed from")).toEqual(["Stockholm"]);
    expect(found("capitol of Norwey")[0]).toBe("Oslo");
    expect(found("挪威的首都")).toEqual(["奥斯陆"]);
    expect(found("zebra")).toEqual([]);
    expect(ledger.find("capital", { limit: 1 })).toHaveLength(1);
    await memory.close();
  });

  test("knows when two prompts are the same", () => {
    expect(subjectOf("  Where IS\tAnn ? ")).toBe("where is ann");
    expect(subjectOf("安在哪里？")).toBe(subjectOf("安在哪里"));
    expect(subjectOf("What is C#?")).not.toBe(subjectOf("What is C?"));
  });
});

describe("bad input leaves the memory as before", () => {
  test("facts that cannot be written", async () => {
    const store = sumMemory({ places: 1 });
    const memory = await open("bad", { store });
    await memory.write(sumFact("One?", "1"));
    const before = stateOf(memory, store);
    const write = (prompt: string, target: string, more = {}) =>
      refused(() => memory.write(sumFact(prompt, target, more)));
    expect(await write(" ?", "x")).toMatch(/expected a prompt with text in it, got " \?"/);
    expect(await write("a?", " ")).toMatch(/expected a target with text in it/);
    expect(await write("a?", "b", { rephrasings: [""] })).toMatch(/expected a rephrasing with text/);
    expect(await write("a\ud800?", "b")).toMatch(/expected a prompt of whole characters/);
    expect(await write("a?", "b".repeat(factBytes))).toMatch(/at most 6144 bytes, got 6146 of text alone; shorten/);
    expect(await write("a?", "b", { value: new Uint8Array(factBytes) })).toMatch(
      /at most 6144 bytes, got 6159 \(7 of text, 6152 of key and value\); shorten its texts or give fewer rephrasings/,
    );
    const list = [sumFact("Two?", "2"), sumFact("One?", "uno"), sumFact("two", "zwei")];
    const nameOf = (i: number): string => `line ${i + 1}`;
    expect(await refused(() => memory.writeAll(list, { nameOf }))).toMatch(
      /expected one fact about "two", got "zwei" after "2" in line 3 \(first in line 1\); remove one/,
    );
    expect(await refused(() => memory.writeAll([list[0], list[0]], { nameOf }))).toMatch(
      /the same fact again in line 2/,
    );
    // The memory refuses the fourth of four: the one whose place was to be taken is back
    const many = [sumFact("One?", "uno"), ...["a", "b", "c", "d"].map((word) => sumFact(word, word))];
    expect(await refused(() => memory.writeAll(many))).toMatch(/expected room in 1 places, got none/);
    expect(stateOf(memory, store)).toEqual(before);
    expect(memory.verify().equal).toBe(true);
    await memory.close();
  });

  test("ids that nobody has", async () => {
    const store = sumMemory();
    const memory = await open("ids", { store });
    expect(await refused(() => memory.forget("abcdef"))).toMatch(/got "abcdef"; `mneme log` lists them$/);
    const { id } = await memory.write(sumFact("Where does Ann live?", "Rome"));
    const before = stateOf(memory, store);
    const wrong = id.slice(0, 6) + (id[6] === "0" ? "1" : "0");
    expect(await refused(() => memory.forget(wrong))).toContain(`nearest are ${id} (Where does Ann live? -> Rome)`);
    expect(await refused(() => memory.revert("where does Anna live"))).toContain(`nearest are ${id}`);
    expect(await refused(() => memory.ledger.show(id.slice(0, 3)))).toContain(`nearest are ${id}`);
    expect(await refused(() => memory.ledger.show(id.slice(0, 2)))).toContain(`nearest are ${id}`);
    expect(await refused(() => memory.forget(id, "0000000"))).toMatch(/^forget: expected the id of a fact/);
    expect(await refused(() => memory.revertTo({ event: 9 }))).toMatch(/expected an event up to 1, got 9/);
    expect(await refused(() => memory.revertTo({ time: Number.NaN }))).toMatch(/^revertTo: expected a time/);
    expect(stateOf(memory, store)).toEqual(before);
    await memory.forget(id);
    expect(await refused(() => memory.forget(id))).toMatch(/expected a live fact, got .* which is forgotten;/);
    await memory.close();
  });

  test("a full disk", async () => {
    const store = sumMemory();
    const memory = await open("full", { store });
    await memory.write(sumFact("One?", "1"));
    const before = stateOf(memory, store);
    const { db } = memory.ledger;
    const pages = db.statement("PRAGMA page_count").get()?.page_count as number;
    db.exec(`PRAGMA max_page_count = ${pages}`);
    const big = sumFact("One?", "uno", { ...sumFact("x", "y"), value: new Uint8Array(5000) });
    expect(await refused(() => memory.write({ ...big, prompt: "One?", target: "uno" }))).toMatch(
      /got a full disk; make room and try again/,
    );
    expect(stateOf(memory, store)).toEqual(before);
    db.exec("PRAGMA max_page_count = 100000");
    await memory.write(sumFact("One?", "uno"));
    expect(memory.verify()).toMatchObject({ facts: 1, equal: true });
    await memory.close();
  });

  test("a full disk at a snapshot costs nothing but the snapshot", async () => {
    const memory = await open("full-snapshot", { snapshotEvery: 1 });
    // A folder where the file should go
    mkdirSync(join(root, "full-snapshot", "snapshot-1.safetensors"));
    await memory.write(sumFact("One?", "1"));
    expect(memory.stats()).toMatchObject({
      live: 1,
      snapshots: [],
      notes: [expect.stringMatching(/a folder of that name/)],
    });
    await memory.close();
  });
});

describe("a memory folder", () => {
  test("of a newer version, of another base, of somebody else is refused", async () => {
    await (await open("other")).close();
    const identity = { ...sumIdentity, base: "c".repeat(64) };
    expect(await refused(() => open("other", { identity }))).toMatch(
      /memory of base c{16}\.\.\., got .* of base a{16}/,
    );
    const db = new DatabaseSync(join(root, "other", "ledger.db"));
    db.exec("INSERT INTO migrations VALUES ('900-from-later', 'x')");
    db.close();
    expect(await refused(() => open("other"))).toMatch(/from a newer version \(it has 900-from-later\); update mneme/);
    mkdirSync(join(root, "photos"));
    writeFileSync(join(root, "photos", "a.jpg"), "x");
    expect(await refused(() => open("photos"))).toMatch(/got a folder with a\.jpg; name another folder/);
    expect(await refused(() => open("photos/a.jpg"))).toMatch(/got a file; name the folder/);
    expect(await refused(() => openLedger(join(root, "nowhere")))).toMatch(/got none; write a fact first/);
    expect(existsSync(join(root, "nowhere"))).toBe(false);
  });

  test("half deleted is refused, and a lost snapshot is not missed", async () => {
    const memory = await open("half");
    for (let i = 0; i < 5; i++) await memory.write(sumFact(`Question ${i}?`, "x"));
    await memory.save();
    await memory.close();
    const folder = join(root, "half");
    renameSync(join(folder, "ledger.db"), join(root, "aside.db"));
    expect(await refused(() => open("half"))).toMatch(/got only .*snapshot-5\.safetensors \(half deleted\?\)/);
    renameSync(join(root, "aside.db"), join(folder, "ledger.db"));
    writeFileSync(join(folder, "snapshot-9.safetensors"), "");
    expect(await refused(() => open("half"))).toMatch(
      /at least 9 events in .*, got 5 \(half deleted, or an older copy\?\)/,
    );
    rmSync(join(folder, "snapshot-9.safetensors"));
    truncateSync(join(folder, "snapshot-5.safetensors"), 50);
    const damaged = await open("half");
    expect(damaged.stats().notes).toEqual(["snapshot-5.safetensors is damaged: wrong checksum"]);
    expect(damaged.verify()).toEqual({ events: 5, facts: 5, equal: true });
    await damaged.close();
    rmSync(join(folder, "snapshot-5.safetensors"));
    const lost = await open("half");
    expect(lost.verify()).toEqual({ events: 5, facts: 5, equal: true });
    // Deleted under a process that has it open: it does not go on writing into nothing
    rmSync(join(folder, "ledger.db"));
    expect(await refused(() => lost.write(sumFact("New?", "x")))).toMatch(/got none \(deleted or replaced\)/);
    lost.ledger.close();
  });

  test("with a changed past is found out", async () => {
    const memory = await open("changed");
    await memory.write(sumFact("One?", "1"));
    const { id } = await memory.write(sumFact("Two?", "2"));
    const { db } = memory.ledger;
    expect(() => db.exec("DELETE FROM events WHERE seq = 1")).toThrow("append-only");
    expect(() => db.exec("UPDATE events SET time = 1")).toThrow("append-only");
    db.exec("UPDATE facts SET target = 'zwei' WHERE number = 2");
    expect(await refused(() => memory.verify())).toContain(`expected fact ${id} as it was written`);
    db.exec("UPDATE facts SET target = '2', status = 'forgotten' WHERE number = 2");
    expect(await refused(() => memory.verify())).toContain("to stand as its last event says");
    db.exec("UPDATE facts SET status = 'live' WHERE number = 2");
    db.exec("DROP TRIGGER events_are_final; UPDATE events SET time = 1 WHERE seq = 1");
    expect(await refused(() => memory.verify())).toContain("the history as it was written, event 1");
    db.exec("PRAGMA foreign_keys = OFF; DELETE FROM vectors WHERE number = 2");
    memory.ledger.close();
    expect(await refused(() => open("changed"))).toMatch(
      /expected key and value of fact 2, got none; the ledger is damaged/,
    );
  });

  test("is opened from snapshots, of which two are kept", async () => {
    const memory = await open("snapshots", { snapshotEvery: 3 });
    for (let i = 0; i < 10; i++) await memory.write(sumFact(`Question ${i}?`, "x"));
    memory.ledger.close();
    const files = readdirSync(join(root, "snapshots")).filter((name) => name.startsWith("snapshot-"));
    expect(files.toSorted()).toEqual(["snapshot-6.safetensors", "snapshot-9.safetensors"]);
    const store = sumMemory();
    let replayed = 0;
    const counting: MemoryStore = {
      ...store,
      replay: (facts) => store.replay(facts.map((fact) => (replayed++, fact))),
    };
    const again = await open("snapshots", { store: counting });
    expect(replayed).toBe(1);
    expect(again.verify()).toEqual({ events: 10, facts: 10, equal: true });
    await again.close();
  });

  test("takes the writes of two processes, one after another, and loses none", { timeout: 120_000 }, async () => {
    const folder = join(root, "two");
    const ends = ["left", "right"].map((name) => {
      const args = [...scriptArguments("tests/support/ledger-child.ts"), folder, name, "0", "60"];
      const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"] });
      return new Promise((resolve) => child.on("close", resolve));
    });
    expect(await Promise.all(ends)).toEqual([0, 0]);
    const memory = await open("two", { store: sumMemory({ room: 16 }) });
    for (const name of ["left", "right"]) {
      const own = memory.ledger.list({ status: "any" }).filter(({ prompt }) => prompt.endsWith(`${name}?`));
      expect(own.map(({ prompt, target, status }) => ({ prompt, target, status }))).toEqual(
        ledgerAfter(ledgerScript(60, name)),
      );
    }
    expect(memory.verify().equal).toBe(true);
    await memory.close();
  });
});
