/** The bank in RAM is the bank on disk: same deeds, same entries, numbers, counts, bits and refusals. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { randomStream } from "../tensor/random.ts";
import { type BankEntry, openBank } from "./bank.ts";
import type { BankEntries } from "./bank-entries.ts";
import type { Codebook } from "./codebook.ts";
import { fullPrecision } from "./full-precision.ts";
import { createMemoryBank, type MemoryBank } from "./memory-bank.ts";
import type { MemoryState } from "./packed.ts";

const root = mkdtempSync(join(tmpdir(), "mneme-memory-bank-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folders = 0;

const [tokens, limit] = [3, 8];
const keys = { width: 5, bits: 8 } as const;

/** Versions of different kinds and sizes, in turn; the fourth is full precision. */
function codebookOf(n: number): Codebook {
  if (n % 4 === 3) return fullPrecision(tokens, 2, { bits: 16 });
  const kind = (["token", "slot", "residual"] as const)[n % 4];
  const [codes, books] = [
    [5, 1],
    [8, tokens],
    [33, 2],
  ][n % 4];
  const data = randomStream(n, "codes").fillNormal(new Float32Array(books * codes * 2));
  return { kind, tokens, width: 2, codes, books, data };
}

function entryOf(bank: BankEntries, document: string, seed: number, version = bank.versions().at(-1) ?? 0): BankEntry {
  const random = randomStream(seed, "entry");
  const vectors = random.fillNormal(new Float32Array(tokens * 2));
  const { indices } = bank.quantizer(version).encode(vectors);
  const key = random.fillNormal(new Float32Array(keys.width));
  return { document, time: random.integer(2 ** 31) - 2 ** 30, key, version, indices };
}

/** Everything that can be asked of a bank. */
async function picture(bank: BankEntries) {
  const found: unknown[] = [];
  for await (const page of bank.pages({ size: 3 })) found.push(...page);
  const documents = [...bank.documents()];
  const { settings: _settings, codebooks, dead: _dead, total: _total, ...bits } = await bank.size();
  return {
    found,
    documents,
    numbers: documents.map((document) => bank.numbersOf(document)),
    read: await bank.read(documents.flatMap((document) => bank.numbersOf(document)).toReversed()),
    count: bank.count(),
    versions: bank.versions(),
    counts: bank.versions().map((version) => bank.histogram(version)),
    byPosition: bank.versions().map((version) => bank.histogram(version, { byPosition: true })),
    codes: bank.versions().map((version) => bank.quantizer(version).codebook),
    bits,
    uses: codebooks.map(({ version, entries }) => [version, entries]),
  };
}

/** What it gave or how it failed. */
const outcome = (work: Promise<unknown>): Promise<unknown> => work.catch((error: Error) => error.message);

const document = fc.integer({ min: 0, max: 5 }).map((n) => `d${n}`);
const seeds = fc.array(fc.nat(9999), { minLength: 1, maxLength: 3 });
const deed = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant("append" as const), document, seeds }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("replace" as const), document, seeds }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("delete" as const), document }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("codebook" as const), n: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("recode" as const) }) },
);

function doDeed(bank: BankEntries, one: typeof deed extends fc.Arbitrary<infer D> ? D : never): Promise<unknown> {
  if (one.do === "delete") return bank.delete(one.document);
  if (one.do === "codebook") return bank.addCodebook(codebookOf(one.n), { bits: one.n === 1 ? 32 : 16 });
  if (one.do === "recode") {
    const version = bank.versions().at(-1) as number;
    const recode = (entry: BankEntry) => ({
      version,
      indices: bank.quantizer(version).encode(bank.quantizer(entry.version).decode(entry.indices)).indices,
    });
    return bank.compact({ recode });
  }
  const own = one.seeds.map((seed) => entryOf(bank, one.document, seed));
  // Another document's entry amid this one's
  const entries = [...own.slice(0, 1), entryOf(bank, `other ${one.seeds[0] % 4}`, 1), ...own.slice(1)];
  return bank[one.do](entries);
}

test("whatever is done to both banks, they answer alike", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(deed, { minLength: 5, maxLength: 25 }), fc.boolean(), async (deeds, limited) => {
      const options = { module: "m", keys, slack: 200, ...(limited && { limit: { entries: limit } }) };
      const folder = join(root, `${++folders}`);
      const disk = await openBank(folder, { ...options, durability: "process" });
      const memory = createMemoryBank(options);
      for (const bank of [disk, memory]) await bank.addCodebook(codebookOf(2));
      for (const one of deeds) {
        const [onDisk, inMemory] = [await outcome(doDeed(disk, one)), await outcome(doDeed(memory, one))];
        expect(inMemory).toEqual(onDisk);
      }
      const want = await picture(disk);
      expect(await picture(memory)).toEqual(want);
      const { total, codebooks, settings, dead, ...parts } = await memory.size();
      const { indices, keys: keyBits, ids, times, frames } = parts;
      const books = codebooks.reduce((sum, { bits }) => sum + bits, 0);
      expect(total).toBe(indices + keyBits + ids + times + frames + dead + settings + books);

      // Without what is dead, both begin anew with numbers from 0
      const { records } = (await memory.state()).tensors;
      for (const bank of [disk, memory]) await bank.compact();
      expect((await memory.state()).tensors.records).toEqual(records);
      await disk.close();
      const [again, restored] = [await openBank(folder, options), createMemoryBank(options)];
      await restored.restore(await memory.state());
      expect(await picture(restored)).toEqual(await picture(again));
      expect(await restored.state()).toEqual(await memory.state());
      expect((await restored.size()).dead).toBe(0);
      await again.close();
      rmSync(folder, { recursive: true });
    }),
    { numRuns: 10, seed: 1 },
  );
});

const options = { module: "m", keys };
async function bankWith(documents: readonly string[]): Promise<MemoryBank> {
  const bank = createMemoryBank(options);
  await bank.addCodebook(codebookOf(2));
  for (const [i, name] of documents.entries()) await bank.append([entryOf(bank, name, i), entryOf(bank, name, i + 50)]);
  return bank;
}

test("deleting equals never having added, to the bit", async () => {
  const names = ["a", "secret", "b", "c"];
  const bank = await bankWith(names);
  await bank.delete("secret");
  const without = createMemoryBank(options);
  await without.addCodebook(codebookOf(2));
  const entries = names.flatMap((name, i) => [entryOf(without, name, i), entryOf(without, name, i + 50)]);
  // In one write, where the other had several
  await without.append(entries.filter(({ document }) => document !== "secret"));
  expect(await bank.state()).toEqual(await without.state());
  expect((await bank.size()).dead).toBeGreaterThan(0);
  await bank.compact();
  expect(await bank.size()).toEqual(await without.size());
});

test("records longer than a block of memory, and many of them", async () => {
  const [T, D] = [300, 1001];
  const bank = createMemoryBank();
  const version = await bank.addCodebook(fullPrecision(T, D));
  const vectors = [1, 2, 3].map((seed) => randomStream(seed, "long").fillNormal(new Float32Array(T * D)));
  for (const [time, x] of vectors.entries()) {
    const { indices } = bank.quantizer(version).encode(x);
    await bank.append([{ document: `d${time}`, time, key: new Float32Array(), version, indices }]);
  }
  await bank.delete("d1");
  const other = createMemoryBank();
  await other.restore(await bank.state());
  const read = await other.read([1, 0]);
  expect(read.map(({ document }) => document)).toEqual(["d2", "d0"]);
  for (const [i, { indices }] of read.entries()) {
    expect(bank.quantizer(version).decode(indices)).toEqual(vectors[i === 0 ? 2 : 0]);
  }
});

test("what is dead is given back", async () => {
  const bank = createMemoryBank({ ...options, slack: 500, limit: { entries: 4 } });
  await bank.addCodebook(codebookOf(2));
  for (let i = 0; i < 200; i++) {
    await bank.append([entryOf(bank, `d${i}`, i)]);
    expect((await bank.size()).dead).toBeLessThan(8 * (500 + 4 * 60));
  }
  expect([...bank.documents()]).toEqual(["d196", "d197", "d198", "d199"]);
});

test("a state that is not this bank's is refused, and the bank stays as it is", async () => {
  const bank = await bankWith(["a"]);
  const before = await bank.state();
  const { tensors, json } = await (await bankWith(["b", "c", "b2"])).state();
  const flipped = (name: string, at: number): MemoryState => {
    const data = tensors[name].data.slice() as Uint8Array;
    data[at] ^= 1;
    return { tensors: { ...tensors, [name]: { ...tensors[name], data } as MemoryState["tensors"][string] }, json };
  };
  const records = tensors.records.data as Uint8Array;
  const wrong: [MemoryState, RegExp][] = [
    [{ tensors, json: {} }, /^memoryBank.restore: expected the settings of a bank, got others; the file is damaged$/],
    [
      { tensors, json: { ...json, module: "x" } },
      /expected a bank of module "m" with keys of 5 numbers of 8 bits, got "x"/,
    ],
    [{ tensors: {}, json }, /^memory.restore: expected codebook-1 as float16 \[2, 33, 2\], got nothing/],
    [flipped("codebook-1", 7), /^memoryBank.restore: expected the numbers of codebook 1, got others/],
    [flipped("records", 9), /^bank: expected a whole record at byte 0 of \d+, got damage/],
    [
      { tensors, json: { ...json, codebooks: [] } },
      /^memoryBank.restore: expected an entry of codebook none at byte 0/,
    ],
    [
      { tensors: { ...tensors, records: { dtype: "uint8", shape: [9], data: records.slice(0, 9) } }, json },
      /^memory.restore: expected records as uint8/,
    ],
  ];
  for (const [state, message] of wrong) await expect(bank.restore(state)).rejects.toThrow(message);
  expect(await bank.state()).toEqual(before);
  expect(() => createMemoryBank({ limit: { entries: 0 } })).toThrow(/^createMemoryBank: expected a limit of 1 entry/);
  expect(() => bank.histogram(7)).toThrow(
    "bank: expected a codebook version of the bank in RAM (1), got 7; add it first",
  );
});

test("an entry's positions are counted apart", async () => {
  const bank = createMemoryBank();
  const data = Float32Array.of(0, 0, 1, 1, 2, 2, 3, 3);
  const version = await bank.addCodebook({ kind: "residual", tokens: 2, width: 1, codes: 4, books: 2, data });
  const entry = (document: string, ...indices: number[]): BankEntry => ({
    document,
    time: 0,
    key: new Float32Array(),
    version,
    indices: Uint32Array.from(indices),
  });
  await bank.append([entry("a", 0, 1, 0, 3), entry("b", 0, 1, 2, 3)]);
  // Token 0: book 0, book 1; token 1: book 0, book 1
  const want = [2, 0, 0, 0, 0, 2, 0, 0, 1, 0, 1, 0, 0, 0, 0, 2];
  expect([...bank.histogram(version, { byPosition: true })]).toEqual(want);
  expect([...bank.histogram(version)]).toEqual([3, 0, 1, 0, 0, 2, 0, 2]);
  bank.histogram(version, { byPosition: true }).fill(9); // a copy
  await bank.delete("a");
  expect([...bank.histogram(version, { byPosition: true })]).toEqual([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
});
