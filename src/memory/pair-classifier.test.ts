/** Logistic regression where the answer is known, its optimality, and the classifier of pairs. */
import { describe, expect, test } from "vitest";
import { randomStream } from "../tensor/random.ts";
import { fitLogistic, logOdds } from "./logistic.ts";
import { fitPairClassifier, pairClassifierOf } from "./pair-classifier.ts";

describe("logistic regression", () => {
  test("one feature of two values: the log-odds of the counts", () => {
    // x = 0: 1 of 4 true; x = 1: 3 of 4 true. Without a ridge b = log(1/3), b + w = log 3.
    const x = [0, 0, 0, 0, 1, 1, 1, 1];
    const labels = [true, false, false, false, true, true, true, false];
    const { weights, bias } = fitLogistic(x, 1, labels, { ridge: 1e-9 });
    expect(bias).toBeCloseTo(Math.log(1 / 3), 6);
    expect(bias + weights[0]).toBeCloseTo(Math.log(3), 6);
    expect([...logOdds({ weights, bias }, [0, 1])]).toEqual([bias, bias + weights[0]]);
  });

  test("the loss is flat at the answer, in every direction", () => {
    const random = randomStream(2, "logistic");
    const [N, D, ridge] = [200, 5, 0.7];
    const x = Float64Array.from({ length: N * D }, (_, i) => random.normal() * (1 + (i % D)) + (i % D));
    const labels = Array.from({ length: N }, (_, row) => x[row * D] - x[row * D + 1] + random.normal() > 0);
    const { weights, bias } = fitLogistic(x, D, labels, { ridge });
    const mean = Array.from(
      { length: D },
      (_, j) => x.filter((_value, i) => i % D === j).reduce((a, b) => a + b, 0) / N,
    );
    const variance = mean.map(
      (m, j) => x.filter((_value, i) => i % D === j).reduce((sum, v) => sum + (v - m) ** 2, 0) / N,
    );
    const loss = (w: ArrayLike<number>, b: number): number => {
      let sum = 0;
      for (let row = 0; row < N; row++) {
        let t = b;
        for (let j = 0; j < D; j++) t += w[j] * x[row * D + j];
        sum += Math.log(1 + Math.exp(labels[row] ? -t : t));
      }
      for (let j = 0; j < D; j++) sum += (ridge / 2) * variance[j] * w[j] ** 2;
      return sum;
    };
    const h = 1e-4;
    expect((loss(weights, bias + h) - loss(weights, bias - h)) / (2 * h)).toBeCloseTo(0, 4);
    for (let j = 0; j < D; j++) {
      const moved = (by: number) => weights.map((value, i) => value + (i === j ? by : 0));
      expect((loss(moved(h), bias) - loss(moved(-h), bias)) / (2 * h)).toBeCloseTo(0, 4);
    }
  });

  test("classes that are apart, and a feature that says nothing, stay finite", () => {
    const { weights, bias } = fitLogistic([1, 5, 2, 5, 8, 5, 9, 5], 2, [false, false, true, true]);
    expect(weights[1]).toBe(0);
    expect(weights[0]).toBeGreaterThan(0);
    expect(bias + 5 * weights[0]).toBeCloseTo(0, 6); // 5 lies in the middle
  });

  test("bad input", () => {
    expect(() => fitLogistic([1, 2], 1, [true, true])).toThrow("both kinds of them, got 2 labels, 2 of them true");
    expect(() => fitLogistic([1, 2], 1, [true])).toThrow("got 1 labels");
    expect(() => fitLogistic([1, 2], 1, [true, false], { ridge: 0 })).toThrow("expected a ridge above 0, got 0");
    expect(() => fitLogistic([1, Number.NaN], 1, [true, false])).toThrow("expected finite numbers, got NaN in row 1");
  });
});

describe("pairs", () => {
  // Only the first two of six numbers say what a latent is about; the rest is louder, so a cosine is misled.
  const random = randomStream(5, "pairs");
  const width = 6;
  const latent = (angle: number): number[] => [
    Math.cos(angle),
    Math.sin(angle),
    ...Array.from({ length: width - 2 }, () => random.normal()),
  ];
  const pairs = (count: number) => {
    const same = Array.from({ length: count }, (_, i) => i % 2 === 0);
    const angles = same.map(() => 2 * Math.PI * random.uniform());
    const left = angles.flatMap((angle) => latent(angle));
    const right = angles.flatMap((angle, i) => latent(same[i] ? angle : angle + Math.PI));
    return { left, right, same };
  };

  test("learns what counts, and keeps it through a saved state", () => {
    const classifier = fitPairClassifier(pairs(600), width);
    const { left, right, same } = pairs(400);
    const scores = classifier.scores(left, right);
    const rightly = [...scores].filter((score, i) => score > 0 === same[i]).length;
    expect(rightly / same.length).toBeGreaterThan(0.85);
    expect(classifier.scores(right, left)).toEqual(scores); // whichever is the question
    expect(pairClassifierOf(classifier.state()).scores(left, right)).toEqual(scores);
    expect(classifier.bytes()).toBe(8 * 14);
  });

  test("bad input", () => {
    const classifier = fitPairClassifier(pairs(20), width);
    expect(() => classifier.scores([1, 2], [1, 2])).toThrow("expected rows of 6 numbers, got 2 numbers");
    expect(() => classifier.scores(latent(0), [])).toThrow("as many latents on both sides, got 1 and 0");
    expect(() => pairClassifierOf({ ...classifier.state(), json: { width: 7 } })).toThrow(
      "expected weights as int64 [15], got int64 [13]",
    );
  });
});
