import { expect, test } from "vitest";
import { median, rounded, spread } from "./stats.ts";

test("the median is the middle value, or the mean of the two in the middle", () => {
  expect(median([9, 1, 5])).toBe(5);
  expect(median([9, 1, 5, 2])).toBe(3.5);
  expect(median([7])).toBe(7);
  // Numbers, not words: 10 stands after 9
  expect(median([10, 9, 100])).toBe(10);
});

test("the median leaves its argument as it was, and nothing has no median", () => {
  const values = [3, 1, 2];
  median(values);
  expect(values).toEqual([3, 1, 2]);
  expect(() => median([])).toThrow("internal: median of nothing");
});

test("a spread tells the range and the number of repeats", () => {
  expect(spread([4, 2, 8, 6])).toEqual({ median: 5, min: 2, max: 8, repeats: 4 });
});

test("rounding cuts fractions at any depth and leaves whole numbers, text and null", () => {
  const result = {
    ratio: 1.23456789,
    bytes: 494_128_128,
    rounds: [{ ms: 0.000123456789 }],
    peer: "absent",
    value: null,
  };
  expect(rounded(result)).toEqual({
    ratio: 1.2346,
    bytes: 494_128_128,
    rounds: [{ ms: 0.00012346 }],
    peer: "absent",
    value: null,
  });
});
