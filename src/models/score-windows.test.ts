import fc from "fast-check";
import { expect, test } from "vitest";
import { planWindows } from "./score-windows.ts";

test("by hand: 10 tokens, context 4, stride 2", () => {
  expect(planWindows(10, 1, { contextLength: 4, stride: 2 })).toEqual([
    { start: 0, from: 1, to: 5 },
    { start: 2, from: 5, to: 7 },
    { start: 4, from: 7, to: 9 },
    { start: 5, from: 9, to: 10 },
  ]);
  expect(planWindows(10, 8, { contextLength: 4, stride: 2 })).toEqual([{ start: 5, from: 8, to: 10 }]);
  expect(planWindows(1, 1, { contextLength: 4, stride: 2 })).toEqual([]);
});

test("every token once, none before its context allows, none without enough before it", () => {
  const sizes = fc.tuple(
    fc.integer({ min: 1, max: 80 }),
    fc.integer({ min: 1, max: 80 }),
    fc.integer({ min: 1, max: 20 }),
    fc.integer({ min: 1, max: 20 }),
  );
  fc.assert(
    fc.property(sizes, ([length, from, contextLength, raw]) => {
      const stride = Math.min(raw, contextLength);
      const windows = planWindows(length, from, { contextLength, stride });
      const scored = windows.flatMap((w) => Array.from({ length: w.to - w.from }, (_, i) => w.from + i));
      expect(scored).toEqual(Array.from({ length: Math.max(0, length - from) }, (_, i) => from + i));
      for (const { start, from: first, to } of windows) {
        expect(to - 1 - start).toBeLessThanOrEqual(contextLength);
        // Tokens read before the first scored one
        expect(first - start).toBeGreaterThanOrEqual(start === 0 ? 1 : contextLength - stride + 1);
      }
    }),
    { numRuns: 500 },
  );
});

test("senseless windows are refused", () => {
  expect(() => planWindows(5, 1, { contextLength: 4, stride: 5 })).toThrow(
    "stride from 1 to the context length 4, got 5",
  );
  expect(() => planWindows(5, 1, { contextLength: 0, stride: 1 })).toThrow("context length of 1 or more");
});
