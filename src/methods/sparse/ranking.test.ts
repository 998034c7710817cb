/** Rankings of slots against values worked out by hand. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Background, chooseSlots, countReads, scoresOf } from "./ranking.ts";

/** Ten batches, 5 slots: slot 0 is in all of them, slot 4 in none. */
const background: Background = { batches: 9, frequencies: Int32Array.of(9, 4, 1, 0, 0) };
// Three tokens of two reads each; the last token is padding
const counts = countReads(Int32Array.of(0, 1, 0, 3, 4, 4), [1, 1, 0]);

describe("countReads", () => {
  it("counts repeated reads, and none of padding", () => {
    expect([...counts]).toEqual([
      [0, 2],
      [1, 1],
      [3, 1],
    ]);
  });

  it("adds up over layers", () => {
    const twice = countReads(Int32Array.of(3, 2), [1], new Map(counts));
    expect(Object.fromEntries(twice)).toEqual({ 0: 2, 1: 1, 2: 1, 3: 2 });
  });
});

describe("scoresOf", () => {
  it("tf-idf: half of the reads and in every batch is nothing", () => {
    // 2/4 ln(10/10), 1/4 ln(10/5), 1/4 ln(10/1)
    const scores = scoresOf(counts, "tf-idf", background);
    expect(scores[0]).toBe(0);
    expect(scores[1]).toBeCloseTo(0.25 * Math.LN2, 12);
    expect(scores[2]).toBeCloseTo(0.25 * Math.LN10, 12);
  });

  it("tf: shares of the reads", () => {
    expect([...scoresOf(counts, "tf", background)]).toEqual([0.5, 0.25, 0.25]);
  });

  it("kl: what each slot adds to the divergence from (10, 5, 2, 1, 1) / 19", () => {
    const scores = scoresOf(counts, "kl", background);
    expect(scores[0]).toBeCloseTo(0.5 * Math.log((0.5 * 19) / 10), 12);
    expect(scores[1]).toBeCloseTo(0.25 * Math.log((0.25 * 19) / 5), 12);
    expect(scores[2]).toBeCloseTo(0.25 * Math.log((0.25 * 19) / 1), 12);
  });
});

describe("chooseSlots", () => {
  const choose = (ranking: Parameters<typeof scoresOf>[1], top: number, seed = 0): number[] => [
    ...chooseSlots(counts, { ranking, top, background, seed }),
  ];

  it("takes the best by each ranking, of equal ones the lowest", () => {
    expect(choose("tf-idf", 1)).toEqual([3]);
    expect(choose("tf-idf", 2)).toEqual([1, 3]);
    expect(choose("tf", 2)).toEqual([0, 1]);
    expect(choose("kl", 1)).toEqual([3]);
    expect(choose("all", 1)).toEqual([0, 1, 3]);
  });

  it("draws at random by the seed alone, and every slot in its turn", () => {
    expect(choose("random", 2, 5)).toEqual(choose("random", 2, 5));
    const seen = new Set(Array.from({ length: 30 }, (_, seed) => choose("random", 1, seed)[0]));
    expect(seen).toEqual(new Set([0, 1, 3]));
  });

  it("refuses more slots than were read", () => {
    expect(() => choose("tf-idf", 4)).toThrow(
      /^sparse-memory: expected top of at most the 3 slots .*, got 4; lower it/,
    );
  });

  it("never leaves out a slot that is better than one it takes", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 19 }), { minLength: 1, maxLength: 60 }),
        fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 20, maxLength: 20 }),
        fc.constantFrom("tf-idf" as const, "tf" as const, "kl" as const),
        fc.nat(),
        (reads, df, ranking, wish) => {
          const all = countReads(
            Int32Array.from(reads),
            reads.map(() => 1),
          );
          const table = { batches: 50, frequencies: Int32Array.from(df) };
          const top = 1 + (wish % all.size);
          const taken = new Set(chooseSlots(all, { ranking, top, background: table }));
          const scores = scoresOf(all, ranking, table);
          const [inside, outside] = [true, false].map((is) =>
            scores.filter((_, i) => taken.has([...all.keys()][i]) === is),
          );
          expect(taken.size).toBe(top);
          expect(Math.max(-Infinity, ...outside)).toBeLessThanOrEqual(Math.min(...inside));
        },
      ),
    );
  });
});
