/** Groups against the slowest way to find them, and means worked out by hand. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { randomStream } from "../tensor/random.ts";
import { averageGroups, mergeEntries, nearestGroups, prunedGroups, randomGroups } from "./bank-reduction.ts";

/** All distances of all means, worked out anew for each merge. */
function slowGroups(rows: readonly number[][], keep: number): number[][] {
  const groups = rows.map((_, row) => [row]);
  const mean = (group: number[]) =>
    rows[0].map((_, k) => group.reduce((sum, row) => sum + rows[row][k], 0) / group.length);
  while (groups.length > keep) {
    let [best, from, to] = [Number.POSITIVE_INFINITY, 0, 0];
    for (let i = 0; i < groups.length; i++) {
      for (let j = i + 1; j < groups.length; j++) {
        const [a, b] = [mean(groups[i]), mean(groups[j])];
        const distance = a.reduce((sum, value, k) => sum + (value - b[k]) ** 2, 0);
        if (distance < best) [best, from, to] = [distance, i, j];
      }
    }
    groups[from].push(...groups.splice(to, 1)[0]);
  }
  return groups.map((group) => group.toSorted((a, b) => a - b));
}

test("nearest neighbours: the two nearest means become one, again and again", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 25 }), fc.nat(), fc.nat(24), (count, seed, more) => {
      const random = randomStream(seed, "rows");
      const rows = Array.from({ length: count }, () => [random.normal(), random.normal(), random.normal()]);
      const keep = 1 + (more % count);
      expect(nearestGroups(rows.flat(), 3, keep)).toEqual(slowGroups(rows, keep));
    }),
    { numRuns: 100, seed: 1 },
  );
  // 0 and 1 become 0.5, which is nearer to 2 than 4 is; equals: the first pair
  expect(nearestGroups([0, 1, 2, 4, 9], 1, 2)).toEqual([[0, 1, 2, 3], [4]]);
  expect(nearestGroups([5, 0, 5, 0], 1, 3)).toEqual([[0, 2], [1], [3]]);
});

test("random groups are a partition, pruned ones are single rows; a seed is a choice", () => {
  const groups = randomGroups(10, 4, randomStream(3, "deal"));
  expect(groups.map(({ length }) => length).toSorted()).toEqual([2, 2, 3, 3]);
  expect(groups.flat().toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  const pruned = prunedGroups(10, 4, randomStream(3, "prune"));
  expect(new Set(pruned.flat()).size).toBe(4);
  expect(pruned.every(({ length }) => length === 1)).toBe(true);
  for (const make of [randomGroups, prunedGroups]) {
    expect(make(10, 4, randomStream(3, "again"))).toEqual(make(10, 4, randomStream(3, "again")));
    expect(make(3, 3, randomStream(3, "all"))).toEqual([[0], [1], [2]]);
    expect(() => make(3, 4, randomStream(3, "more"))).toThrow(/expected to keep 1 to 3 of 3 entries, got 4$/);
  }
});

test("means by hand", () => {
  const rows = [1, 10, 3, 20, 8, 60];
  expect([...averageGroups(rows, 2, [[0, 2], [1]])]).toEqual([4.5, 35, 3, 20]);
  expect([...averageGroups(rows, 2, [[0, 1, 2]], [1, 2, 1])]).toEqual([3.75, 27.5]);
  expect([...mergeEntries(Float32Array.of(0, 4), Float32Array.of(4, 0))]).toEqual([2, 2]);
  expect([...mergeEntries(Float32Array.of(0, 4), Float32Array.of(4, 0), { weights: [3, 1] })]).toEqual([1, 3]);
  expect(() => mergeEntries(new Float32Array(2), new Float32Array(3))).toThrow(/of one size, got 2 and 3 numbers/);
  expect(() => averageGroups(rows, 2, [[3]])).toThrow(
    /^averageGroups: expected rows below 3 of weights above 0, got row 3/,
  );
});
