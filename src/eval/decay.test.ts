import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decayOf, fitDecay } from "./decay.ts";

const points = (...scores: number[]) => scores.map((score, t) => ({ t, score }));

describe("fitDecay", () => {
  test("agrees with scipy's curve_fit", () => {
    // scipy.optimize.curve_fit, a * exp(-t / tau), t = 0 ... 4
    const fit = fitDecay(points(0.9, 0.5, 0.35, 0.15, 0.12));
    expect(fit?.a).toBeCloseTo(0.89409524, 6);
    expect(fit?.tau).toBeCloseTo(1.88323272, 5);
    expect(fit?.r2).toBeCloseTo(0.991201457654, 8);
    expect(fit?.points).toBe(5);
  });

  test("a score that does not fall has no tau; one that is lost at once has almost none", () => {
    expect(fitDecay(points(0.5, 0.5, 0.5))).toEqual({ a: 0.5, tau: null, r2: null, points: 3 });
    // Growing: the best that a fall can do is the mean.
    const growing = fitDecay(points(0.2, 0.4, 0.6));
    expect(growing).toMatchObject({ a: expect.closeTo(0.4, 9), tau: null, r2: expect.closeTo(0, 9) });
    const lost = fitDecay(points(0.8, 0, 0, 0));
    expect(lost?.tau).toBeLessThan(0.1);
    expect(lost).toMatchObject({ a: expect.closeTo(0.8, 9), r2: expect.closeTo(1, 9) });
    expect(fitDecay(points(0, 0, 0))).toEqual({ a: 0, tau: null, r2: null, points: 3 });
  });

  test("two points, or one moment only, say nothing", () => {
    expect(fitDecay(points(0.9, 0.5))).toBeNull();
    expect(fitDecay([0.9, 0.5, 0.4].map((score) => ({ t: 1, score })))).toBeNull();
  });

  test("property: finds the curve that made the points, in any order", () => {
    const curve = fc.record({
      a: fc.double({ min: 0.05, max: 1, noNaN: true }),
      tau: fc.double({ min: 0.3, max: 50, noNaN: true }),
      length: fc.integer({ min: 3, max: 8 }),
    });
    fc.assert(
      fc.property(curve, ({ a, tau, length }) => {
        const made = Array.from({ length }, (_, t) => ({ t, score: a * Math.exp(-t / tau) }));
        const fit = fitDecay(made.reverse());
        expect(fit?.a).toBeCloseTo(a, 5);
        expect((fit?.tau ?? 0) / tau).toBeCloseTo(1, 4);
        expect(fit?.r2).toBeCloseTo(1, 7);
      }),
    );
  });

  test("property: the goodness lies between 0 and 1 for any scores", () => {
    const score = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(fc.array(score, { minLength: 3, maxLength: 8 }), (scores) => {
        const { r2 } = fitDecay(points(...scores)) ?? { r2: 0 };
        if (r2 === null) return;
        expect(r2).toBeGreaterThanOrEqual(-1e-9);
        expect(r2).toBeLessThanOrEqual(1);
      }),
    );
  });
});

test("a matrix gives one curve per topic from its diagonal down, and one fit through all", () => {
  const half = (t: number) => 0.8 * 2 ** -t;
  const R = [
    [half(0), 0.9, 0.9, 0.9],
    [half(1), half(0), 0.9, 0.9],
    [half(2), half(1), half(0), 0.9],
    [half(3), null, half(1), half(0)],
  ];
  const matrix = { R, baseline: null, direction: "higher", unit: "share", topics: ["a", "b", "c", "d"] } as const;
  const { all, perTopic } = decayOf(matrix);
  expect(perTopic[0]).toMatchObject({ a: expect.closeTo(0.8, 6), tau: expect.closeTo(1 / Math.LN2, 5), points: 4 });
  expect(perTopic.slice(1)).toEqual([null, null, null]);
  expect(all).toMatchObject({ a: expect.closeTo(0.8, 6), tau: expect.closeTo(1 / Math.LN2, 5), points: 9 });
  expect(decayOf({ ...matrix, direction: "lower" })).toEqual({ all: null, perTopic: [null, null, null, null] });
});
