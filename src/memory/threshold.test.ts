/** Thresholds by hand, and against trying every one. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { calibrate } from "./threshold.ts";

describe("by hand", () => {
  // 0.9 + | 0.8 + | 0.7 - | 0.6 + | 0.4 - | 0.3 + | 0.2 - | 0.1 -
  const positives = [0.9, 0.8, 0.6, 0.3];
  const negatives = [0.7, 0.4, 0.2, 0.1];

  test("equal errors: between 0.6 and 0.4 one of four is wrong on either side", () => {
    expect(calibrate(positives, negatives)).toEqual({
      threshold: expect.closeTo(0.5, 12),
      falsePositiveShare: 0.25,
      falseNegativeShare: 0.25,
      positives: 4,
      negatives: 4,
    });
  });

  test("at most a share of false positives", () => {
    const at = (falsePositiveShare: number) => calibrate(positives, negatives, { aim: { falsePositiveShare } });
    expect(at(0)).toMatchObject({
      threshold: expect.closeTo(0.75, 12),
      falsePositiveShare: 0,
      falseNegativeShare: 0.5,
    });
    expect(at(0.3)).toMatchObject({ threshold: expect.closeTo(0.5, 12), falseNegativeShare: 0.25 });
    expect(at(0.5)).toMatchObject({ threshold: expect.closeTo(0.25, 12), falsePositiveShare: 0.5 });
    expect(at(1)).toMatchObject({ threshold: expect.closeTo(0.25, 12), falseNegativeShare: 0 });
  });

  test("classes apart: halfway between them", () => {
    expect(calibrate([3, 4], [1, 2]).threshold).toBe(2.5);
    expect(calibrate([3, 4], [Number.NEGATIVE_INFINITY]).threshold).toBe(3);
    expect(calibrate([3], [4], { aim: { falsePositiveShare: 0 } }).threshold).toBe(Number.POSITIVE_INFINITY);
  });
});

test("bad input", () => {
  expect(() => calibrate([], [1])).toThrow("expected at least one score of each kind, got no positive ones");
  expect(() => calibrate([1], [1, Number.NaN])).toThrow("got NaN as negative score 1");
  expect(() => calibrate([1], [1], { aim: { falsePositiveShare: 2 } })).toThrow("from 0 to 1, got 2");
});

test("no other threshold does better", () => {
  const scores = fc.array(
    fc.integer({ min: 0, max: 12 }).map((n) => n / 4),
    { minLength: 1, maxLength: 20 },
  );
  const share = (list: readonly number[], test: (score: number) => boolean) => list.filter(test).length / list.length;
  fc.assert(
    fc.property(scores, scores, fc.double({ min: 0, max: 1, noNaN: true }), (positives, negatives, most) => {
      const all = Array.from({ length: 14 }, (_, i) => i / 4 - 0.125).map((threshold) => ({
        wrong: share(negatives, (score) => score >= threshold),
        missed: share(positives, (score) => score < threshold),
      }));
      const equal = calibrate(positives, negatives);
      expect(equal.falsePositiveShare).toBe(share(negatives, (score) => score >= equal.threshold));
      expect(equal.falseNegativeShare).toBe(share(positives, (score) => score < equal.threshold));
      const gaps = all.map(({ wrong, missed }) => Math.abs(wrong - missed));
      expect(Math.abs(equal.falsePositiveShare - equal.falseNegativeShare)).toBeCloseTo(Math.min(...gaps), 12);
      const limited = calibrate(positives, negatives, { aim: { falsePositiveShare: most } });
      const missed = all.filter(({ wrong }) => wrong <= most).map((one) => one.missed);
      expect(limited.falsePositiveShare).toBeLessThanOrEqual(most);
      expect(limited.falseNegativeShare).toBe(Math.min(1, ...missed));
    }),
  );
});
