import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { randomStream } from "../tensor/random.ts";
import {
  argmaxOf,
  bestOf,
  candidates,
  checkSampling,
  chooseToken,
  draw,
  logSoftmaxInPlace,
  penalizeRepetition,
} from "./sampling.ts";

const row = fc
  .array(fc.double({ min: -20, max: 20, noNaN: true }), { minLength: 1, maxLength: 60 })
  .map((v) => Float32Array.from(v));
const logs = (p: number[]): Float32Array => Float32Array.from(p, Math.log);
const probabilityOf = (scores: Float32Array, options: Parameters<typeof candidates>[1]): number[] => {
  const { ids, probabilities } = candidates(scores, options);
  const all = Array.from(scores, () => 0);
  for (const [i, id] of ids.entries()) all[id] = probabilities[i];
  return all;
};
const near = (got: number[], want: number[]): void => {
  expect(got).toHaveLength(want.length);
  for (const [i, w] of want.entries()) expect(got[i]).toBeCloseTo(w, 6);
};

describe("closed forms", () => {
  const scores = logs([0.1, 0.4, 0.2, 0.3]);

  test("temperature raises probabilities to the power 1/T", () => {
    near(probabilityOf(scores, { temperature: 1 }), [0.1, 0.4, 0.2, 0.3]);
    const squares = [0.01, 0.16, 0.04, 0.09].map((v) => v / 0.3);
    near(probabilityOf(scores, { temperature: 0.5 }), squares);
  });

  test("top-k, top-p and min-p keep what they say", () => {
    near(probabilityOf(scores, { topK: 2 }), [0, 4 / 7, 0, 3 / 7]);
    near(probabilityOf(scores, { topP: 0.65 }), [0, 4 / 7, 0, 3 / 7]);
    near(probabilityOf(scores, { topP: 0.75 }), [0, 4 / 9, 2 / 9, 3 / 9]);
    near(probabilityOf(scores, { topP: 1e-9 }), [0, 1, 0, 0]);
    near(probabilityOf(scores, { minP: 0.6 }), [0, 4 / 7, 0, 3 / 7]);
    near(probabilityOf(scores, { minP: 1 }), [0, 1, 0, 0]);
  });

  test("top-p counts the probabilities that top-k left", () => {
    // After top-k 3: 4/9, 3/9, 2/9; two of them hold 7/9 = 0.78
    near(probabilityOf(scores, { topK: 3, topP: 0.77 }), [0, 4 / 7, 0, 3 / 7]);
    near(probabilityOf(scores, { topK: 3, topP: 0.79 }), [0, 4 / 9, 2 / 9, 3 / 9]);
  });

  test("repetition penalty divides positive and multiplies negative scores, once per token", () => {
    const values = Float32Array.of(2, -1, 4, 3);
    penalizeRepetition(values, [0, 1, 1, 0], 2);
    expect([...values]).toEqual([1, -2, 4, 3]);
  });

  test("log-softmax", () => {
    const values = logSoftmaxInPlace(Float32Array.of(1000, 1000 + Math.log(3)));
    expect(values[0]).toBeCloseTo(Math.log(0.25), 4);
    expect(values[1]).toBeCloseTo(Math.log(0.75), 4);
  });
});

describe("properties", () => {
  test("bestOf is the head of the sorted list", () => {
    fc.assert(
      fc.property(row, fc.integer({ min: 1, max: 70 }), (scores, k) => {
        const sorted = [...scores.keys()].sort((a, b) => scores[b] - scores[a] || a - b);
        expect([...bestOf(scores, k)]).toEqual(sorted.slice(0, k));
      }),
    );
  });

  test("filters keep the best token, drop no better one than they keep, and sum to 1", () => {
    const options = fc.record({
      temperature: fc.double({ min: 0.05, max: 5, noNaN: true }),
      topK: fc.integer({ min: 0, max: 60 }),
      topP: fc.double({ min: 0.01, max: 1, noNaN: true }),
      minP: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(row, options, (scores, o) => {
        const { ids, probabilities } = candidates(scores, o);
        expect(ids).toContain(argmaxOf(scores));
        expect(probabilities.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 9);
        if (o.topK > 0) expect(ids.length).toBeLessThanOrEqual(o.topK);
        const worst = Math.min(...Array.from(ids, (id) => scores[id]));
        const dropped = [...scores.keys()].filter((id) => !ids.includes(id));
        for (const id of dropped) expect(scores[id]).toBeLessThanOrEqual(worst);
      }),
    );
  });

  test("draws follow the probabilities and repeat with the seed", () => {
    const random = randomStream(7, "draws");
    const counts = [0, 0, 0, 0];
    const kept = candidates(logs([0.1, 0.4, 0.2, 0.3]), { temperature: 1 });
    for (let i = 0; i < 20000; i++) counts[draw(kept, random)]++;
    for (const [i, p] of [0.1, 0.4, 0.2, 0.3].entries()) expect(Math.abs(counts[i] / 20000 - p)).toBeLessThan(0.015);
    const pick = (seed: number): number[] => {
      const stream = randomStream(seed, "draws");
      return Array.from({ length: 50 }, () => chooseToken(Float32Array.of(1, 2, 3, 2), { temperature: 1 }, [], stream));
    };
    expect(pick(3)).toEqual(pick(3));
    expect(pick(3)).not.toEqual(pick(4));
  });
});

test("temperature 0 takes the best token, the first of equals", () => {
  expect(chooseToken(Float32Array.of(1, 5, 5), {}, [], randomStream(0))).toBe(1);
  expect(chooseToken(Float32Array.of(1, 5, 5), { repetitionPenalty: 2 }, [1], randomStream(0))).toBe(2);
});

test("senseless options are refused", () => {
  for (const [options, name] of [
    [{ temperature: -1 }, "temperature"],
    [{ topK: 1.5 }, "topK"],
    [{ topP: 0 }, "topP"],
    [{ minP: 2 }, "minP"],
    [{ repetitionPenalty: 0 }, "repetitionPenalty"],
    [{ temperature: Number.NaN }, "temperature"],
  ] as const) {
    expect(() => checkSampling(options)).toThrow(name);
  }
});

test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
  "scores that are all %d are refused",
  (bad) => {
    for (const options of [{}, { temperature: 1 }, { temperature: 1, topK: 2, topP: 0.5, minP: 0.1 }]) {
      expect(() => chooseToken(new Float32Array(4).fill(bad), options, [], randomStream(0))).toThrow(
        `generate: expected finite scores for the next token, got ${bad}`,
      );
    }
    expect(() => logSoftmaxInPlace(new Float32Array(4).fill(bad))).toThrow(/expected finite scores/);
  },
);

test("one score that is NaN makes no draw; tokens ruled out by -Infinity do no harm", () => {
  expect(() => chooseToken(Float32Array.of(1, Number.NaN), { temperature: 1 }, [], randomStream(0))).toThrow("got NaN");
  const ruledOut = Float32Array.of(Number.NEGATIVE_INFINITY, 2);
  expect(chooseToken(ruledOut, { temperature: 1 }, [], randomStream(0))).toBe(1);
  expect(logSoftmaxInPlace(ruledOut)).toEqual(Float32Array.of(Number.NEGATIVE_INFINITY, 0));
});
