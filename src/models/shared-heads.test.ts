import fc from "fast-check";
import { expect, test } from "vitest";
import { sharedHeads, sharedLength } from "./shared-heads.ts";

test("by hand: one head for all, one for some, none", () => {
  expect(
    sharedHeads([
      [1, 2, 3, 4],
      [1, 2, 3, 5],
      [1, 2, 3, 6, 7],
    ]),
  ).toEqual({
    heads: [[1, 2, 3]],
    headOf: [0, 0, 0],
    saved: 6,
  });
  // 3 x 1 token for all four, or 4 + 2 for two pairs
  const pairs = [
    [1, 2, 3, 4, 9],
    [1, 6, 7],
    [1, 2, 3, 4, 8],
    [1, 6, 5],
  ];
  expect(sharedHeads(pairs)).toEqual({
    heads: [
      [1, 2, 3, 4],
      [1, 6],
    ],
    headOf: [0, 1, 0, 1],
    saved: 6,
  });
  expect(sharedHeads([[1], [1], [2, 3]])).toEqual({ heads: [], headOf: [-1, -1, -1], saved: 0 });
  // A head within a head: 3 for two of them, 1 for the other two
  const nested = [
    [1, 2],
    [1, 2, 3, 4],
    [1, 2],
    [1, 2, 3, 4],
  ];
  expect(sharedHeads(nested)).toEqual({ heads: [[1], [1, 2, 3]], headOf: [0, 1, 0, 1], saved: 4 });
  // The last token of each is its own, so that something follows
  expect(
    sharedHeads([
      [1, 2],
      [1, 2],
      [1, 2],
    ]),
  ).toEqual({ heads: [[1]], headOf: [0, 0, 0], saved: 2 });
});

/** The most that heads can save: every prompt follows any of its beginnings or none. */
function bruteForce(prompts: readonly (readonly number[])[]): number {
  const total = (rest: readonly (readonly number[])[], heads: ReadonlySet<string>): number => {
    if (rest.length === 0) return [...heads].reduce((left, head) => left - head.split(",").length, 0);
    const [first, ...others] = rest;
    let best = total(others, heads);
    for (let length = 1; length < first.length; length++) {
      best = Math.max(best, length + total(others, new Set([...heads, first.slice(0, length).join()])));
    }
    return best;
  };
  return total(prompts, new Set());
}

test("property: saves as much as any choice of heads, and each is a beginning of its prompts", () => {
  const ids = fc.array(fc.integer({ min: 10, max: 11 }), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(fc.array(ids, { minLength: 1, maxLength: 5 }), (prompts) => {
      const { heads, headOf, saved } = sharedHeads(prompts);
      let read = heads.reduce((sum, { length }) => sum + length, 0);
      for (const [row, prompt] of prompts.entries()) {
        const head = headOf[row] < 0 ? [] : heads[headOf[row]];
        expect(prompt.slice(0, head.length)).toEqual(head);
        expect(head.length).toBeLessThan(prompt.length);
        read += prompt.length - head.length;
      }
      expect(read).toBe(prompts.reduce((sum, { length }) => sum + length, 0) - saved);
      expect(saved).toBe(bruteForce(prompts));
    }),
  );
});

test("the beginning of all is as long as the shortest without its last token at most", () => {
  expect(
    sharedLength([
      [1, 2, 3],
      [1, 2],
      [1, 2, 4],
    ]),
  ).toBe(1);
  expect(
    sharedLength([
      [1, 2, 3, 4],
      [1, 2, 3, 5],
    ]),
  ).toBe(3);
  expect(sharedLength([[1, 2, 3]])).toBe(2);
  expect(
    sharedLength([
      [1, 2],
      [3, 4],
    ]),
  ).toBe(0);
});
