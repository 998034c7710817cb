/** Documents through a method, its ledger and its bank: learned, asked, forgotten, taken back, refused, recovered. */
import { copyFileSync, cpSync, existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import "../../tests/support/bank-method-preload.ts";
import { bankCodebook, bankMethod, type BankMethodOptions } from "../../tests/support/bank-method.ts";
import { onFullDisk } from "../../tests/support/full-disk.ts";
import { workbench } from "../../tests/support/workbench.ts";
import { type BankEntry, openBank } from "../memory/bank.ts";
import { recoded } from "../memory/bank-entry.ts";
import type { Codebook } from "../memory/codebook.ts";
import type { Document, Method } from "../methods/method.ts";
import { type DocumentMemory, openDocumentMemory } from "./document-memory.ts";
import { openDocumentStore } from "./document-store.ts";
import { exportMemory, importMemory } from "./ledger-archive.ts";
import { openStoredMemory } from "./stored-memory.ts";

const { root } = workbench("document-memory");
const named = (name: string): string => join(root, name);
const bankOf = (name: string): string => named(join(name, "bank"));
let moment = 1_000;
const openWith = (name: string, method: Method): Promise<DocumentMemory> =>
  openDocumentMemory(named(name), method, { durability: "process", clock: () => (moment += 1) });
const made: Method[] = [];
async function stub(options: BankMethodOptions = {}): Promise<Method> {
  const method = await bankMethod({ own: named(`own bank ${made.length}`), ...options });
  made.push(method);
  return method;
}
const open = async (name: string, options: BankMethodOptions = {}): Promise<DocumentMemory> =>
  openWith(name, await stub(options));
afterAll(() => Promise.all(made.map((method) => method.dispose())));

const harbour: Document = {
  id: "harbour",
  text: "Mara counts seven blue boats at the harbour wall every morning",
  time: 7,
};
const oven: Document = { id: "oven", text: "The oven is hot" };
const rope: Document = { id: "rope", text: "Bo ties the rope" };

/** The documents of the bank with their indices, sorted. */
async function held({ bank }: Pick<DocumentMemory, "bank">): Promise<string[]> {
  const lines: string[] = [];
  for await (const page of bank.pages()) {
    lines.push(...page.map(({ document, time, indices, key }) => [document, time, ...indices, ...key].join(" ")));
  }
  return lines.toSorted();
}

test("documents are learned, asked, replaced, forgotten and taken back", async () => {
  const memory = await open("story");
  const empty = await memory.ask("Who counts the boats?");
  expect(empty).toMatchObject({ answer: "unknown", without: "unknown", read: [], documents: 0 });

  const learned = await memory.learn([harbour, oven], { source: (i) => `file ${i}` });
  expect(learned).toMatchObject([
    { document: "harbour", outcome: "written", chunks: 2, tokens: 11 },
    { document: "oven", outcome: "written", chunks: 1, tokens: 4 },
  ]);
  const asked = await memory.ask("Who counts the boats?");
  expect(asked).toMatchObject({ answer: "as harbour says", without: "unknown", documents: 2 });
  // "counts", "the" and "boats" of the harbour, "the" of the oven, a hundredth for each document
  expect(asked.read).toMatchObject([
    { id: learned[0].id, document: "harbour", opening: harbour.text, weight: 3.01 / 4.02 },
    { id: learned[1].id, document: "oven", weight: 1.01 / 4.02 },
  ]);
  expect(memory.ledger.show(learned[0].id)).toMatchObject({
    prompt: "harbour",
    target: harbour.text,
    source: "file 0",
    status: "live",
    document: { bytes: 62, chunks: 2, tokens: 11, time: 7 },
    receipt: { error: 0.11 },
  });

  // The same again is a duplicate; another text takes the place of the old one, which stays in the history
  const before = await held(memory);
  const [again] = await memory.learn([oven]);
  expect(again).toMatchObject({ id: learned[1].id, outcome: "duplicate" });
  const [cold] = await memory.learn([{ id: "oven", text: "The oven is cold" }]);
  expect(cold).toMatchObject({ outcome: "superseding", supersedes: learned[1].id });
  expect(memory.ledger.show(learned[1].id)).toMatchObject({ status: "superseded", supersededBy: cold.id });
  expect(memory.ledger.resolveDocument("oven").id).toBe(cold.id);
  expect(await held(memory)).not.toEqual(before);
  await memory.revert(cold.id);
  expect(await held(memory)).toEqual(before);

  const oven7 = memory.ledger.resolveDocument("oven").id;
  await memory.forget(memory.ledger.resolveDocument("harbour").id, oven7);
  expect(await memory.ask("Who counts the boats?")).toEqual(empty);
  expect(memory.bank.count()).toBe(0);
  await memory.revertTo({ event: 2 });
  expect(await memory.ask("Who counts the boats?")).toEqual(asked);
  expect(await held(memory)).toEqual(before);
  expect(memory.ledger.log({ limit: 3 }).map(({ kind, prompt, document }) => [kind, prompt, document?.chunks])).toEqual(
    [
      ["restore", "oven", 1],
      ["restore", "harbour", 2],
      ["forget", "oven", 1],
    ],
  );
  expect(await memory.verify()).toMatchObject({ facts: 2, equal: true });
  expect(memory.notices()).toEqual([]);
  await memory.close();

  // As it was, for whoever opens it; without a model it can still be forgotten from
  const stored = await openStoredMemory(named("story"));
  await stored.forget(learned[0].id);
  await stored.close();
  const last = await open("story");
  expect((await held(last)).map((line) => line.split(" ")[0])).toEqual(["oven"]);
  await last.close();
});

test("what it weighs, how its codebook is used and what it is worth", async () => {
  const memory = await open("figures");
  await memory.learn([harbour, oven, rope]);
  const { value, ...stats } = await memory.stats([
    { question: "Who counts the boats?", answer: "as harbour says", document: "harbour" },
    { question: "Who counts the boats?", answer: "nobody" },
    { question: "What is hot?", answer: "unknown", document: "oven" },
  ]);
  // 2 - 0.5, 2 - 2 and 0.5 - 2
  expect(value).toEqual({
    mean: 0,
    probes: 3,
    documents: [
      { document: "harbour", mean: 1.5, probes: 1 },
      { document: "oven", mean: -1.5, probes: 1 },
    ],
  });
  // Four entries of six indices of ten bits, with keys of four steps and a scale
  expect(stats.bank).toMatchObject({
    entries: 4,
    documents: 3,
    indices: 4 * 60,
    keys: 4 * 48,
    ids: 8 * (7 + 7 + 4 + 4),
  });
  const counts = memory.bank.histogram(1);
  const shares = [...counts].filter((count) => count > 0).map((count) => count / 24);
  const entropy = shares.reduce((sum, share) => sum - share * Math.log(share), 0);
  expect(stats.codebooks).toMatchObject([
    { version: 1, entries: 4, codes: 1024, books: 1, dead: 1024 - shares.length },
  ]);
  expect(stats.codebooks[0].perplexity).toBeCloseTo(Math.exp(entropy), 9);
  expect(stats.drift?.first).toBe(0.11);
  expect(stats.drift?.moved).toBeCloseTo(0.04 - 0.11, 12);
  await memory.close();
});

test("batches: what is acknowledged stays, and the same call again goes on", async () => {
  const documents = Array.from({ length: 10 }, (_, i) => ({ id: `note ${i}`, text: `Note ${i} is about boats` }));
  const memory = await open("batches");
  const stop = new AbortController();
  const running = memory.learn(documents, {
    batch: 3,
    signal: stop.signal,
    onProgress: (done) => done === 6 && stop.abort(new Error("stopped")),
  });
  await expect(running).rejects.toThrow("stopped");
  expect(memory.bank.count()).toBe(6);
  const outcomes = (await memory.learn(documents, { batch: 4 })).map(({ outcome }) => outcome);
  expect(outcomes).toEqual([...Array(6).fill("duplicate"), ...Array(4).fill("written")]);
  // A batch that fails leaves the ones before it
  const more = [
    { id: "a", text: "One" },
    { id: "b", text: "Two" },
    { id: "c", text: "..." },
  ];
  await expect(memory.learn(more, { batch: 2 })).rejects.toThrow(
    /got none in document 3; give it some; the 2 documents/,
  );
  expect(memory.bank.count()).toBe(12);
  await memory.close();
});

test("what a crash left between bank and ledger is put right at the next opening", async () => {
  const memory = await open("crash");
  await memory.learn([harbour, oven, rope]);
  const before = await held(memory);
  await memory.close();

  const bank = await openBank(bankOf("crash"));
  // In the bank and never acknowledged; gone, and in the ledger; replaced, and the ledger has the old one
  const [some] = await bank.read(bank.numbersOf("oven"));
  await bank.append([{ ...some, document: "new" }]);
  await bank.delete("rope");
  await bank.replace([{ ...some, document: "harbour", time: 9 }]);
  await bank.close();

  const after = await open("crash");
  expect(await held(after)).toEqual(before);
  expect(after.notices()).toEqual([
    'took out of the bank what was never acknowledged: "new"',
    'put back into the bank from the ledger: "harbour", "rope"',
  ]);
  expect(await after.ask("Who ties the rope?")).toMatchObject({ answer: "as rope says" });
  await after.close();

  // The whole bank gone
  rmSync(bankOf("crash"), { recursive: true });
  const anew = await open("crash");
  expect(await held(anew)).toEqual(before);
  await anew.close();
});

test("a full disk: the memory is as before", async () => {
  const memory = await open("full");
  await memory.learn([harbour, oven]);
  const before = await held(memory);
  await memory.close();
  const method = await stub();
  await onFullDisk(5, async () => {
    const full = await openWith("full", method);
    await expect(full.learn([{ id: "oven", text: "The oven is cold" }, rope])).rejects.toThrow(/the disk is full/);
    expect(await held(full)).toEqual(before);
    await full.close().catch(() => undefined);
  });
  const after = await open("full");
  expect(await held(after)).toEqual(before);
  expect(after.notices()).toEqual([]);

  // The ledger's disk: the bank has the documents already, and gives them up again
  after.ledger.db.exec(`PRAGMA max_page_count = ${after.ledger.db.statement("PRAGMA page_count").get()?.page_count}`);
  const long = Array.from({ length: 200 }, (_, i) => ({ id: `long ${i}`, text: `word${i} `.repeat(60) }));
  await expect(after.learn([{ id: "oven", text: "The oven is cold" }, ...long], { batch: 1000 })).rejects.toThrow(
    /got a full disk/,
  );
  expect(await held(after)).toEqual(before);
  expect(after.ledger.counts()).toMatchObject({ live: 2, events: 2 });
  await after.close();
});

test("bad documents are refused before anything is written", async () => {
  const memory = await open("bad");
  await memory.learn([harbour]);
  const nameOf = (i: number): string => `line ${i + 3}`;
  const cases: [Document[], RegExp][] = [
    [[rope, { id: "x", text: " \n" }], /learn: expected a text in document "x", got an empty one in line 4; leave/],
    [[rope, { id: " ", text: "x" }], /expected a document id of 1 to 4096 bytes, got none in line 4/],
    [[rope, { id: "i".repeat(5000), text: "x" }], /expected a document id of 1 to 4096 bytes, got 5000 in line 4/],
    [[rope, oven, rope], /expected one text for document "rope", got the same again, first in line 3, in line 5/],
    [[rope, { id: "rope", text: "x" }], /expected one text for document "rope", got another text, first in line 3/],
    [[{ id: "x", text: "\ud800" }], /expected whole characters in document "x"/],
    [[{ id: "x", text: "x", time: 0.5 }], /expected a whole number as the time of document "x", got 0\.5 in line 3/],
  ];
  for (const [documents, message] of cases) {
    const error: unknown = await memory.learn(documents, { nameOf }).catch((one: unknown) => one);
    expect((error as Error).message).toMatch(message);
  }
  await expect(memory.ask(" ")).rejects.toThrow(/expected a question/);
  expect(() => memory.ledger.resolveDocument("harbor", "forget")).toThrow(
    /forget: expected the id of a document in the memory, got "harbor"; nearest are [0-9a-f]{12} \(harbour: Mara counts/,
  );
  expect((await held(memory)).length).toBe(2);
  await memory.close();
});

test("a memory of another module is refused, and one in use", async () => {
  const memory = await open("mine");
  await memory.learn([harbour]);
  await expect(open("mine")).rejects.toThrow(/expected .*bank to be free, got a lock of this process/);
  await memory.close();
  await expect(open("mine", { module: "other" })).rejects.toThrow(
    /expected a memory of module [0-9a-f]{16}\.\.\., got/,
  );
  // The ledger fits, and the bank is of another memory
  const theirs = await open("theirs", { module: "other" });
  await theirs.learn([oven]);
  await theirs.close();
  cpSync(named("mine"), named("mixed"), { recursive: true });
  rmSync(bankOf("mixed"), { recursive: true });
  cpSync(bankOf("theirs"), bankOf("mixed"), { recursive: true });
  await expect(open("mixed")).rejects.toThrow(
    /expected a bank of module "module plain" in .*, got one of "module other".*`mneme memory recover --memory/,
  );
  const mended = await openDocumentStore(named("mixed"), { recover: true });
  expect(mended.recovery).toMatchObject({
    missing: ["harbour"],
    extra: [],
    anew: expect.stringMatching(/^openBank: expected .*, got one of "module other"$/),
  });
  await mended.close();
  expect(existsSync(named("mixed/bank.damaged"))).toBe(true);
});

test("a codebook of another version is refused, and a new one leaves old entries readable", async () => {
  const memory = await open("codebook");
  await memory.learn([harbour]);
  const before = await held(memory);
  await memory.close();
  // The same memory whose bank has another codebook 1
  const other = await open("other codebook", { shift: 1 });
  await other.learn([harbour]);
  await other.close();
  cpSync(named("codebook"), named("swapped"), { recursive: true });
  rmSync(bankOf("swapped"), { recursive: true });
  cpSync(bankOf("other codebook"), bankOf("swapped"), { recursive: true });
  const refused = /expected codebook 1 of .* in its bank, got another one: the bank is of another codebook version/;
  await expect(open("swapped")).rejects.toThrow(refused);
  const mended = await openDocumentStore(named("swapped"), { recover: true });
  expect(mended.recovery).toMatchObject({ missing: ["harbour"], anew: expect.stringMatching(refused) });
  expect(await held(mended)).toEqual(before);
  await mended.close();
  // Its file replaced
  copyFileSync(
    join(bankOf("other codebook"), "codebook-1.safetensors"),
    join(bankOf("codebook"), "codebook-1.safetensors"),
  );
  await expect(open("codebook")).rejects.toThrow(/expected codebook 1 with SHA-256 .*`mneme memory recover/);
  const again = await openDocumentStore(named("codebook"), { recover: true });
  expect(await held(again)).toEqual(before);
  await again.close();

  // The method has moved on: what was there stays, what comes is of the new version
  const moved = await open("codebook", { shift: 2 });
  await moved.learn([rope]);
  const versions = async ({ bank }: DocumentMemory): Promise<unknown[]> => {
    const found: unknown[] = [];
    for await (const page of bank.pages()) found.push(...page.map(({ document, version }) => [document, version]));
    return found;
  };
  const both = [
    ["harbour", 1],
    ["harbour", 1],
    ["rope", 2],
  ];
  expect(await versions(moved)).toEqual(both);
  await moved.close();
  rmSync(bankOf("codebook"), { recursive: true });
  const anew = await open("codebook", { shift: 2 });
  expect(await versions(anew)).toEqual(both);
  expect(anew.bank.quantizer(1).codebook.data[17]).toBe(2.125);
  expect(anew.bank.quantizer(2).codebook.data[17]).toBe(4.125);
  await anew.close();
});

const all = ["harbour", "oven", "rope"];

test.each([
  ["a flipped bit", (log: string) => writeFileSync(log, flipped(log)), { lost: 1, missing: ["harbour"] }],
  ["a cut off end", (log: string) => truncateSync(log, readFileSync(log).length - 9), { lost: 2, missing: ["rope"] }],
  ["a bank without its settings", (log: string) => rmSync(join(log, "..", "bank.json")), { lost: 0, missing: all }],
  ["a bank without its log", (log: string) => rmSync(log), { lost: 0, missing: all }],
])("%s is named, and the ledger brings back what is lost", async (name, spoil, { lost, missing }) => {
  const memory = await open(name);
  await memory.learn([harbour, oven, rope]);
  const before = await held(memory);
  await memory.close();
  spoil(join(bankOf(name), "entries.log"));
  await expect(open(name)).rejects.toThrow(
    /, or run `mneme memory recover --memory .*`, which mends it from the ledger$/,
  );
  const mended = await openDocumentStore(named(name), { recover: true });
  expect(mended.recovery?.missing).toEqual(missing);
  expect(mended.recovery?.lost).toHaveLength(lost);
  expect(await held(mended)).toEqual(before);
  await mended.close();
  const whole = await open(name);
  expect(await held(whole)).toEqual(before);
  expect(whole.notices()).toEqual([]);
  await whole.close();
});

/** A log with a bit of its first entry turned over. */
function flipped(log: string): Buffer {
  const bytes = readFileSync(log);
  bytes[bytes.indexOf("harbour") + 20] ^= 4;
  return bytes;
}

test("to another place, and the same there: the bank is made from the ledger", async () => {
  const method = await stub();
  const memory = await openWith("here", method);
  await memory.learn([harbour, oven]);
  await memory.forget(memory.ledger.resolveDocument("oven").id);
  const [before, asked] = [await held(memory), await memory.ask("Who counts the boats?")];
  await exportMemory(memory.ledger, named("copy.mneme"));
  await memory.close();
  await importMemory(named("copy.mneme"), named("there"), { identity: method.documents?.identity ?? {} });
  const there = await open("there");
  expect(await held(there)).toEqual(before);
  expect(await there.ask("Who counts the boats?")).toEqual(asked);
  expect(await there.verify()).toMatchObject({ events: 3, facts: 1, equal: true });
  await there.close();
});

test("forgetting a document forgets all its texts, and taking that back brings all of them back", async () => {
  const memory = await open("versions");
  const at = (n: number): Document => ({ id: "oven", text: `The oven is at ${n} degrees` });
  const ids: string[] = [];
  for (const n of [1, 2, 3]) ids.push((await memory.learn([at(n)]))[0].id);
  await memory.learn([rope]);
  const before = await held(memory);
  const standing = () =>
    ids.map((id) => memory.ledger.show(id)).map(({ status, supersededBy }) => [status, supersededBy]);
  const stood = [
    ["superseded", ids[1]],
    ["superseded", ids[2]],
    ["live", null],
  ];
  expect(standing()).toEqual(stood);

  const gone = await memory.forget(memory.ledger.resolveDocument("oven").id);
  expect(gone.map(({ id, before: was, after }) => [id, was, after])).toEqual([
    [ids[2], "live", "forgotten"],
    [ids[1], "superseded", "forgotten"],
    [ids[0], "superseded", "forgotten"],
  ]);
  expect([...memory.bank.documents()]).toEqual(["rope"]);
  expect(memory.ledger.counts()).toMatchObject({ live: 1, forgotten: 3, superseded: 0 });
  expect(() => memory.ledger.resolveDocument("oven", "forget")).toThrow(/expected the id of a document in the memory/);
  await memory.revert(ids[2]);
  expect([standing(), await held(memory)]).toEqual([stood, before]);

  // A replacement taken back: the earlier text is read again, and forgotten with what is before it
  await memory.revert(ids[2]);
  expect(standing()).toEqual([
    ["superseded", ids[1]],
    ["live", null],
    ["forgotten", null],
  ]);
  expect(memory.ledger.resolveDocument("oven").target).toBe("The oven is at 2 degrees");
  expect((await memory.forget(ids[1])).map(({ id }) => id)).toEqual([ids[1], ids[0]]);
  // An earlier text can be brought back alone; all of it is one history
  await memory.revert(ids[0]);
  expect(standing().map(([status]) => status)).toEqual(["live", "forgotten", "forgotten"]);
  await memory.revertTo({ event: 6 });
  expect([standing(), await held(memory)]).toEqual([stood, before]);
  expect(await memory.verify()).toMatchObject({ facts: 2, equal: true });
  await memory.close();
});

test("a limited memory: the oldest go, and everything says so", async () => {
  const note = (n: number): Document => ({ id: `n${n}`, text: `Note ${n}` });
  const memory = await open("limited", { mostEntries: 3 });
  const learned = await memory.learn([note(1), harbour, note(2), note(3)]);
  expect(learned.map(({ evicted = [] }) => evicted.map(({ document }) => document))).toEqual([
    [],
    [],
    ["n1"],
    ["harbour"],
  ]);
  expect(learned[3]).toMatchObject({ outcome: "written", evicted: [{ id: learned[1].id, document: "harbour" }] });
  // The harbour had two entries: there is room for one that went
  const [one] = await memory.learn([note(1)]);
  expect(one.evicted).toBeUndefined();
  const names = async (): Promise<string[]> => (await held(memory)).map((line) => line.split(" ")[0]);
  expect(await names()).toEqual(["n1", "n2", "n3"]);
  const [oldest] = memory.ledger.list({ status: "any" });
  expect(memory.ledger.show(learned[3].id).receipt).toMatchObject({ evicted: ["harbour"] });
  expect(memory.ledger.show(oldest.id)).toMatchObject({
    status: "forgotten",
    events: [{ kind: "write" }, { kind: "evict" }],
  });
  expect(memory.ledger.log({ kinds: ["evict"] }).map(({ prompt, act }) => [prompt, act])).toEqual([
    ["harbour", 3],
    ["n1", 3],
  ]);
  expect((await memory.stats()).limit).toBe(3);

  // Nothing comes back into a full memory, and a document must fit
  await expect(memory.revert(learned[1].id)).rejects.toThrow(
    /^revert: expected at most 3 entries, which the memory is limited to, got 5; forget something/,
  );
  const long = { id: "long", text: "word ".repeat(24) };
  await expect(memory.learn([rope, long])).rejects.toThrow(
    "learn: expected documents of at most 3 entries, which the memory is limited to, got 4 in document 2; cut it",
  );
  expect(await names()).toEqual(["n1", "n2", "n3"]);
  await memory.close();

  // It stays limited, whoever opens it; another limit holds from the next write on
  const stored = await openStoredMemory(named("limited"));
  await stored.forget(one.id);
  await expect(stored.revert(learned[1].id)).rejects.toThrow(/at most 3 entries.*got 4/);
  await stored.close();
  const wider = await open("limited", { mostEntries: 5 });
  await wider.learn([rope]);
  await wider.revert(learned[1].id);
  expect(wider.bank.count()).toBe(5);
  await wider.close();
  const plain = await open("limited");
  const more = await plain.learn(Array.from({ length: 6 }, (_, i) => note(10 + i)));
  expect(more.flatMap(({ evicted = [] }) => evicted.map(({ document }) => document))).toEqual([
    "harbour",
    "n2",
    "n3",
    "rope",
    "n10",
  ]);
  expect(await plain.verify()).toMatchObject({ facts: 5, equal: true });
  await plain.close();
  await expect((await open("limited", { mostEntries: 0 })).learn([rope])).rejects.toThrow(
    "memory: expected a limit of 1 entry or more, got 0",
  );
});

test("a bank that is coded anew stays so", async () => {
  const memory = await open("recoded");
  const [, { id }] = await memory.learn([harbour, oven]);
  await memory.learn([{ ...oven, text: "The oven is cold" }]);
  const codes = (shift: number): Codebook => ({
    ...bankCodebook(shift),
    codes: 512,
    data: bankCodebook(shift).data.slice(1024),
  });
  const version = await memory.bank.addCodebook(codes(0.25));
  const { bank } = memory;
  const recode = (entry: BankEntry) => recoded(entry, bank.quantizer(entry.version), bank.quantizer(version), version);
  await memory.learn([rope]);
  const before = await held(memory);
  await bank.compact({ recode });
  expect(bank.versions()).toEqual([version]);
  const anew = await held(memory);
  expect(anew).not.toEqual(before);
  await memory.close();

  const after = await open("recoded");
  expect([after.notices(), await held(after), await after.verify()]).toMatchObject([[], anew, { equal: true }]);
  // What the bank has lost comes back in its codes; so does what was forgotten before, in codes that it has dropped
  await after.forget(after.ledger.resolveDocument("harbour").id);
  await after.revert(after.ledger.list({ status: "any" })[0].id);
  // Opened again, the method goes on with the codebook it has: what comes back is in its codes
  const mixed = [...before.slice(0, 2), ...anew.slice(2)];
  expect(await held(after)).toEqual(mixed);
  await after.close();
  const last = await open("recoded");
  await last.revert(id);
  expect(last.notices()).toEqual([]);
  expect(last.ledger.resolveDocument("oven").target).toBe(oven.text);
  await last.close();
  // Codes of anything else are not taken
  const damaged = await openBank(bankOf("recoded"));
  await damaged.compact({ recode: ({ indices }) => ({ version, indices: indices.map(() => 3) }) });
  await damaged.close();
  const mended = await open("recoded");
  expect(mended.notices()).toMatchObject(
    [/^put back into the bank from the ledger: "harbour"/].map((one) => expect.stringMatching(one)),
  );
  await mended.close();
});
