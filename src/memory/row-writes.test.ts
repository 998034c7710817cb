/** Writes into rows of a table against a table that is kept by hand: whatever goes in and out, in whatever order. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createRowWrites, type RowWrites } from "./row-writes.ts";
import type { PlacedFact } from "./memory-store.ts";

const [slots, width] = [8, 2];

function bench(): { table: number[][]; store: RowWrites } {
  const own = (slot: number): number[] => [slot, -slot];
  const table = Array.from({ length: slots }, (_, slot) => own(slot));
  const store = createRowWrites({ slots, width, put: (slot, row) => (table[slot] = row ? [...row] : own(slot)) });
  return { table, store };
}

/** Write `fact` leaves 10 fact + slot in both numbers of a row. */
function factOf(store: RowWrites, fact: number, places: readonly number[]): PlacedFact {
  const rows = places.flatMap((slot) => [10 * fact + slot, 10 * fact + slot]);
  return { fact, placement: 0, ...store.pack({ slots: Int32Array.from(places), rows: Float32Array.from(rows) }) };
}

describe("rows of writes", () => {
  it("hold what the latest write left, and go back to what was before it", () => {
    const { table, store } = bench();
    const [one, two] = [factOf(store, 1, [0, 3]), factOf(store, 2, [3, 5])];
    store.apply([one]);
    const afterOne = structuredClone(table);
    const print = store.fingerprint();
    store.apply([two]);
    expect(table[3]).toEqual([23, 23]);
    expect(table[0]).toEqual([10, 10]);
    expect(store.writerOf(3)).toBe(2);
    expect(store.standOn([one])).toEqual([2]);
    expect(store.standOn([two])).toEqual([]);
    expect(store.standOn([one, two])).toEqual([]);
    store.remove([two]);
    expect(table).toEqual(afterOne);
    expect(store.fingerprint()).toBe(print);
    store.remove([one]);
    expect(table).toEqual(bench().table);
  });

  it("are a function of which writes are in, and survive being saved", () => {
    const subset = fc.uniqueArray(fc.nat({ max: slots - 1 }), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(fc.array(subset, { minLength: 1, maxLength: 6 }), fc.infiniteStream(fc.boolean()), (all, stays) => {
        const { table, store } = bench();
        const facts = all.map((places, i) =>
          factOf(
            store,
            i + 1,
            places.toSorted((a, b) => a - b),
          ),
        );
        store.apply(facts);
        const gone = facts.filter(() => !stays.next().value);
        store.remove(gone);
        store.replay(gone);
        store.remove(gone);
        const plain = bench();
        const kept = facts.filter((fact) => !gone.includes(fact));
        plain.store.apply(kept);
        expect(table).toEqual(plain.table);
        expect(store.fingerprint()).toBe(plain.store.fingerprint());
        const copy = bench();
        copy.store.apply([factOf(store, 9, [0, 7])]);
        copy.store.restore(store.snapshot());
        expect(copy.table).toEqual(table);
        expect(copy.store.fingerprint()).toBe(store.fingerprint());
        copy.store.settle(1);
        expect(copy.table).toEqual(table);
        expect(copy.store.writes()).toEqual(kept.slice(-1).map(({ fact }) => fact));
        copy.store.remove(kept.slice(-1));
        const older = bench();
        older.store.apply(kept.slice(0, -1));
        expect(copy.table).toEqual(older.table);
      }),
    );
  });

  it("refuse what is not finite or of another table, and stay as they were", () => {
    const { table, store } = bench();
    const bad = { slots: Int32Array.of(1), rows: Float32Array.of(1, Number.NaN) };
    expect(() => store.apply([factOf(store, 1, [2]), { fact: 2, ...store.pack(bad) }])).toThrow(
      /^memory: expected finite numbers in write 2, got NaN in slot 1/,
    );
    const far = { slots: Int32Array.of(8), rows: Float32Array.of(1, 1) };
    expect(() => store.apply([{ fact: 1, ...store.pack(far) }])).toThrow(/slots below 8, got something else/);
    expect(table).toEqual(bench().table);
  });
});
