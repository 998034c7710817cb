import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  averageScore,
  backwardTransfer,
  forgetting,
  forgettingPerTopic,
  forwardTransfer,
  metricsOf,
} from "./metrics.ts";
import type { Direction } from "./metrics.ts";

/** Accuracies after three topics, worked out by hand below. */
const accuracy = [
  [0.9, 0.2, 0.1],
  [0.7, 0.8, 0.3],
  [0.6, 0.5, 1.0],
];
/** Bits per byte: topic 0 is best after topic 1 was learned. */
const bits = [
  [2.0, 2.6, 3.0],
  [1.9, 2.1, 3.1],
  [2.3, 2.2, 2.4],
];

const squares = fc.integer({ min: 1, max: 6 }).chain((size) => {
  const value = fc.double({ min: 0, max: 10, noNaN: true });
  return fc.array(fc.array(value, { minLength: size, maxLength: size }), { minLength: size, maxLength: size });
});

describe("worked by hand", () => {
  test("higher is better", () => {
    expect(averageScore(accuracy)).toBeCloseTo((0.6 + 0.5 + 1.0) / 3, 12);
    expect(backwardTransfer(accuracy)).toBeCloseTo((0.6 - 0.9 + (0.5 - 0.8)) / 2, 12);
    // Topic 2: max(0.1, 0.3) - 1.0, counted per topic but not in the mean.
    forgettingPerTopic(accuracy, "higher").forEach((value, j) => expect(value).toBeCloseTo([0.3, 0.3, -0.7][j], 12));
    expect(forgetting(accuracy, "higher")).toBeCloseTo(0.3, 12);
    expect(forwardTransfer(accuracy, [0.1, 0.1, 0.1])).toBeCloseTo((0.2 - 0.1 + (0.3 - 0.1)) / 2, 12);
  });

  test("lower is better", () => {
    expect(averageScore(bits)).toBeCloseTo(2.3, 12);
    expect(backwardTransfer(bits)).toBeCloseTo((0.3 + 0.1) / 2, 12);
    // Topic 0: 2.3 - 1.9, against its best row, which is not the diagonal.
    forgettingPerTopic(bits, "lower").forEach((value, j) => expect(value).toBeCloseTo([0.4, 0.1, 0][j], 12));
    expect(forgetting(bits, "lower")).toBeCloseTo(0.25, 12);
    expect(forwardTransfer(bits, [2.5, 2.5, 3.3])).toBeCloseTo((0.1 - 0.2) / 2, 12);
  });

  test("a stream that stopped after two of three topics counts the learned ones", () => {
    expect(averageScore(bits.slice(0, 2))).toBeCloseTo(2.0, 12);
    expect(backwardTransfer(bits.slice(0, 2))).toBeCloseTo(-0.1, 12);
    expect(forgetting(bits.slice(0, 2), "lower")).toBeCloseTo(0, 12);
  });

  test("nothing to compare is null", () => {
    expect(metricsOf({ R: [[1.5]], baseline: null, direction: "lower", unit: "u", topics: ["a"] })).toEqual({
      acc: 1.5,
      bwt: null,
      forgetting: null,
      fwt: null,
      forgettingPerTopic: [0],
    });
    expect(forgetting([[1.5]], "higher")).toBeNull();
    expect(averageScore([])).toBeNull();
  });

  test("cells that were not evaluated are never guessed", () => {
    const seen = [
      [2.0, null, null],
      [2.5, 1.0, null],
      [3.0, 1.5, 2.0],
    ];
    expect(averageScore(seen)).toBeCloseTo(6.5 / 3, 12);
    expect(backwardTransfer(seen)).toBeCloseTo(0.75, 12);
    expect(forgetting(seen, "lower")).toBeCloseTo(0.75, 12);
    expect(forwardTransfer(seen, [4, 4, 4])).toBeNull();
    expect(averageScore([[null]])).toBeNull();
  });

  test("a ragged matrix is our own bug", () => {
    expect(() => averageScore([[1, 2], [1]])).toThrow("internal:");
  });
});

describe("properties", () => {
  test("turning the scores around turns ACC, BWT, FWT around, and forgetting keeps its sign (never below 0 for lower)", () => {
    fc.assert(
      fc.property(squares, (R) => {
        const negated = R.map((row) => row.map((value) => -value));
        const baseline = R[0].map((value) => value / 2);
        const close = (a: number | null, b: number | null) => {
          if (a === null || b === null) expect(a).toBe(b);
          else expect(a).toBeCloseTo(b, 9);
        };
        const minus = (value: number | null) => (value === null ? null : -value);
        close(averageScore(negated), minus(averageScore(R)));
        close(backwardTransfer(negated), minus(backwardTransfer(R)));
        close(
          forwardTransfer(
            negated,
            baseline.map((value) => -value),
          ),
          minus(forwardTransfer(R, baseline)),
        );
        const lower = forgettingPerTopic(R, "lower");
        forgettingPerTopic(negated, "higher").forEach((value, j) =>
          close(lower[j], value === null ? 0 : Math.max(0, value)),
        );
      }),
    );
  });

  test("adding a constant to every score moves ACC alone", () => {
    fc.assert(
      fc.property(
        squares,
        fc.double({ min: -5, max: 5, noNaN: true }),
        fc.constantFrom<Direction>("higher", "lower"),
        (R, by, direction) => {
          const moved = R.map((row) => row.map((value) => value + by));
          expect(averageScore(moved)).toBeCloseTo((averageScore(R) as number) + by, 8);
          expect(backwardTransfer(moved) ?? 0).toBeCloseTo(backwardTransfer(R) ?? 0, 8);
          expect(forgetting(moved, direction) ?? 0).toBeCloseTo(forgetting(R, direction) ?? 0, 8);
        },
      ),
    );
  });

  test("forgetting is at least BWT for lower and at least -BWT for higher, where the diagonal is one of the rows compared", () => {
    fc.assert(
      fc.property(squares, (R) => {
        if (R.length < 2) return;
        expect(forgetting(R, "lower") as number).toBeGreaterThanOrEqual((backwardTransfer(R) as number) - 1e-9);
        expect(forgetting(R, "higher") as number).toBeGreaterThanOrEqual(-(backwardTransfer(R) as number) - 1e-9);
      }),
    );
  });

  test("the input is left alone", () => {
    const before = JSON.stringify(bits);
    metricsOf({ R: bits, baseline: bits[0], direction: "lower", unit: "u", topics: ["a", "b", "c"] });
    expect(JSON.stringify(bits)).toBe(before);
  });
});
