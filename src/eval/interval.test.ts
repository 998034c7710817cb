import { expect, test } from "vitest";
import { interval95, studentT } from "./interval.ts";

test("mean and 95% interval by hand", () => {
  // 1, 2, 6: mean 3, squared differences 4 + 1 + 9 = 14, deviation sqrt(7), half 4.30265 * sqrt(7/3)
  const known = interval95([1, null, 2, 6]);
  expect(known).toMatchObject({ n: 3, mean: 3 });
  expect(known?.half).toBeCloseTo(4.30265273 * Math.sqrt(7 / 3), 8);
  expect(interval95([0.5])).toEqual({ n: 1, mean: 0.5, half: null });
  expect(interval95([2, 2])?.half).toBe(0);
  expect(interval95([null])).toBeNull();
});

test("quantiles of Student's t: the published table, and the integral of the density", () => {
  expect([1, 2, 4, 30].map((f) => Number(studentT(f).toFixed(3)))).toEqual([12.706, 4.303, 2.776, 2.042]);
  expect(studentT(40)).toBeCloseTo(2.021, 3);
  expect(studentT(120)).toBeCloseTo(1.98, 3);
  for (const freedom of [2, 9, 31, 60]) {
    const t = studentT(freedom);
    const density = (x: number) => (1 + (x * x) / freedom) ** (-(freedom + 1) / 2);
    const area = (end: number, steps: number) =>
      Array.from({ length: steps }, (_, i) => density(((i + 0.5) / steps) * end)).reduce((a, b) => a + b, 0) *
      (end / steps);
    // The whole half-line after x = u/(1-u), so that its infinite end is reached as well.
    const whole = Array.from({ length: 20000 }, (_, i) => (i + 0.5) / 20000)
      .map((u) => density(u / (1 - u)) / (1 - u) ** 2 / 20000)
      .reduce((a, b) => a + b, 0);
    expect(area(t, 20000) / whole).toBeCloseTo(0.95, 3);
  }
});
