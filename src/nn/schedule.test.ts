import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { constant, cosine, linear, schedules } from "./schedule.ts";

describe("schedules", () => {
  it("rise to the peak in equal steps, the first of them not 0", () => {
    const options = { warmupSteps: 4, totalSteps: 10 };
    for (const schedule of Object.values(schedules)) {
      expect([0, 1, 2, 3, 4].map((step) => schedule(step, options))).toEqual([0.25, 0.5, 0.75, 1, 1]);
    }
  });

  it("take known values", () => {
    const options = { totalSteps: 8, floor: 0.2 };
    expect(cosine(2, options)).toBeCloseTo(0.2 + 0.8 * (0.5 + Math.SQRT1_2 / 2), 12);
    expect(cosine(4, options)).toBeCloseTo(0.6, 12);
    expect(linear(4, options)).toBeCloseTo(0.6, 12);
    expect(linear(6, options)).toBeCloseTo(0.4, 12);
    expect(constant(7, options)).toBe(1);
  });

  it("stay between floor and 1, fall after the warm-up, and hold the floor at the end", () => {
    const arbitrary = fc.record({
      warmupSteps: fc.nat(50),
      totalSteps: fc.integer({ min: 1, max: 200 }),
      floor: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(arbitrary, fc.nat(300), (options, step) => {
        for (const schedule of [cosine, linear]) {
          const now = schedule(step, options);
          expect(now).toBeGreaterThan(-1e-12);
          expect(now).toBeLessThanOrEqual(1 + 1e-12);
          if (step >= options.warmupSteps) {
            expect(now).toBeGreaterThanOrEqual(options.floor - 1e-12);
            expect(schedule(step + 1, options)).toBeLessThanOrEqual(now + 1e-12);
          }
          const end = Math.max(options.totalSteps, options.warmupSteps);
          expect(schedule(end, options)).toBeCloseTo(options.floor, 12);
        }
      }),
    );
  });

  it("refuse senseless options", () => {
    expect(() => cosine(-1, { totalSteps: 5 })).toThrow("schedule: expected step");
    expect(() => linear(0, { totalSteps: 5, floor: 2 })).toThrow("floor 2");
  });
});
