import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { randomFromState, randomStream } from "./random.ts";
import type { Random } from "./random.ts";

const take = (random: Random, count: number): number[] => Array.from({ length: count }, () => random.uint32());

describe("the generator", () => {
  it("gives the published sequence of xoshiro128** for the state 1, 2, 3, 4", () => {
    expect(take(randomFromState([1, 2, 3, 4]), 10)).toEqual([
      11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597, 4258142804,
    ]);
  });

  it("agrees with the same recurrence in big integers", () => {
    const mask = 0xffffffffn;
    const rotate = (x: bigint, k: bigint): bigint => ((x << k) | (x >> (32n - k))) & mask;
    const word = fc.integer({ min: 1, max: 0xffffffff });
    fc.assert(
      fc.property(fc.tuple(word, word, word, word), (start) => {
        const s = start.map(BigInt);
        const expected = Array.from({ length: 50 }, () => {
          const result = (rotate((s[1] * 5n) & mask, 7n) * 9n) & mask;
          const t = (s[1] << 9n) & mask;
          s[2] ^= s[0];
          s[3] ^= s[1];
          s[1] ^= s[2];
          s[0] ^= s[3];
          s[2] ^= t;
          s[3] = rotate(s[3], 11n);
          return Number(result);
        });
        expect(take(randomFromState(start), 50)).toEqual(expected);
      }),
    );
  });

  it("continues from a saved state, through JSON, whatever was drawn before", () => {
    const random = randomStream(9, "resume");
    random.normal();
    random.fillNormal(new Float32Array(7));
    random.shuffle([1, 2, 3, 4, 5]);
    const copy = randomFromState(JSON.parse(JSON.stringify(random.save())));
    expect(copy.fillNormal(new Float32Array(5))).toEqual(random.fillNormal(new Float32Array(5)));
    expect(take(copy, 20)).toEqual(take(random, 20));
  });

  it("refuses states that are none", () => {
    expect(() => randomFromState([0, 0, 0, 0])).toThrow("not all 0");
    expect(() => randomFromState([1, 2, 3, 2 ** 32])).toThrow("four 32-bit words");
  });
});

describe("streams", () => {
  it("repeat for the same path and differ for any other", () => {
    const paths: (string | number)[][] = [[], ["a"], ["b"], ["a", "b"], ["ab"], ["a", 1], ["a", "1"], [1, "a"]];
    const firsts = [1, 2, -1].flatMap((seed) => paths.map((labels) => take(randomStream(seed, ...labels), 4).join()));
    expect(new Set(firsts).size).toBe(24);
    expect(take(randomStream(1, "a", 1), 4)).toEqual(take(randomStream(1, "a", 1), 4));
  });

  it("keep their numbers for good (a change here changes every seeded result)", () => {
    expect(take(randomStream(42, "init", "wte.weight"), 4)).toEqual([1293120222, 3580737525, 3321728131, 2424767841]);
  });

  it("of neighbouring seeds are uncorrelated", () => {
    const n = 20000;
    let sum = 0;
    for (let seed = 0; seed < n; seed++)
      sum += (randomStream(seed).uniform() - 0.5) * (randomStream(seed + 1).uniform() - 0.5);
    // Standard error of the correlation is 1 / sqrt(n); four of them.
    expect(Math.abs((12 * sum) / n)).toBeLessThan(4 / Math.sqrt(n));
  });

  it("refuse a seed that is no integer", () => {
    expect(() => randomStream(0.5)).toThrow("randomStream: expected an integer seed, got 0.5");
  });
});

/** Mean, variance, third and fourth central moments over the variance. */
function moments(values: Float32Array): [number, number, number, number] {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const power = (k: number): number => values.reduce((a, b) => a + (b - mean) ** k, 0) / values.length;
  const variance = power(2);
  return [mean, variance, power(3) / variance ** 1.5, power(4) / variance ** 2];
}

describe("distributions", () => {
  const n = 200000;
  // Bounds are some five standard errors at n = 200,000.
  it("normal: mean 0, variance 1, skew 0, kurtosis 3, and 4.55% beyond two deviations", () => {
    const random = randomStream(1, "normal");
    const filled = random.fillNormal(new Float32Array(n + 1));
    const single = Float32Array.from({ length: n }, () => random.normal());
    for (const values of [filled, single]) {
      const [mean, variance, skew, kurtosis] = moments(values);
      expect(Math.abs(mean)).toBeLessThan(0.012);
      expect(Math.abs(variance - 1)).toBeLessThan(0.016);
      expect(Math.abs(skew)).toBeLessThan(0.03);
      expect(Math.abs(kurtosis - 3)).toBeLessThan(0.06);
      const beyond = values.reduce((a, x) => a + (Math.abs(x) > 2 ? 1 : 0), 0) / n;
      expect(Math.abs(beyond - 0.0455)).toBeLessThan(0.0024);
    }
    const [mean, variance] = moments(randomStream(2).fillNormal(new Float32Array(n), 3, 0.02));
    expect(mean).toBeCloseTo(3, 3);
    expect(Math.sqrt(variance) / 0.02).toBeCloseTo(1, 1.7);
  });

  it("uniform: in range, flat over 16 bins", () => {
    const random = randomStream(1, "uniform");
    const bins = Array.from({ length: 16 }, () => 0);
    for (let i = 0; i < n; i++) bins[Math.floor(random.uniform() * 16)]++;
    const filled = random.fillUniform(new Float32Array(n), -2, 2);
    for (const x of filled) bins[Math.floor((x + 2) * 4)]++;
    const expected = (2 * n) / 16;
    const chiSquare = bins.reduce((a, seen) => a + (seen - expected) ** 2 / expected, 0);
    expect(chiSquare).toBeLessThan(44.3); // 15 degrees of freedom, p = 1e-4
  });

  it("integers: every value of a bound equally often, also where it does not divide 2^32", () => {
    const random = randomStream(1, "integers");
    const seen = Array.from({ length: 7 }, () => 0);
    for (let i = 0; i < 70000; i++) seen[random.integer(7)]++;
    expect(seen.reduce((a, s) => a + (s - 10000) ** 2 / 10000, 0)).toBeLessThan(27.9); // 6 degrees, p = 1e-4
    expect(random.integer(1)).toBe(0);
    expect(() => random.integer(0)).toThrow("expected a bound from 1 to 2^32, got 0");
  });

  it("shuffles: every order of three equally often; a permutation holds every index once", () => {
    const random = randomStream(1, "shuffle");
    const seen = new Map<string, number>();
    for (let i = 0; i < 60000; i++) {
      const order = random.shuffle([0, 1, 2]).join("");
      seen.set(order, (seen.get(order) ?? 0) + 1);
    }
    expect(seen.size).toBe(6);
    let chiSquare = 0;
    for (const count of seen.values()) chiSquare += (count - 10000) ** 2 / 10000;
    expect(chiSquare).toBeLessThan(25.8); // 5 degrees of freedom, p = 1e-4
    expect([...random.permutation(100)].sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i));
  });
});
