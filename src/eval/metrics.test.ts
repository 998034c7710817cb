import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  absorbedKnowledge,
  averageScore,
  backwardTransfer,
  forgetting,
  forgettingPerTopic,
  forwardTransfer,
  metricsOf,
  retainedKnowledge,
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
      rkr: null,
      nar: null,
      forgettingPerTopic: [0],
      rkrLeftOut: [],
      narLeftOut: [],
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

describe("RKR and NAR by hand", () => {
  test("retained and absorbed knowledge", () => {
    // (0.6/0.9 + 0.5/0.8) / 2
    expect(retainedKnowledge(accuracy, "higher")).toEqual({ value: expect.closeTo(0.645833333333, 10), leftOut: [] });
    // Topic 0: (0.9-0.4)/0.6, topic 1: (0.8-0.2)/0.8, topic 2: (1-0.3)/0.7
    const nar = absorbedKnowledge(accuracy, [0.4, 0.1, 0.1], "higher");
    expect(nar).toEqual({ value: expect.closeTo((0.5 / 0.6 + 0.75 + 1) / 3, 12), leftOut: [] });
  });

  test("topics that were never learned, or known before, are left out and listed by name", () => {
    const R = [
      [0.04, 0.5, 0],
      [0.9, 1, 0],
      [0.2, 0.5, 0.3],
    ];
    const matrix = { R, baseline: [1, 0, 0], direction: "higher", unit: "share", topics: ["a", "b", "c"] } as const;
    expect(metricsOf(matrix)).toMatchObject({
      rkr: 0.5,
      rkrLeftOut: ["a"],
      // Topic a was known before: (1 - 0.5)/0.5 and 0.3/1 remain.
      nar: expect.closeTo((1 + 0.3) / 2, 12),
      narLeftOut: ["a"],
    });
    expect(
      retainedKnowledge(
        [
          [0.01, 0],
          [1, 1],
        ],
        "higher",
      ),
    ).toEqual({ value: null, leftOut: [0] });
  });

  test("learning that makes a topic worse is negative; a topic forgotten completely counts 0", () => {
    expect(absorbedKnowledge([[0.25]], [0.5], "higher").value).toBeCloseTo(-0.5, 12);
    expect(
      retainedKnowledge(
        [
          [0.5, 0],
          [0, 1],
        ],
        "higher",
      ).value,
    ).toBe(0);
  });

  test("null for lower matrices, without a baseline, and where cells are missing", () => {
    expect(retainedKnowledge(bits, "lower").value).toBeNull();
    expect(absorbedKnowledge(bits, bits[0], "lower").value).toBeNull();
    expect(absorbedKnowledge(accuracy, null, "higher").value).toBeNull();
    const seen = [
      [0.9, null],
      [0.6, 0.8],
    ];
    expect(absorbedKnowledge(seen, [0, 0], "higher").value).toBeNull();
    expect(retainedKnowledge(seen, "higher").value).toBeCloseTo(2 / 3, 12);
    expect(retainedKnowledge([[0.9]], "higher").value).toBeNull();
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

  const shares = fc.integer({ min: 1, max: 6 }).chain((size) => {
    const value = fc.integer({ min: 0, max: 20 }).map((n) => n / 20);
    const row = fc.array(value, { minLength: size, maxLength: size });
    return fc.record({ R: fc.array(row, { minLength: size, maxLength: size }), baseline: row });
  });

  test("RKR is at least 0 and at most 1 where nothing grew; it follows the scale of the scores, NAR does not", () => {
    fc.assert(
      fc.property(shares, ({ R }) => {
        const rkr = retainedKnowledge(R, "higher").value;
        if (rkr === null) return;
        expect(rkr).toBeGreaterThanOrEqual(0);
        const capped = R.map((row, i) =>
          row.map((value, j) => (i === R.length - 1 ? Math.min(value, R[j][j]) : value)),
        );
        const kept = retainedKnowledge(capped, "higher").value as number;
        expect(kept).toBeLessThanOrEqual(1);
        expect(kept).toBeLessThanOrEqual(rkr + 1e-12);
        const larger = R.map((row) => row.map((value) => 3 * value));
        if (R.every((row, j) => row[j] >= 0.05 || row[j] === 0)) {
          expect(retainedKnowledge(larger, "higher").value).toBeCloseTo(rkr, 9);
        }
      }),
    );
  });

  test("NAR is at most 1, 1 for a perfect diagonal, 0 where learning changes nothing", () => {
    fc.assert(
      fc.property(shares, ({ R, baseline }) => {
        const nar = absorbedKnowledge(R, baseline, "higher");
        expect(nar.value ?? 0).toBeLessThanOrEqual(1 + 1e-12);
        const perfect = R.map((row, i) => row.map((value, j) => (i === j ? 1 : value)));
        const best = absorbedKnowledge(perfect, baseline, "higher");
        expect(best.value).toBe(best.leftOut.length === R.length ? null : 1);
        const still = R.map(() => baseline);
        const nothing = absorbedKnowledge(still, baseline, "higher");
        expect(nothing.value).toBe(nothing.leftOut.length === R.length ? null : 0);
      }),
    );
  });

  test("cells above and below those in the formulas do not count: columns of later topics may be permuted for RKR", () => {
    fc.assert(
      fc.property(shares, fc.double({ min: 0, max: 1, noNaN: true }), ({ R }, other) => {
        const changed = R.map((row, i) => row.map((value, j) => (i === j || i === R.length - 1 ? value : other)));
        expect(retainedKnowledge(changed, "higher")).toEqual(retainedKnowledge(R, "higher"));
      }),
    );
  });

  test("the input is left alone", () => {
    const before = JSON.stringify(bits);
    metricsOf({ R: bits, baseline: bits[0], direction: "lower", unit: "u", topics: ["a", "b", "c"] });
    expect(JSON.stringify(bits)).toBe(before);
  });
});
