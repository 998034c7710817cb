import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { expectClose } from "../../tests/support/close.ts";
import { randomStream } from "../tensor/random.ts";
import { gram, largestEigenvalue, type Matrix, product, transposed } from "./matrix.ts";
import { cholesky, choleskySolve, inverseOf, newtonSchulz, pseudoInverse } from "./pseudo-inverse.ts";
import { leastSquaresMemory, readEpisode, writeEpisode } from "./projection.ts";

function gaussian(rows: number, columns: number, seed: number): Matrix {
  const random = randomStream(seed, "matrix");
  return { rows, columns, data: Float64Array.from({ length: rows * columns }, () => random.normal()) };
}
const close = (name: string, got: Matrix, want: Matrix, absolute = 1e-9): void =>
  expectClose(name, got.data, want.data, { absolute, relative: 1e-9 });
const scaled = (a: Matrix, by: number): Matrix => ({ ...a, data: a.data.map((x) => by * x) });

/** Any shape, any rank. */
const shape = fc.record({
  rows: fc.integer({ min: 1, max: 9 }),
  columns: fc.integer({ min: 1, max: 9 }),
  rank: fc.integer({ min: 0, max: 9 }),
  seed: fc.nat(10000),
});

describe("pseudo-inverse", () => {
  it("fulfils the four conditions of Penrose for any shape and rank", () => {
    fc.assert(
      fc.property(shape, ({ rows, columns, rank, seed }) => {
        const r = Math.min(rank, rows, columns);
        const a =
          r === 0
            ? scaled(gaussian(rows, columns, 1), 0)
            : product(gaussian(rows, r, seed), gaussian(r, columns, ~seed));
        const x = pseudoInverse(a, { tolerance: 1e-10 });
        const [ax, xa] = [product(a, x), product(x, a)];
        // Products of two random matrices can be ill-conditioned: judge by the size of the inverse.
        const size = 1e-10 * (1 + Math.max(...x.data.map(Math.abs))) ** 2;
        close("A X A = A", product(ax, a), a, size);
        close("X A X = X", product(xa, x), x, size);
        close("(A X)' = A X", transposed(ax), ax, size);
        close("(X A)' = X A", transposed(xa), xa, size);
      }),
      { seed: 4 },
    );
  });

  it("is the known one of a small matrix", () => {
    // [[1, 2], [2, 4], [0, 0]] has rank one: A⁺ = A' / 25.
    const a: Matrix = { rows: 3, columns: 2, data: Float64Array.from([1, 2, 2, 4, 0, 0]) };
    close("A⁺", pseudoInverse(a), scaled(transposed(a), 1 / 25), 1e-14);
  });

  it("solves and inverts by Cholesky", () => {
    const a = gaussian(7, 9, 3);
    const triangle = gram(a);
    const factor = cholesky(triangle, 7) as Float64Array;
    const square = product(a, transposed(a));
    const b = gaussian(7, 4, 5);
    close("A X", product(square, choleskySolve(factor, b)), b);
    const inverse = inverseOf(factor, 7);
    const whole: Matrix = {
      rows: 7,
      columns: 7,
      data: Float64Array.from({ length: 49 }, (_, at) => {
        const [i, j] = [Math.max(Math.floor(at / 7), at % 7), Math.min(Math.floor(at / 7), at % 7)];
        return inverse[(i * (i + 1)) / 2 + j];
      }),
    };
    const identity = Float64Array.from({ length: 49 }, (_, at) => +(at % 8 === 0));
    close("A A⁻¹", product(square, whole), { rows: 7, columns: 7, data: identity });
    expect(cholesky(Float64Array.from([1, 2, 1]), 2)).toBeUndefined();
    expect(largestEigenvalue(Float64Array.from([2, 1, 2]), 2)).toBeCloseTo(3, 4);
  });
});

describe("Newton-Schulz", () => {
  /** A matrix with known singular values: rotations around a diagonal. */
  const withValues = (values: number[], seed: number): Matrix => {
    const n = values.length;
    const q = (of: number): Matrix => {
      const a = gaussian(n, n, of);
      // Gram-Schmidt makes rows of length one at right angles.
      for (let i = 0; i < n; i++) {
        const row = a.data.subarray(i * n, (i + 1) * n);
        for (let j = 0; j < i; j++) {
          const other = a.data.subarray(j * n, (j + 1) * n);
          const share = row.reduce((sum, x, k) => sum + x * other[k], 0);
          for (let k = 0; k < n; k++) row[k] -= share * other[k];
        }
        const length = Math.hypot(...row);
        for (let k = 0; k < n; k++) row[k] /= length;
      }
      return a;
    };
    const diagonal = { rows: n, columns: n, data: new Float64Array(n * n) };
    values.forEach((value, i) => {
      diagonal.data[i * n + i] = value;
    });
    return product(product(q(seed), diagonal), q(seed + 1));
  };

  it("agrees with the exact inverse for singular values from 1 to 63", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 1, max: 63, noNaN: true }), { minLength: 1, maxLength: 6 }), (values) => {
        const a = withValues(values, 11);
        close("A⁺", newtonSchulz(a), pseudoInverse(a), 2e-7);
      }),
      { numRuns: 40, seed: 4 },
    );
  });

  it("loses small singular values as the formula says", () => {
    for (const s of [0.05, 0.25, 0.5]) {
      const got = newtonSchulz({ rows: 1, columns: 1, data: Float64Array.of(s) }).data[0] * s;
      expect(got).toBeCloseTo(1 - (1 - 5e-4 * s * s) ** (2 ** 15), 9);
    }
  });

  it("refuses where it would diverge, wide or tall", () => {
    fc.assert(
      fc.property(fc.double({ min: 63.25, max: 1e6, noNaN: true }), fc.boolean(), (largest, tall) => {
        const a = withValues([1, largest, 2], 5);
        const wide: Matrix = { rows: 2, columns: 3, data: Float64Array.of(largest, 0, 0, 0, 1, 0) };
        expect(() => newtonSchulz(a)).toThrow(/^newtonSchulz: expected singular values below 63.2, got about /);
        expect(() => newtonSchulz(tall ? transposed(wide) : wide)).toThrow(/where the iteration diverges;/);
      }),
      { numRuns: 40, seed: 4 },
    );
    expect(() => newtonSchulz(gaussian(2, 2, 1), { init: 0 })).toThrow(/expected init > 0/);
  });
});

describe("Algorithm 1", () => {
  it("reads the orthogonal projection onto what was written, whatever the memory was before", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 }), fc.nat(1000), (n, seed) => {
        const z = gaussian(n, 8, seed);
        const memory = writeEpisode(z, gaussian(5, 8, seed + 1));
        const queries = gaussian(3, 8, seed + 2);
        const projection = product(product(queries, pseudoInverse(z)), z);
        close("q M⁺ M", readEpisode(queries, memory), projection, 1e-6);
        close("M", memory.rows === 5 ? readEpisode(z, memory) : z, z, 1e-6);
      }),
      { seed: 4 },
    );
  });

  it("reads (q·z / |z|²) z from a single edit", () => {
    const z: Matrix = { rows: 1, columns: 3, data: Float64Array.of(1, 2, 2) };
    const q: Matrix = { rows: 1, columns: 3, data: Float64Array.of(3, 0, 3) };
    const memory = writeEpisode(z, gaussian(2, 3, 1));
    expectClose("read", readEpisode(q, memory).data, [1, 2, 2], { absolute: 1e-12, relative: 0 });
  });

  it("adds its noise from seeded numbers", () => {
    const z = gaussian(2, 4, 1);
    const prior = gaussian(3, 4, 2);
    const noise = (sigma: number) => ({ noise: { sigma, random: randomStream(3) } });
    close("sigma 0", writeEpisode(z, prior, noise(0)), writeEpisode(z, prior));
    const random = randomStream(3);
    const moved = { ...z, data: z.data.map((x) => x + 0.1 * random.normal()) };
    close("sigma 0.1", writeEpisode(z, prior, noise(0.1)), writeEpisode(moved, prior));
    close("least squares", leastSquaresMemory(z, z), product(pseudoInverse(z), z));
  });
});
