import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { attentionEntropy, drift, linearCka, type Rows, stacked } from "./representation.ts";

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

const ckaOf = async (now: Rows, base: Rows): Promise<number> => (await linearCka([[now, base]]))[0];

describe("linear CKA", () => {
  test("agrees with numpy, whichever way round", async () => {
    expect(await ckaOf(X, Y)).toBeCloseTo(0.675419389058, 6);
    expect(await ckaOf(Y, X)).toBeCloseTo(0.675419389058, 6);
  });

  test("is 1 of equal numbers, and nothing is hidden by it", async () => {
    const equal = rows([1, 2], [3, 5], [0, 1], [4, 4], [2, 7]);
    const other = rows([1, 2], [3, 5], [0, 1], [4, 4], [2, 7.5]);
    expect(await ckaOf(X, equal)).toBe(1);
    expect(await ckaOf(X, other)).toBeLessThan(0.9999);
    expect(
      await linearCka([
        [X, equal],
        [X, other],
      ]),
    ).toEqual([1, await ckaOf(X, other)]);
  });

  test("of one column each it is the squared correlation", async () => {
    // Centred: (-1, 0, 1) and (-1, -1, 2), dot 3, lengths 2 and 6: 9 / 12
    expect(await ckaOf(rows([1], [2], [3]), rows([0], [0], [3]))).toBeCloseTo(0.75, 6);
  });

  test("of equal rows there is nothing to compare, also where their mean is rounded", async () => {
    const constant = rows([0.1, 0.7], [0.1, 0.7], [0.1, 0.7], [0.1, 0.7], [0.1, 0.7]);
    const another = rows([0.3], [0.3], [0.3], [0.3], [0.3]);
    expect(
      await linearCka([
        [constant, X],
        [X, constant],
        [constant, another],
      ]),
    ).toEqual([0, 0, 1]);
  });

  test("holds for numbers far from zero and far from one", async () => {
    const far = (by: number, scale: number) => ({ data: X.data.map((v) => scale * v + by), width: X.width });
    expect(await ckaOf(far(1000, 1), Y)).toBeCloseTo(0.675419389058, 4);
    expect(await ckaOf(far(0, 1e12), far(0, 1e-12))).toBeCloseTo(1, 6);
  });

  test("is that of the definition for any number of tokens and unequal widths", async () => {
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
      expect(await ckaOf(rows(...A), rows(...B))).toBeCloseTo(expected, 6);
    }
  });

  test("property: 1 for turned, scaled and shifted copies, between 0 and 1 for all", async () => {
    const value = fc.integer({ min: -9, max: 9 });
    const matrix = fc.array(fc.tuple(value, value), { minLength: 3, maxLength: 8 });
    const varied = (lines: readonly (readonly number[])[]) =>
      [0, 1].some((i) => new Set(lines.map((l) => l[i])).size > 1);
    const angle = fc.double({ min: 0, max: 6, noNaN: true });
    await fc.assert(
      fc.asyncProperty(
        matrix.filter(varied),
        angle,
        value.filter((n) => n !== 0),
        async (lines, by, scale) => {
          const turned = lines.map(([x, y]) => [
            scale * (Math.cos(by) * x - Math.sin(by) * y) + 5,
            scale * (Math.sin(by) * x + Math.cos(by) * y) - 2,
          ]);
          const other = rows(...lines.map(([x, y], i) => [x * y, i]));
          const [same, cka] = await linearCka([
            [rows(...turned), rows(...lines)],
            [other, rows(...lines)],
          ]);
          expect(same).toBeCloseTo(1, 5);
          expect(cka).toBeGreaterThanOrEqual(-1e-6);
          expect(cka).toBeLessThanOrEqual(1 + 1e-6);
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

test("rows of several texts are put under each other; unequal ones are our own bug", async () => {
  expect(stacked([rows([1, 2]), rows([3, 4], [5, 6])])).toEqual(rows([1, 2], [3, 4], [5, 6]));
  expect(() => stacked([rows([1, 2]), rows([1])])).toThrow("internal:");
  expect(() => drift(X, Y)).toThrow("internal:");
  await expect(linearCka([[X, rows([1])]])).rejects.toThrow("internal:");
});
