import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { attentionEntropy, drift, linearCka, stacked } from "./representation.ts";

const rows = (...lines: number[][]) => ({ data: Float32Array.from(lines.flat()), width: lines[0].length });
const X = rows([1, 2], [3, 5], [0, 1], [4, 4], [2, 7]);
const Y = rows([2, 1, 0], [3, 3, 1], [1, 0, 2], [5, 2, 2], [0, 4, 1]);

describe("drift", () => {
  test("by hand: doubled, turned by a right angle, and both", () => {
    const base = rows([3, 4], [0, 2]);
    expect(drift(base, base)).toEqual({ relativeL2: 0, cosine: 1 });
    expect(drift(rows([6, 8], [0, 4]), base)).toEqual({ relativeL2: 1, cosine: 1 });
    expect(drift(rows([-4, 3], [2, 0]), base)).toEqual({ relativeL2: expect.closeTo(Math.SQRT2, 12), cosine: 0 });
    // A long row counts no more than a short one: 0 and 1.
    expect(drift(rows([3000, 4000], [0, 4]), rows([3000, 4000], [0, 2])).relativeL2).toBe(0.5);
  });

  test("agrees with numpy", () => {
    const { relativeL2, cosine } = drift(X, rows([2, 1], [3, 3], [1, 0], [5, 2], [0, 4]));
    expect(relativeL2).toBeCloseTo(0.7669377666665, 9);
    expect(cosine).toBeCloseTo(0.73016229556, 9);
  });
});

describe("linear CKA", () => {
  test("agrees with numpy, whichever way round", () => {
    expect(linearCka(X, Y)).toBeCloseTo(0.675419389058, 9);
    expect(linearCka(Y, X)).toBeCloseTo(0.675419389058, 9);
  });

  test("is 1 of equal numbers, and nothing is hidden by it", () => {
    expect(linearCka(X, rows([1, 2], [3, 5], [0, 1], [4, 4], [2, 7]))).toBe(1);
    expect(linearCka(X, rows([1, 2], [3, 5], [0, 1], [4, 4], [2, 7.5]))).toBeLessThan(1);
  });

  test("of one column each it is the squared correlation", () => {
    // Centred: (-1, 0, 1) and (-1, -1, 2), dot 3, lengths 2 and 6: 9 / 12
    expect(linearCka(rows([1], [2], [3]), rows([0], [0], [3]))).toBeCloseTo(0.75, 12);
  });

  test("is that of the definition for any number of tokens and unequal widths", () => {
    for (const N of [1, 2, 3, 4, 5, 6, 7, 9, 14]) {
      const draw = (width: number, seed: number): number[][] =>
        Array.from({ length: N }, (_, n) =>
          Array.from({ length: width }, (_, i) => Math.sin(seed + 7 * n + 3.3 * i * n)),
        );
      const [A, B] = [draw(3, 1), draw(5, 2)];
      const centre = (m: number[][]): number[][] =>
        m.map((line) =>
          line.map((value, i) => Math.fround(value) - m.reduce((sum, l) => sum + Math.fround(l[i]), 0) / N),
        );
      const squares = (P: number[][], Q: number[][]): number =>
        P[0]
          .flatMap((_, i) => Q[0].map((_, j) => P.reduce((sum, line, n) => sum + line[i] * Q[n][j], 0) ** 2))
          .reduce((a, b) => a + b);
      const [P, Q] = [centre(A), centre(B)];
      const expected = N === 1 ? 1 : squares(P, Q) / Math.sqrt(squares(P, P) * squares(Q, Q));
      expect(linearCka(rows(...A), rows(...B))).toBeCloseTo(expected, 12);
    }
  });

  test("property: 1 for turned, scaled and shifted copies, between 0 and 1 for all", () => {
    const value = fc.integer({ min: -9, max: 9 });
    const matrix = fc.array(fc.tuple(value, value), { minLength: 3, maxLength: 8 });
    const varied = (lines: readonly (readonly number[])[]) =>
      [0, 1].some((i) => new Set(lines.map((l) => l[i])).size > 1);
    const angle = fc.double({ min: 0, max: 6, noNaN: true });
    fc.assert(
      fc.property(
        matrix.filter(varied),
        angle,
        value.filter((n) => n !== 0),
        (lines, by, scale) => {
          const turned = lines.map(([x, y]) => [
            scale * (Math.cos(by) * x - Math.sin(by) * y) + 5,
            scale * (Math.sin(by) * x + Math.cos(by) * y) - 2,
          ]);
          expect(linearCka(rows(...turned), rows(...lines))).toBeCloseTo(1, 5);
          const other = rows(...lines.map(([x, y], i) => [x * y, i]));
          const cka = linearCka(other, rows(...lines));
          expect(cka).toBeGreaterThanOrEqual(-1e-9);
          expect(cka).toBeLessThanOrEqual(1 + 1e-9);
        },
      ),
    );
  });
});

test("attention entropy: even attention to n tokens is ln n, attention to one is 0", () => {
  const T = 4;
  const causal = Array.from({ length: T }, (_, i) => Array.from({ length: T }, (_, j) => (j <= i ? 1 / (i + 1) : 0)));
  const self = Array.from({ length: T }, (_, i) => Array.from({ length: T }, (_, j) => Number(i === j)));
  const weights = Float32Array.from([...causal.flat(), ...self.flat()]);
  const shape = { heads: 2, length: T };
  const found = attentionEntropy(weights, { ...shape, positions: [1, 3] });
  expect(found).toEqual([expect.closeTo((Math.log(2) + Math.log(4)) / 2, 6), 0]);
  expect(attentionEntropy(weights, { ...shape, positions: [0] })).toEqual([0, 0]);
  expect(() => attentionEntropy(weights, { heads: 3, length: T, positions: [0] })).toThrow("internal:");
});

test("rows of several texts are put under each other; unequal ones are our own bug", () => {
  expect(stacked([rows([1, 2]), rows([3, 4], [5, 6])])).toEqual(rows([1, 2], [3, 4], [5, 6]));
  expect(() => stacked([rows([1, 2]), rows([1])])).toThrow("internal:");
  expect(() => drift(X, Y)).toThrow("internal:");
  expect(() => linearCka(X, rows([1]))).toThrow("internal:");
});
