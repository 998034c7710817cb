/** Rankings: fused ones by hand, and nearest vectors. */
import { expect, test } from "vitest";
import { fuseRankings } from "./rank-fusion.ts";
import { createVectorIndex } from "./vectors.ts";

test("reciprocal rank fusion by hand", () => {
  // 1/61 + 1/63 = 0.03227 (a), 1/62 + 1/61 = 0.03252 (b), 1/63 = 0.01587 (c), 1/62 = 0.01613 (d)
  const [a, b, c, d] = [1, 2, 3, 4];
  expect(
    fuseRankings([
      [a, b, c],
      [b, d, a],
    ]),
  ).toEqual([b, a, d, c]);
  expect(
    fuseRankings([
      [7, 8],
      [8, 7],
    ]),
  ).toEqual([8, 7]); // equals: the larger key
  expect(fuseRankings([[], [5]])).toEqual([5]);
});

test("nearest vectors, through removals", () => {
  const index = createVectorIndex();
  expect(index.search(Float32Array.of(1, 0), 3)).toEqual([]);
  index.add(1, Float32Array.of(1, 0));
  index.add(2, Float32Array.of(0.6, 0.8));
  index.add(3, Float32Array.of(0, 1));
  index.add(4, Float32Array.of(0.6, 0.8));
  expect(index.search(Float32Array.of(0.8, 0.6), 3)).toEqual([4, 2, 1]);
  index.remove(4);
  expect(index.search(Float32Array.of(0, 1), 2)).toEqual([3, 2]);
  expect(index.bytes()).toBe(3 * 2 * 4);
  expect(index.get(4)).toBeUndefined();
});
