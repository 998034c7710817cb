/** Codebooks as numbers: nearest codes, start, use and reset, each against brute force or hand-worked steps. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { expectClose } from "../../tests/support/close.ts";
import { randomStream } from "../tensor/random.ts";
import { bitsOfIndex, type Codebook, createTokenQuantizer, nearest, toHalf } from "./codebook.ts";
import { fromBatch, replaceCodes, worstReconstructed } from "./codebook-reset.ts";
import { codebookAtRandom, codebookFromData } from "./codebook-start.ts";
import { createCodebookUsage, perplexity } from "./codebook-usage.ts";
import { fullPrecision } from "./full-precision.ts";
import { createQuantizer } from "./quantizers.ts";

const book = (over: Partial<Codebook> = {}): Codebook => ({
  kind: "token",
  tokens: 2,
  width: 2,
  codes: 3,
  books: 1,
  data: Float32Array.of(0, 0, 1, 0, 0, 2),
  ...over,
});

test("the nearest code is brute force's, the first of equals", () => {
  const width = 20;
  const number = fc.integer({ min: -2, max: 2 }).map((value) => value / 2); // few values, many ties
  const rows = (most: number) =>
    fc.array(fc.array(number, { minLength: width, maxLength: width }), { minLength: 1, maxLength: most });
  fc.assert(
    fc.property(rows(6), rows(9), (vectors, codes) => {
      const got = nearest(Float32Array.from(vectors.flat()), Float32Array.from(codes.flat()), width);
      for (const [n, vector] of vectors.entries()) {
        const distances = codes.map((code) => code.reduce((sum, value, i) => sum + (value - vector[i]) ** 2, 0));
        expect(got.errors[n]).toBe(Math.min(...distances));
        expect(got.indices[n]).toBe(distances.indexOf(Math.min(...distances)));
      }
    }),
    { numRuns: 50 },
  );
});

test("bits of an index", () => {
  expect([2, 3, 4, 5, 512, 513, 2 ** 16, 2 ** 32].map(bitsOfIndex)).toEqual([1, 2, 2, 3, 9, 10, 16, 32]);
});

test("float16 codes lose what float16 loses, and no code may overflow", () => {
  const { data } = toHalf(book({ data: Float32Array.of(0.1, 1, 2049, -0.5, 0, 1e-9) }));
  expectClose("data", data, [0.0999755859375, 1, 2048, -0.5, 0, 0], { absolute: 0, relative: 0 });
  expect(() => toHalf(book({ data: Float32Array.of(0, 0, 0, 7e4, 0, 0) }))).toThrow(
    /^toHalf: expected codes below 65520, got 70000 in code 1; /,
  );
});

test("wrong codebooks, tokens and indices are one line", () => {
  const quantizer = createTokenQuantizer(book());
  expect(() => createTokenQuantizer(book({ data: new Float32Array(5) }))).toThrow(
    "createTokenQuantizer: expected 1 x 3 x 2 numbers, got 5; give [books, codes, width]",
  );
  expect(() => createTokenQuantizer(book({ data: Float32Array.of(0, 0, 0, Number.NaN, 0, 0) }))).toThrow(
    /expected finite numbers, got NaN in code 1 of codebook 0/,
  );
  expect(() => createTokenQuantizer(book({ codes: 1 }))).toThrow(/codes from 2, got 2, 2, 1 and 1/);
  expect(() => createQuantizer(book({ kind: "slot" }))).toThrow(/expected a codebook for each of 2 tokens, got 1/);
  expect(() => quantizer.encode(new Float32Array(6))).toThrow(/expected entries of 2 x 2 numbers, got 6/);
  expect(() => quantizer.encode(new Float32Array(4).fill(Number.NaN))).toThrow(/got NaN in token 0/);
  expect(() => quantizer.decode([0, 3])).toThrow(
    "token.decode: expected indices below 3, got 3 at position 1; use the codebook they were made with",
  );
  expect(() => quantizer.decode([0])).toThrow(/expected 2 indices an entry, got 1/);
});

test("full precision keeps every bit of float32, and what float16 keeps", () => {
  const vectors = randomStream(1, "full").fillNormal(new Float32Array(12));
  const whole = createQuantizer(fullPrecision(2, 3));
  const { indices, errors } = whole.encode(vectors);
  expect([whole.positions, whole.bins, errors.length]).toEqual([6, 0, 4]);
  expect(whole.decode(indices)).toEqual(vectors);
  const half = createQuantizer(fullPrecision(2, 3, { bits: 16 }));
  const decoded = half.decode(half.encode(vectors).indices);
  expectClose("float16", decoded, vectors, { absolute: 2 ** -25, relative: 2 ** -11 });
  const { errors: lost } = half.encode(vectors);
  expect(lost[3]).toBe(vectors.reduce((sum, value, i) => (i < 9 ? sum : sum + (decoded[i] - value) ** 2), 0));
});

describe("a codebook from data", () => {
  test("finds clusters that lie apart, whatever the seed", () => {
    const centres = [0, 100, 250, -300];
    const vectors = Float32Array.from(centres.flatMap((centre) => [centre - 1, 0, centre, 1, centre + 1, -1]));
    for (const seed of [1, 2, 3, 4, 5]) {
      const found = codebookFromData(vectors, { codes: 4, width: 2, random: randomStream(seed, "start") });
      const sorted = [0, 1, 2, 3].map((code) => [...found.subarray(2 * code, 2 * code + 2)]);
      expect(sorted.toSorted(([a], [b]) => a - b)).toEqual([
        [-300, 0],
        [0, 0],
        [100, 0],
        [250, 0],
      ]);
    }
  });

  test("a codebook at random is the same for a seed, and most of it stays dead", () => {
    const sizes = { codes: 64, width: 8 };
    const book = codebookAtRandom({ ...sizes, random: randomStream(1, "start") });
    expect(book).toEqual(codebookAtRandom({ ...sizes, random: randomStream(1, "start") }));
    expect(book).toHaveLength(64 * 8);
    for (const value of book) expect(Math.abs(value)).toBeLessThanOrEqual(1 / 64);
    // Ten thousand numbers of variance 1 around 3: few codes are the farthest out in that direction
    const vectors = randomStream(2, "data")
      .fillNormal(new Float32Array(1250 * 8))
      .map((value) => value + 3);
    const used = (codes: Float32Array): number => new Set(nearest(vectors, codes, 8).indices).size;
    expect(used(book)).toBeLessThan(16);
    expect(used(codebookFromData(vectors, { ...sizes, random: randomStream(1, "start") }))).toBe(64);
  });

  test("k-means only lowers the error, to a fixed point", () => {
    const random = randomStream(6, "means");
    const vectors = random.fillNormal(new Float32Array(300 * 4));
    const errorAfter = (rounds: number): number => {
      const start = { codes: 16, width: 4, random: randomStream(7, "means"), rounds };
      return nearest(vectors, codebookFromData(vectors, start), 4).errors.reduce((a, b) => a + b, 0);
    };
    const errors = [0, 1, 2, 4, 8, 500].map(errorAfter);
    for (let i = 1; i < errors.length; i++) expect(errors[i]).toBeLessThan(errors[i - 1] + 1e-9);
    const last = codebookFromData(vectors, { codes: 16, width: 4, random: randomStream(7, "means"), rounds: 500 });
    const { indices } = nearest(vectors, last, 4);
    for (let code = 0; code < 16; code++) {
      const own = [...indices.keys()].filter((n) => indices[n] === code);
      const mean = [0, 1, 2, 3].map((i) => own.reduce((sum, n) => sum + vectors[4 * n + i], 0) / own.length);
      expectClose(`mean of ${code}`, last.subarray(4 * code, 4 * code + 4), mean, { absolute: 1e-6, relative: 1e-6 });
    }
  });

  test("with fewer vectors than codes each vector is a code", () => {
    const found = codebookFromData(Float32Array.of(1, 5, 9), { codes: 5, width: 1, random: randomStream(1, "few") });
    expect(new Set(found)).toEqual(new Set([1, 5, 9]));
    expect(() => codebookFromData(new Float32Array(), { codes: 2, width: 1, random: randomStream(1, "none") })).toThrow(
      /^codebookFromData: expected at least one vector, got none/,
    );
  });
});

describe("use", () => {
  test("perplexity of known shares", () => {
    expect(perplexity([5, 5, 5, 5])).toBeCloseTo(4, 12);
    expect(perplexity([7, 0, 0])).toBe(1);
    expect(perplexity([2, 1, 1])).toBeCloseTo(2 ** 1.5, 12);
    expect(perplexity([0, 0])).toBe(0);
  });

  test("shares by hand, the dead and the revived", () => {
    const usage = createCodebookUsage({ codes: 4, decay: 0.5, deadBelow: 0.3 });
    usage.update([0, 0, 0, 1]);
    expect([...usage.shares()]).toEqual([0.5, 0.25, 0.125, 0.125]);
    expect(usage.dead()).toEqual([]);
    usage.update([0]);
    expect([...usage.shares()]).toEqual([0.75, 0.125, 0.0625, 0.0625]);
    expect(usage.dead()).toEqual([2, 3]); // below 0.3 / 4
    expect(usage.perplexity()).toBeCloseTo(perplexity([12, 2, 1, 1]), 12);
    usage.revive([3]);
    expect([...usage.shares()]).toEqual([0.75, 0.125, 0.0625, 0.25]);
    usage.update([]);
    const other = createCodebookUsage({ codes: 4 });
    other.restore(usage.state());
    expect(other.shares()).toEqual(usage.shares());
    expect(() => createCodebookUsage({ codes: 5 }).restore(usage.state())).toThrow(/expected 5 codes, got 4/);
  });

  test("an unused code is dead after the same number of updates, however large the codebook", () => {
    for (const codes of [8, 64, 4096]) {
      const usage = createCodebookUsage({ codes });
      let updates = 0;
      for (; !usage.dead().includes(codes - 1); updates++) usage.update([0, 1, 2]);
      expect(updates).toBe(459); // 0.99^459 < 0.01
    }
  });

  test("as released: it begins at nothing, so what the first batch leaves out is dead", () => {
    const usage = createCodebookUsage({ codes: 4, start: 0 });
    usage.update([1, 1, 3]);
    expect(usage.dead()).toEqual([0, 2]);
  });
});

describe("reset", () => {
  const random = randomStream(3, "reset");

  test("rows of the batch are different rows of the batch", () => {
    const vectors = Float32Array.from({ length: 20 }, (_, i) => i);
    const rows = fromBatch(vectors, 4, { width: 2, random });
    const found = [0, 1, 2, 3].map((row) => rows[2 * row] / 2);
    expect(new Set(found).size).toBe(4);
    for (const [row, n] of found.entries())
      expect([...rows.subarray(2 * row, 2 * row + 2)]).toEqual([2 * n, 2 * n + 1]);
    expect(fromBatch(vectors, 99, { width: 2, random }).length).toBe(20);
  });

  test("the worst reconstructed come first, and not twice from one place", () => {
    // Errors to code 0: 1, 100, 101.0..., 25; the second and third lie together, so the fourth is next
    const vectors = Float32Array.of(1, 10, 10.05, -5, 0);
    const rows = worstReconstructed(vectors, Float32Array.of(0), 2, { width: 1, random, noise: 0 });
    expect([...rows]).toEqual([Math.fround(10.05), -5]);
    expect(worstReconstructed(vectors, vectors, 3, { width: 1, random }).length).toBe(0);
  });

  test("noise is in parts of the distance to the code", () => {
    const vectors = new Float32Array(1000).fill(30);
    for (let n = 0; n < 1000; n += 2) vectors[n + 1] = -40; // distance 50, r.m.s. of a number 50 / sqrt(2)
    const many = Array.from({ length: 400 }, () =>
      worstReconstructed(vectors, Float32Array.of(0, 0), 1, { width: 2, random, noise: 0.1 }),
    );
    const deviation = (at: number, mean: number): number =>
      Math.sqrt(many.reduce((sum, row) => sum + (row[at] - mean) ** 2, 0) / many.length);
    // The deviation of 400 draws is within 4 / sqrt(800) of the true one
    const ratios = [deviation(0, 30), deviation(1, -40)].map((found) => found / (5 / Math.SQRT2));
    expectClose("deviations", ratios, [1, 1], { absolute: 0.15, relative: 0 });
  });

  test("a dead code takes up tokens after its reset", () => {
    const data = randomStream(8, "tokens").fillNormal(new Float32Array(200 * 4));
    const codes = new Float32Array(8 * 4).fill(50); // all far away: one of them takes everything
    codes.fill(0, 0, 4);
    const usage = createCodebookUsage({ codes: 8, start: 0 });
    usage.update(nearest(data, codes, 4).indices);
    expect([usage.perplexity(), usage.dead().length]).toEqual([1, 7]);
    const rows = worstReconstructed(data, codes, usage.dead().length, { width: 4, random });
    const replaced = replaceCodes(codes, usage.dead(), rows, 4);
    expect(replaced).toEqual([1, 2, 3, 4, 5, 6, 7]);
    usage.revive(replaced);
    const { indices } = nearest(data, codes, 4);
    expect(new Set(indices).size).toBe(8);
  });
});
