/** The unrolled loops against the plain ones, at lengths that are whole fours and that are not. */
import { expect, test } from "vitest";
import { randomStream } from "../tensor/random.ts";
import { addOuter, addScaled, symmetricTimes, triangleSize } from "./matrix.ts";

const random = randomStream(0, "matrix");
/** Whole numbers: sums have no rounding, in whatever order. */
const wholes = (n: number): Float64Array => Float64Array.from({ length: n }, () => random.integer(201) - 100);

test.each([1, 2, 3, 4, 5, 7, 8, 11, 16, 30])("of %i numbers", (n) => {
  const [triangle, x] = [wholes(triangleSize(n)), wholes(n)];
  const at = (i: number, j: number): number => triangle[triangleSize(Math.max(i, j)) + Math.min(i, j)];
  const out = new Float64Array(n).fill(Number.NaN);
  symmetricTimes(triangle, x, out);
  expect(out).toEqual(Float64Array.from(x, (_, i) => x.reduce((sum, value, j) => sum + at(i, j) * value, 0)));

  const added = Float64Array.from(triangle);
  addOuter(added, 3, x);
  let k = 0;
  for (let i = 0; i < n; i++) for (let j = 0; j <= i; j++, k++) expect(added[k]).toBe(triangle[k] + 3 * x[i] * x[j]);

  const y = wholes(n + 4);
  const expected = y.map((value, i) => (i >= 2 && i < n + 2 ? value - 5 * x[i - 2] : value));
  addScaled(-5, x, 0, y, 2, n);
  expect(y).toEqual(expected);
});
