/** Whatever is appended, replaced, deleted, evicted, recoded and opened again: the bank equals a plain array. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { folderBytes } from "../../tests/support/bank-script.ts";
import { randomStream } from "../tensor/random.ts";
import { type Bank, type BankEntry, openBank } from "./bank.ts";
import { storedKey } from "./bank-entry.ts";
import type { Codebook } from "./codebook.ts";

const [tokens, limit, slack] = [3, 9, 300];
const keys = { width: 4, bits: 8 } as const;
/** Versions of different kinds and sizes, in turn. */
const codebookOf = (version: number): Codebook => {
  const kind = (["token", "slot", "residual"] as const)[version % 3];
  const [codes, books] = [
    [5, 1],
    [8, tokens],
    [33, 2],
  ][version % 3];
  const data = randomStream(version, "codes").fillNormal(new Float32Array(books * codes * 2));
  return { kind, tokens, width: 2, codes, books, data };
};

const seeds = fc.array(fc.nat(9999), { minLength: 1, maxLength: 3 });
const document = fc.integer({ min: 0, max: 6 }).map((n) => `d${n}`);
const deed = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("put" as const), document, seeds }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("two" as const), document, seeds }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("delete" as const), document }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("codebook" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("recode" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("reopen" as const) }) },
);

function entriesOf(bank: Bank, document: string, seeds: readonly number[]): BankEntry[] {
  const version = bank.versions().at(-1) as number;
  const { positions, codebook } = bank.quantizer(version);
  return seeds.map((seed) => {
    const random = randomStream(seed, "entry");
    const indices = Uint32Array.from({ length: positions }, () => random.integer(codebook.codes));
    const key = random.fillNormal(new Float32Array(keys.width));
    return { document, time: random.integer(2 ** 31) - 2 ** 30, key, version, indices };
  });
}

const stored = (entries: readonly BankEntry[]): BankEntry[] =>
  entries.map((entry) => ({ ...entry, key: storedKey(entry.key, keys) }));

/** The oracle: entries in an array, the oldest document dropped while there are too many. */
function put(model: readonly BankEntry[], entries: readonly BankEntry[]): BankEntry[] {
  const documents = new Set(entries.map(({ document }) => document));
  const grouped = [...documents].flatMap((one) => entries.filter(({ document }) => document === one));
  let old = model.filter(({ document }) => !documents.has(document));
  while (old.length + entries.length > limit) old = old.filter(({ document }) => document !== old[0].document);
  return [...old, ...stored(grouped)];
}

async function compare(bank: Bank, model: readonly BankEntry[]): Promise<void> {
  expect(bank.count()).toBe(model.length);
  expect([...bank.documents()]).toEqual([...new Set(model.map(({ document }) => document))]);
  for (const version of bank.versions()) {
    const { codebook, bins, positions } = bank.quantizer(version);
    const counts = new Float64Array(bins);
    const byPosition = new Float64Array(positions * codebook.codes);
    for (const entry of model.filter((one) => one.version === version)) {
      for (const [p, index] of entry.indices.entries()) {
        counts[(p % codebook.books) * codebook.codes + index]++;
        byPosition[p * codebook.codes + index]++;
      }
    }
    expect(bank.histogram(version)).toEqual(counts);
    expect(bank.histogram(version, { byPosition: true })).toEqual(byPosition);
  }
  const found: BankEntry[] = [];
  for await (const page of bank.pages({ size: 4 })) {
    for (const { number, ...entry } of page) {
      found.push(entry);
      expect(bank.numbersOf(entry.document)).toContain(number);
    }
  }
  expect(found).toEqual(model);
  const size = await bank.size();
  expect(size.total).toBe(8 * folderBytes(bank.folder));
  expect(size.ids).toBe(model.reduce((sum, entry) => sum + 8 * entry.document.length, 0));
  expect(size.keys).toBe(model.length * (4 * 8 + 16));
}

test("a bank is an array of entries, whatever happens to it", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(deed, { minLength: 5, maxLength: 25 }), async (deeds) => {
      const folder = mkdtempSync(join(tmpdir(), "mneme-bank-property-"));
      const options = { keys, limit: { entries: limit }, slack, durability: "process" } as const;
      let bank = await openBank(folder, options);
      let added = 1;
      await bank.addCodebook(codebookOf(added));
      let model: BankEntry[] = [];
      for (const one of deeds) {
        if (one.do === "put" || one.do === "two") {
          const own = entriesOf(bank, one.document, one.seeds);
          // Two documents in one write, their entries mixed
          const other = one.do === "two" ? entriesOf(bank, "other", one.seeds.slice(1)) : [];
          const entries = [...own.slice(0, 1), ...other, ...own.slice(1)];
          const isNew = entries.every(({ document }) => !bank.has(document));
          await (isNew ? bank.append(entries) : bank.replace(entries));
          model = put(model, entries);
        } else if (one.do === "delete") {
          if (bank.has(one.document)) await bank.delete(one.document);
          else await expect(bank.delete(one.document)).rejects.toThrow("bank.delete: expected a document that is in");
          model = model.filter(({ document }) => document !== one.document);
        } else if (one.do === "codebook") {
          await bank.addCodebook(codebookOf(++added));
        } else if (one.do === "recode") {
          const version = bank.versions().at(-1) as number;
          const recode = (entry: BankEntry) => ({
            version,
            indices: bank.quantizer(version).encode(bank.quantizer(entry.version).decode(entry.indices)).indices,
          });
          model = model.map((entry) => ({ ...entry, ...recode(entry) }));
          await bank.compact({ recode });
          expect(bank.versions()).toEqual([version]);
        } else {
          await bank.close();
          bank = await openBank(folder, options);
        }
        await compare(bank, model);
      }
      await bank.close();
      bank = await openBank(folder, options);
      await compare(bank, model);
      expect(bank.notices()).toEqual([]);
      await bank.close();
      rmSync(folder, { recursive: true });
    }),
    { numRuns: 25, seed: 1 },
  );
});
