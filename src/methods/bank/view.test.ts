/** What questions see of a bank that changes underneath, and what the controls show them instead. */
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { workbench } from "../../../tests/support/workbench.ts";
import { type Bank, openBank } from "../../memory/bank.ts";
import type { Codebook } from "../../memory/codebook.ts";
import { fullPrecision } from "../../memory/full-precision.ts";
import { createMemoryBank } from "../../memory/memory-bank.ts";
import type { EntryStore } from "../document-face.ts";
import { type Control, controlNames, createView, type Seen } from "./view.ts";

const { root } = workbench("view");

/** One slot of two numbers; code c stands for (c, c²). */
const codes = 8;
const codebook: Codebook = {
  kind: "token",
  tokens: 1,
  width: 2,
  codes,
  books: 1,
  data: Float32Array.from({ length: 2 * codes }, (_, i) => (i % 2 === 0 ? i / 2 : ((i - 1) / 2) ** 2)),
};
const size = 2;
/** Right angles: every key is nearest to itself. */
const keys = { width: codes, bits: 32 } as const;
const keyOf = (i: number): Float32Array => Float32Array.from({ length: codes }, (_, k) => (k === i ? 1 : 0));
const entry = (i: number, version: number, code = i) => ({
  document: `d${i}`,
  time: i,
  key: keyOf(i),
  version,
  indices: Uint32Array.of(code),
});
const viewOf = (bank: EntryStore, control: Control = "none", share = 0.5, seed = 1) =>
  createView({ bank: () => bank, size, control, share, seed });
/** Codes of what was seen. */
const codesOf = ({ slots }: Seen): number[] => {
  const seen = Array.from({ length: slots.length / 2 }, (_, i) => slots.subarray(2 * i, 2 * i + 2));
  for (const [code, square] of seen) expect(square).toBe(code ** 2);
  return seen.map(([code]) => code);
};

async function filled(count = codes): Promise<EntryStore> {
  const bank = createMemoryBank({ keys });
  const version = await bank.addCodebook(codebook);
  await bank.append(Array.from({ length: count }, (_, i) => entry(i, version)));
  return bank;
}

describe("a view", () => {
  it.each(["on disk", "in RAM"])("sees every change of a bank %s at once", async (where) => {
    const bank: EntryStore & Pick<Bank, "compact"> =
      where === "on disk" ? await openBank(join(root, "bank"), { keys }) : createMemoryBank({ keys });
    const version = await bank.addCodebook(codebook);
    const view = viewOf(bank);
    const look = async (): Promise<[string, number][]> => {
      const all = await view.all();
      expect(view.count()).toBe(all.documents.length);
      const found = all.documents.map((document, i): [string, number] => [document, codesOf(all)[i]]);
      for (const [document, code] of found) {
        const one = await view.nearest(keyOf(Number(document.slice(1))), 1);
        expect([one.documents, codesOf(one), one.scores]).toEqual([[document], [code], [1]]);
      }
      return found;
    };
    await bank.append([entry(0, version), entry(1, version), entry(2, version)]);
    expect(await look()).toEqual([
      ["d0", 0],
      ["d1", 1],
      ["d2", 2],
    ]);
    await bank.replace([entry(1, version, 7)]);
    expect(await look()).toEqual([
      ["d0", 0],
      ["d2", 2],
      ["d1", 7],
    ]);
    await bank.delete("d0");
    expect(await look()).toEqual([
      ["d2", 2],
      ["d1", 7],
    ]);
    await bank.compact();
    expect(await look()).toEqual([
      ["d2", 2],
      ["d1", 7],
    ]);
    await bank.delete("d1");
    await bank.append([entry(5, version)]);
    expect(await look()).toEqual([
      ["d2", 2],
      ["d5", 5],
    ]);
    // Entries of an older codebook stay what they were
    const data = codebook.data.map((value, i) => (i < 2 ? 0 : value));
    data.set(codebook.data.subarray(6, 8), 0);
    await bank.append([entry(6, await bank.addCodebook({ ...codebook, data }), 0)]);
    expect(await look()).toEqual([
      ["d2", 2],
      ["d5", 5],
      ["d6", 3],
    ]);
    if ("close" in bank) await (bank as Bank).close();
  });

  it("gives the nearest first, all of them where there are fewer", async () => {
    const view = viewOf(await filled(3));
    const between = Float32Array.of(0.5, 0.1, 0.3, 0, 0, 0, 0, 0);
    const two = await view.nearest(between, 2);
    expect([two.documents, codesOf(two)]).toEqual([
      ["d0", "d2"],
      [0, 2],
    ]);
    expect(two.scores).toEqual([0.5, Math.fround(0.3)]);
    expect(codesOf(await view.nearest(between, 9))).toEqual([0, 2, 1]);
  });
});

const deed = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant("replace" as const), d: fc.nat(6), chunks: fc.nat(2) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("delete" as const), d: fc.nat(6) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("compact" as const), recode: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("look" as const), all: fc.boolean() }) },
);

describe("after any history", () => {
  it.each(controlNames)("%s: a view sees what a fresh one sees", async (control) => {
    const random = (i: number, k: number): number => ((i * 7919 + k * 104729) % 13) - 6;
    await fc.assert(
      fc.asyncProperty(fc.array(deed, { minLength: 4, maxLength: 30 }), fc.nat(99), async (deeds, seed) => {
        const bank = createMemoryBank({ keys, slack: 200 });
        const version = await bank.addCodebook(codebook);
        const view = viewOf(bank, control);
        const query = Float32Array.from({ length: codes }, (_, k) => random(seed, k));
        const seen = async (of: typeof view) => ({
          count: of.count(),
          best: await of.best(query),
          nearest: await of.nearest(query, 3),
          all: await of.all().then(({ documents, slots }) => ({ documents: [...documents], slots })),
        });
        for (const [i, one] of deeds.entries()) {
          const document = "d" in one ? `d${one.d}` : "";
          if (one.do === "delete" && bank.has(document)) await bank.delete(document);
          if (one.do === "compact") {
            const recode = (entry: { indices: Uint32Array }) => ({ version, indices: entry.indices.map((c) => 7 - c) });
            await bank.compact(one.recode ? { recode } : {});
          }
          if (one.do === "look") await (one.all ? view.all() : view.nearest(query, 2));
          if (one.do !== "replace") continue;
          const chunks = Array.from({ length: one.chunks + 1 }, (_, chunk) => ({
            ...entry(0, version, (i + chunk) % codes),
            document,
            key: Float32Array.from({ length: codes }, (_, k) => random(i + 31 * chunk, k)),
          }));
          await bank.replace(chunks);
        }
        const want = await seen(viewOf(bank, control));
        expect(await seen(view)).toEqual(want);
        expect(await seen(view)).toEqual(want);
      }),
      { numRuns: 40, seed: 1 },
    );
  });

  it("reads of a bank only what came, whatever is in it", async () => {
    const bank = await filled(3);
    let read = 0;
    const counted: EntryStore = {
      ...bank,
      async *pages(options) {
        for await (const page of bank.pages(options)) {
          read += page.length;
          yield page;
        }
      },
    };
    const view = viewOf(counted);
    await view.nearest(keyOf(0), 1);
    for (const i of [3, 4, 5]) {
      await bank.append([entry(i, 1)]);
      await bank.delete(`d${i - 3}`);
      expect((await view.nearest(keyOf(i), 1)).documents).toEqual([`d${i}`]);
    }
    expect(read).toBe(6);
  });
});

it("holds what it read of a bank once, however often that changes", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const bank = await filled(3);
  const view = viewOf(bank);
  const first = new WeakRef((await view.all()).slots);
  await bank.append([entry(3, 1)]);
  expect(codesOf(await view.all())).toEqual([0, 1, 2, 3]);
  // A reference is held to the end of the turn that looked at it
  await new Promise(setImmediate);
  collect();
  expect(first.deref()).toBeUndefined();
});

describe("controls", () => {
  it("permuted: the same other code for a code everywhere, and another one's key", async () => {
    const bank = await filled();
    await bank.append([{ ...entry(3, 1), document: "again" }]);
    const own = codesOf(await viewOf(bank, "permuted").all());
    // A permutation: what it does can be undone, and nothing gets lost
    expect(own.slice(0, codes).toSorted()).toEqual([...Array(codes).keys()]);
    expect(own).not.toEqual([...Array(codes).keys(), 3]);
    expect(own[codes]).toBe(own[3]);
    expect(codesOf(await viewOf(bank, "permuted").all())).toEqual(own);
    expect(codesOf(await viewOf(bank, "permuted", 0.5, 2).all())).not.toEqual(own);
    const undone = own.slice(0, codes).map((_, code) => own.indexOf(code));
    expect(undone.map((code) => own[code])).toEqual([...Array(codes).keys()]);
    const found = [];
    for (let i = 0; i < codes; i++) found.push((await viewOf(bank, "permuted").nearest(keyOf(i), 1)).documents[0]);
    expect(found.filter((document, i) => document === `d${i}`).length).toBeLessThan(codes / 2);
    // Numbers in full have no code to change, only keys
    const full = createMemoryBank({ keys });
    const version = await full.addCodebook(fullPrecision(1, 2));
    const { indices } = full.quantizer(version).encode(Float32Array.of(2, 4, 3, 9));
    for (const i of [0, 1]) await full.append([{ ...entry(i, version), indices: indices.slice(2 * i, 2 * i + 2) }]);
    expect(codesOf(await viewOf(full, "permuted").all())).toEqual([2, 3]);
  });

  it.each([2, 5, 8])("wrong-bank: never the entry that was found, of %i", async (count) => {
    const view = viewOf(await filled(count), "wrong-bank");
    const all = await view.all();
    const read = codesOf(all);
    expect(read.filter((code, i) => code === i)).toEqual([]);
    // What is named is what was read
    expect(all.documents).toEqual(read.map((code) => `d${code}`));
    expect(read.toSorted()).toEqual([...Array(count).keys()]);
    for (let i = 0; i < count; i++) {
      const one = await view.nearest(keyOf(i), 1);
      expect([codesOf(one), one.documents, one.scores]).toEqual([[read[i]], [`d${read[i]}`], [1]]);
    }
  });

  it("wrong-bank: never a chunk of the same document; nothing of a bank with one", async () => {
    const bank = await filled(1);
    const more = (i: number, document: string) => ({ ...entry(i, 1), document });
    await bank.replace([0, 1, 2, 3, 4].map((i) => more(i, "long")));
    await bank.delete("d0");
    const view = viewOf(bank, "wrong-bank");
    expect(view.isMute()).toBe(true);
    expect([await view.all(), await view.nearest(keyOf(0), 2)]).toMatchObject([{ documents: [] }, { documents: [] }]);
    expect(await view.best(keyOf(2))).toBe(1);
    await bank.append([more(5, "short"), more(6, "short")]);
    expect(view.isMute()).toBe(false);
    const read = codesOf(await view.all());
    expect(read.map((code) => code > 4)).toEqual([true, true, true, true, true, false, false]);
  });

  it("prune: some of the entries as they are, found by their own keys", async () => {
    const view = viewOf(await filled(), "prune", 0.5);
    const all = await view.all();
    expect(codesOf(all)).toHaveLength(4);
    expect(all.documents).toEqual(codesOf(all).map((code) => `d${code}`));
    for (const code of codesOf(all)) expect(codesOf(await view.nearest(keyOf(code), 1))).toEqual([code]);
    expect((await viewOf(await filled(), "prune", 0.01).all()).documents).toHaveLength(1);
  });

  it.each(["average", "nearest"] as const)("%s: as many entries as are left, each a mean", async (control) => {
    for (const share of [0.5, 0.25, 1]) {
      const view = viewOf(await filled(), control, share);
      const { slots, documents } = await view.all();
      expect(documents).toHaveLength(codes * share);
      expect(slots).toHaveLength(2 * codes * share);
      if (share === 1) expect(slots).toEqual(codebook.data);
    }
    // Groups of two, dealt out at random: each number counts once
    if (control !== "average") return;
    const { slots } = await viewOf(await filled(), control, 0.5).all();
    const sums = [0, 1].map((k) => 2 * slots.filter((_, i) => i % 2 === k).reduce((sum, value) => sum + value, 0));
    expect(sums).toEqual([28, 140]);
  });

  it("nearest: joins entries whose keys are alike", async () => {
    const bank = createMemoryBank({ keys });
    const version = await bank.addCodebook(codebook);
    const near = keyOf(0);
    near[1] = 0.1;
    await bank.append([entry(0, version), entry(3, version), { ...entry(4, version), key: near }]);
    const { documents, slots } = await viewOf(bank, "nearest", 0.67).all();
    expect([documents, [...slots]]).toEqual([
      ["d0", "d3"],
      [2, 8, 3, 9],
    ]);
  });
});
