import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { atEqualLearning, baseRetention, computeEfficiency, probeRatio } from "./comparison.ts";
import type { LearningPoint } from "./comparison.ts";

const probe = (direction: "higher" | "lower", before: number | null, ...after: (number | null)[]) => ({
  before,
  after,
  direction,
  unit: "u",
});

describe("base retention", () => {
  test("is after / before with the last row of what the base knows by itself; others stay beside it", () => {
    const probes = {
      admits: probe("higher", 0.5, 0.5, 0.55),
      known: { ...probe("higher", 0.96, 0.9, 0.48), ofBase: true },
      books: probe("lower", 1.6, 1.7, 2),
    };
    expect(Object.values(probes).map(probeRatio)).toEqual([expect.closeTo(1.1, 12), 0.5, 1.25]);
    expect(baseRetention(probes)).toBe(0.5);
    // Says "unknown" to everything: nothing of what it knew is left
    expect(baseRetention({ ...probes, known: { ...probes.known, after: [0.9, 0] } })).toBe(0);
  });

  test("is null where nothing was known, nothing was measured, or there is no probe", () => {
    expect(probeRatio(probe("higher", 0.04, 0.5))).toBeNull();
    expect(probeRatio(probe("lower", 0, 1))).toBeNull();
    expect(probeRatio(probe("higher", null, 0.5))).toBeNull();
    expect(probeRatio(probe("higher", 0.5))).toBeNull();
    expect(baseRetention({})).toBeNull();
    expect(baseRetention({ books: probe("lower", 1, 2), admits: probe("higher", 0.5, 0.5) })).toBeNull();
    expect(
      baseRetention({ a: { ...probe("higher", 0.04, 0.5), ofBase: true }, b: probe("higher", 0.5, 0.25) }),
    ).toBeNull();
  });
});

describe("CER", () => {
  test("is knowledge per second relative to full finetuning", () => {
    // 0.6 in 10 s against 0.9 in 60 s: 0.06 / 0.015
    expect(computeEfficiency({ nar: 0.6, seconds: 10 }, { nar: 0.9, seconds: 60 })).toBeCloseTo(4, 12);
    expect(computeEfficiency({ nar: 0, seconds: 10 }, { nar: 0.9, seconds: 60 })).toBe(0);
    expect(computeEfficiency({ nar: -0.3, seconds: 60 }, { nar: 0.9, seconds: 60 })).toBeCloseTo(-1 / 3, 12);
  });

  test("is null where it cannot be said", () => {
    const full = { nar: 0.9, seconds: 60 };
    expect(computeEfficiency({ nar: null, seconds: 10 }, full)).toBeNull();
    expect(computeEfficiency({ nar: 0.5, seconds: 0 }, full)).toBeNull();
    expect(computeEfficiency(full, { nar: 0, seconds: 60 })).toBeNull();
    expect(computeEfficiency(full, { nar: -0.1, seconds: 60 })).toBeNull();
    expect(computeEfficiency(full, { nar: null, seconds: 60 })).toBeNull();
  });

  test("property: of a run with itself it is 1, and it is as many times larger as the time is shorter", () => {
    const run = fc.record({
      nar: fc.double({ min: 0.01, max: 1, noNaN: true }),
      seconds: fc.double({ min: 0.1, max: 1e4, noNaN: true }),
    });
    fc.assert(
      fc.property(run, run, (one, full) => {
        expect(computeEfficiency(full, full)).toBeCloseTo(1, 12);
        const cer = computeEfficiency(one, full) as number;
        const faster = computeEfficiency({ ...one, seconds: one.seconds / 2 }, full) as number;
        expect(faster / cer).toBeCloseTo(2, 9);
      }),
    );
  });
});

describe("at equal learning", () => {
  const point = (setting: string, learned: number | null, retention: number | null): LearningPoint => ({
    setting,
    learned,
    retention,
  });

  test("is linear between the settings around the point", () => {
    const points = [point("fast", 0.9, 0.2), point("slow", 0.3, 0.95), point("middle", 0.6, 0.8)];
    // A third of the way from 0.6 to 0.9: 0.8 - 0.2
    expect(atEqualLearning(points)).toEqual({ retention: expect.closeTo(0.6, 12), between: ["middle", "fast"] });
    expect(atEqualLearning(points, 0.45)).toEqual({
      retention: expect.closeTo(0.875, 12),
      between: ["slow", "middle"],
    });
    expect(atEqualLearning(points, 0.9)).toEqual({ retention: 0.2, between: ["fast", "fast"] });
  });

  test("settings that learned equally much count as their mean", () => {
    const points = [point("a", 0.7, 0.5), point("b", 0.7, 0.7), point("c", 0.2, 1)];
    expect(atEqualLearning(points)).toEqual({ retention: expect.closeTo(0.6, 12), between: ["a, b", "a, b"] });
  });

  test("is null where the point is not bracketed", () => {
    expect(atEqualLearning([])).toBeNull();
    expect(atEqualLearning([point("a", 0.5, 1), point("b", 0.69, 1)])).toBeNull();
    expect(atEqualLearning([point("a", 0.8, 1), point("b", 0.9, 1)])).toBeNull();
    expect(atEqualLearning([point("a", 0.5, 1), point("b", 0.9, null), point("c", null, 1)])).toBeNull();
  });

  test("property: lies between the retentions of its neighbours, whatever the order of the points", () => {
    const value = fc.double({ min: 0, max: 1, noNaN: true });
    const list = fc.array(fc.tuple(value, value), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(list, value, (pairs, at) => {
        const points = pairs.map(([learned, retention], i) => point(`s${i}`, learned, retention));
        const found = atEqualLearning(points, at);
        const turned = atEqualLearning([...points].reverse(), at);
        expect(turned === null).toBe(found === null);
        if (!found || !turned) {
          const learned = pairs.map(([one]) => one);
          expect(Math.min(...learned) > at || Math.max(...learned) < at).toBe(true);
          return;
        }
        expect(turned.between).toEqual(found.between);
        expect(turned.retention).toBeCloseTo(found.retention, 9);
        const near = points.filter(({ setting }) => found.between.join(", ").split(", ").includes(setting));
        const retentions = near.map(({ retention }) => retention as number);
        expect(found.retention).toBeGreaterThanOrEqual(Math.min(...retentions) - 1e-9);
        expect(found.retention).toBeLessThanOrEqual(Math.max(...retentions) + 1e-9);
      }),
    );
  });
});
