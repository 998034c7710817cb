/** ROC, its area, equal error rate and F1: by hand, and the area against counting pairs. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { areaUnderRoc, bestF1, equalErrorRate, rocPoints } from "./roc.ts";

describe("by hand", () => {
  // 0.9 + | 0.8 + | 0.7 - | 0.6 + | 0.4 - | 0.3 + | 0.2 - | 0.1 -
  const positives = [0.9, 0.8, 0.6, 0.3];
  const negatives = [0.7, 0.4, 0.2, 0.1];

  test("points", () => {
    expect(rocPoints(positives, negatives)).toEqual(
      [
        [Number.POSITIVE_INFINITY, 0, 0],
        [0.9, 0, 0.25],
        [0.8, 0, 0.5],
        [0.7, 0.25, 0.5],
        [0.6, 0.25, 0.75],
        [0.4, 0.5, 0.75],
        [0.3, 0.5, 1],
        [0.2, 0.75, 1],
        [0.1, 1, 1],
      ].map(([threshold, falsePositiveRate, truePositiveRate]) => ({ threshold, falsePositiveRate, truePositiveRate })),
    );
  });

  test("area: 13 of 16 pairs are in order", () => {
    expect(areaUnderRoc(positives, negatives)).toBeCloseTo(13 / 16, 12);
  });

  test("equal error rate: at 0.6, one of four is wrong on either side", () => {
    expect(equalErrorRate(positives, negatives)).toBeCloseTo(0.25, 12);
  });

  test("equal error rate between two points", () => {
    // Points (0, 0), (0, 2/3) after 3 and 2, (1/2, 2/3) after 1.5, (1/2, 1) ... The line from (0, 2/3) to (1/2, 2/3)
    // crosses 1 - t = f at f = 1/3
    expect(equalErrorRate([3, 2, 1], [1.5, 0.5])).toBeCloseTo(1 / 3, 12);
    // All scores equal: the line from (0, 0) to (1, 1)
    expect(equalErrorRate([1, 1], [1, 1, 1])).toBeCloseTo(0.5, 12);
    expect(equalErrorRate([2, 3], [1, 0])).toBe(0);
    expect(equalErrorRate([0, 1], [2, 3])).toBe(1);
  });

  test("F1: from 0.3 on 4 of 4 with 2 wrong is 8/10; from 0.6 on 3 with 1 wrong is 6/8", () => {
    expect(bestF1(positives, negatives)).toEqual({ f1: 0.8, threshold: 0.3 });
    expect(bestF1([2, 3], [1, 0])).toEqual({ f1: 1, threshold: 2 });
  });
});

test("scores of one kind only, or no numbers, are refused", () => {
  expect(() => equalErrorRate([], [1])).toThrow("roc: expected at least one score of each kind, got 0 positive");
  expect(() => areaUnderRoc([Number.NaN], [1])).toThrow("got NaN among the scores");
});

describe("properties", () => {
  const scores = fc.array(
    fc.integer({ min: 0, max: 12 }).map((n) => n / 4),
    { minLength: 1, maxLength: 20 },
  );

  test("the area counts pairs, ties half", () => {
    fc.assert(
      fc.property(scores, scores, (positives, negatives) => {
        const wins = positives.flatMap((p) => negatives.map((n) => (p > n ? 1 : p === n ? 0.5 : 0) as number));
        const mean = wins.reduce((a, b) => a + b, 0) / wins.length;
        expect(areaUnderRoc(positives, negatives)).toBeCloseTo(mean, 10);
      }),
    );
  });

  test("kinds and signs exchanged, the equal error rate stays", () => {
    fc.assert(
      fc.property(scores, scores, (positives, negatives) => {
        const flipped = equalErrorRate(
          negatives.map((score) => -score),
          positives.map((score) => -score),
        );
        expect(equalErrorRate(positives, negatives)).toBeCloseTo(flipped, 10);
      }),
    );
  });
});
