/** The curator against a plain model: what the deeds say is what the bank holds, and the budget binds at every moment. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Codebook } from "../../memory/codebook.ts";
import { fullPrecision } from "../../memory/full-precision.ts";
import { createMemoryBank } from "../../memory/memory-bank.ts";
import { type Arrival, checkBudget, createCurator, deeds } from "./curator.ts";

const TOKENS = 2;
const WIDTH = 2;
const keys = { width: 3, bits: 32 } as const;
const book: Codebook = {
  kind: "token",
  tokens: TOKENS,
  width: WIDTH,
  codes: 4,
  books: 1,
  data: Float32Array.of(1, 0, 0, 1, -1, 0, 0, -1),
};

async function setting(codebook: Codebook, limits: { budget?: number; mostEntries?: number } = {}) {
  const bank = createMemoryBank({ module: "m", keys });
  const version = await bank.addCodebook(codebook);
  const arrival = (document: string, key: readonly number[], ...slots: (readonly number[])[]): Arrival => {
    const parts = slots.map((one) => Float32Array.from(one));
    const { encode } = bank.quantizer(version);
    return {
      document,
      tokens: 1,
      slots: parts,
      entries: parts.map((one) => {
        const { indices } = encode(one);
        return { document, time: 0, key: Float32Array.from(key), version, indices };
      }),
    };
  };
  const curator = createCurator({ bank, ...limits });
  const slotsOf = async (document: string): Promise<number[]> =>
    (await bank.read(bank.numbersOf(document))).flatMap((one) => [...bank.quantizer(one.version).decode(one.indices)]);
  return { bank, arrival, curator, slotsOf };
}

test("merging averages slots by how many documents are in them, and keys at their length", async () => {
  const { bank, arrival, curator, slotsOf } = await setting(fullPrecision(TOKENS, WIDTH));
  const a = arrival("a", [1, 0, 0], [0, 0, 0, 6]);
  const b = arrival("b", [0.6, 0.8, 0], [3, 0, 0, 0]);
  const c = arrival("c", [0.8, 0.6, 0], [0, 6, 0, 0]);
  await curator.meet(a);
  await curator.act("store", a);
  expect(await curator.meet(b)).toMatchObject({ nearest: { document: "a", score: expect.closeTo(0.6, 6) } });
  expect(await curator.act("merge", b)).toEqual({ deed: "merge", document: "b", into: "a", gone: [], bytes: 0 });
  expect(await slotsOf("a")).toEqual([1.5, 0, 0, 3]);
  expect((await curator.act("merge", c)).into).toBe("a");
  expect(await slotsOf("a")).toEqual([1, 2, 0, 2]);
  expect(curator.groupOf("b")).toEqual(["a", "b", "c"]);
  const [{ key }] = await bank.read(bank.numbersOf("a"));
  // (2 (0.8, 0.4) / |..| + c) / 3, brought to length 1
  const twice = [1.6, 0.8].map((value) => value / Math.hypot(0.8, 0.4));
  const sum = [twice[0] + 0.8, twice[1] + 0.6].map((value) => value);
  expect([...key]).toEqual([...sum.map((value) => expect.closeTo(value / Math.hypot(...sum), 6)), 0]);
  // One that comes again takes those with it that cannot be told from it
  expect(await curator.meet(arrival("b", [0, 0, 1], [9, 9, 9, 9]))).toMatchObject({ gone: ["a", "c"] });
  expect(bank.count()).toBe(0);
});

test("chunks go into the nearest chunk of the group", async () => {
  const { arrival, curator, slotsOf, bank } = await setting(fullPrecision(TOKENS, WIDTH));
  const two = arrival("two", [1, 0, 0], [2, 2, 2, 2], [4, 4, 4, 4]);
  const turned = two.entries.map((entry, i) => ({ ...entry, key: Float32Array.of(1 - i, i, 0) }));
  await curator.act("store", { ...two, entries: turned });
  await curator.act("merge", arrival("one", [0, 1, 0], [0, 0, 0, 0]));
  expect(await slotsOf("two")).toEqual([2, 2, 2, 2, 2, 2, 2, 2]);
  expect(bank.count()).toBe(2);
});

test("a document that is larger than the room never gets in, and a budget without room is refused", async () => {
  const { arrival, curator, bank } = await setting(book, { mostEntries: 2 });
  const long = arrival("long", [1, 0, 0], [1, 0, 1, 0], [1, 0, 1, 0], [1, 0, 1, 0]);
  expect((await curator.meet(long)).possible).toEqual(["drop"]);
  await curator.act("store", arrival("a", [1, 0, 0], [1, 0, 1, 0]));
  expect((await curator.meet(long)).possible).toEqual(["merge", "drop"]);
  await expect(checkBudget(bank, 100)).rejects.toThrow(
    /expected a budget above the \d+ bytes of codebooks and settings, got 100/,
  );
  await checkBudget(bank, 1e6);
});

/** Documents in order, each a group under its first; room is counted in entries. */
interface Model {
  groups: { name: string; members: string[]; key: number }[];
}

test("random streams: the bank is what a plain model makes of the log, within the limits, also when saved and restored", async () => {
  const step = fc.record({
    document: fc.integer({ min: 0, max: 11 }),
    key: fc.integer({ min: 0, max: 2 }),
    deed: fc.constantFrom(...deeds),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), fc.integer({ min: 1, max: 4 }), async (steps, room) => {
      const probe = await setting(book);
      const fixed = await probe.curator.bytes();
      const one = await probe.curator.act("store", probe.arrival("document-0", [1, 0, 0], [1, 0, 0, 1]));
      const budget = fixed + room * one.bytes + 1;
      const { bank, arrival, curator } = await setting(book, { budget });
      const model: Model = { groups: [] };
      for (const { document, key, deed: wanted } of steps) {
        // Ids of one length, so that every entry has the same bytes
        const name = `document-${"0123456789ab"[document]}`;
        const unit = [0, 1, 2].map((i) => (i === key ? 1 : 0));
        const own = arrival(name, unit, [1, 0, 0, 1]);
        const { possible, nearest, gone } = await curator.meet(own);
        const old = model.groups.find(({ members }) => members.includes(name));
        model.groups = model.groups.filter((group) => group !== old);
        expect(gone).toEqual((old?.members ?? []).filter((other) => other !== name));
        const full = model.groups.length === room;
        const none = model.groups.length === 0;
        expect(possible).toEqual(
          [full ? [] : ["store"], none ? [] : ["merge", "replace"], full ? ["oldest"] : [], ["drop"]].flat(),
        );
        const deed = possible.includes(wanted) ? wanted : "drop";
        const done = await curator.act(deed, own);
        expect(done).toMatchObject({ deed, document: name });
        const target = model.groups.find((group) => group.name === nearest?.document);
        if (deed === "merge" && target) {
          expect(done.into).toBe(target.name);
          model.groups = [
            ...model.groups.filter((group) => group !== target),
            { ...target, members: [...target.members, name] },
          ];
        } else if (deed !== "drop") {
          const goes = deed === "replace" ? target : full ? model.groups[0] : undefined;
          expect(done.gone).toEqual(goes?.members ?? []);
          model.groups = [...model.groups.filter((group) => group !== goes), { name, members: [name], key }];
        }
        expect([...bank.documents()]).toEqual(model.groups.map((group) => group.name));
        for (const { name: of, members } of model.groups) expect(curator.groupOf(of)).toEqual(members);
        expect(await curator.bytes()).toBeLessThanOrEqual(budget);
      }
      await curator.settle();
      expect((await bank.size()).total / 8).toBeLessThanOrEqual(budget);
      const other = await setting(book, { budget });
      await other.bank.restore(await bank.state());
      await other.curator.open(curator.groups());
      for (const { name, members } of model.groups) expect(other.curator.groupOf(name)).toEqual(members);
      const next = arrival("document-x", [1, 0, 0], [1, 0, 0, 1]);
      expect(await other.curator.meet(next)).toEqual(await curator.meet(next));
    }),
    { numRuns: 60 },
  );
});
