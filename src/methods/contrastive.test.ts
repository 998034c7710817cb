/** InfoNCE by hand, its gradient through an encoder against differences, and batches as a function of the step. */
import { afterAll, describe, expect, test } from "vitest";
import { encoderOf, readFixture } from "../../tests/support/model-fixture.ts";
import { loadTokenizer } from "../checkpoint/tokenizer.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { float32Host, type HostTensor } from "../tensor/dtype.ts";
import { input } from "../tensor/functions.ts";
import { createContrastiveObjective, infoNce, type Pair, type PairBatch, pairBatches } from "./contrastive.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());

describe("InfoNCE", () => {
  async function lossesOf(left: number[][], right: number[][], temperature: number): Promise<number[]> {
    const [N, C] = [left.length, left[0].length];
    const losses = infoNce(input("left", "float32", [N, C]), input("right", "float32", [N, C]), temperature);
    const program = await runtime.compile({ losses });
    const found = await program.run({
      left: float32Host([N, C], left.flat()),
      right: float32Host([N, C], right.flat()),
    });
    return Array.from(found.losses.data as Float32Array);
  }

  test("two pairs of unit vectors, worked by hand", async () => {
    // left (1, 0), (0, 1); right (0.6, 0.8), (0, 1). Over a temperature of 0.5 the scores are 1.2 0 / 1.6 2.
    // Rows: ln(1 + e^(0 - 1.2)) and ln(1 + e^(1.6 - 2)); columns: ln(1 + e^(1.6 - 1.2)) and ln(1 + e^(0 - 2)).
    const found = await lossesOf(
      [
        [1, 0],
        [0, 1],
      ],
      [
        [0.6, 0.8],
        [0, 1],
      ],
      0.5,
    );
    expect(found[0]).toBeCloseTo((Math.log1p(Math.exp(-1.2)) + Math.log1p(Math.exp(0.4))) / 2, 6);
    expect(found[1]).toBeCloseTo((Math.log1p(Math.exp(-0.4)) + Math.log1p(Math.exp(-2))) / 2, 6);
  });

  test("vectors that are all equal: ln N, whatever the temperature", async () => {
    const same = Array.from({ length: 5 }, () => [0, 1, 0]);
    for (const temperature of [0.05, 1])
      for (const loss of await lossesOf(same, same, temperature)) expect(loss).toBeCloseTo(Math.log(5), 5);
  });
});

describe("objective", () => {
  // Rows of unequal length; the left sides first
  const rows = [
    [5, 9, 7],
    [11, 4],
    [5, 8, 7, 6],
    [12, 4, 10],
  ];
  const length = 4;
  const batch: PairBatch = {
    ids: Int32Array.from(rows.flatMap((row) => [...row, ...Array.from({ length: length - row.length }, () => 0)])),
    mask: Int32Array.from(rows.flatMap((row) => Array.from({ length }, (_, t) => (t < row.length ? 1 : 0)))),
    length,
    targetCount: 2,
  };

  test("the gradient is that of the loss, by differences", async () => {
    const { definition, config, weights: stored } = encoderOf(await readFixture("bert"));
    const weights = Object.fromEntries(
      Object.keys(definition.shapes(config)).map((name) => [
        name,
        { ...stored[name], data: Float32Array.from(stored[name].data as Float32Array) } as HostTensor<"float32">,
      ]),
    );
    const options = { runtime, definition, config, weights, batchSize: 2, temperature: 0.5, seed: 1 };
    const objective = await createContrastiveObjective(options);
    const lossNow = async (): Promise<number> => {
      objective.clear();
      return objective.accumulate(batch, 2, 0);
    };
    expect(await lossNow()).toBeGreaterThan(0);
    const gradients = Object.fromEntries(Object.entries(objective.gradients).map(([k, v]) => [k, v.slice()]));
    for (const [name, values] of Object.entries(gradients)) {
      const { data } = weights[name];
      // Along the gradient itself the slope is its norm
      const norm = Math.hypot(...values);
      if (norm < 1e-3) continue;
      const step = 2e-3;
      const before = data.slice();
      const at = async (sign: number): Promise<number> => {
        for (let i = 0; i < data.length; i++) data[i] = before[i] + (sign * step * values[i]) / norm;
        return lossNow();
      };
      const slope = ((await at(1)) - (await at(-1))) / (2 * step);
      data.set(before);
      expect(Math.abs(slope - norm), name).toBeLessThan(0.02 * norm + 2e-4);
    }
    expect(gradients["embeddings.word_embeddings.weight"].some((value) => value !== 0)).toBe(true);
    // Two calls with half the share each are one call
    objective.clear();
    const [first, second] = [await objective.accumulate(batch, 4, 0), await objective.accumulate(batch, 4, 0)];
    expect(first + second).toBeCloseTo(await lossNow(), 5);
    await objective.dispose();
  });
});

describe("batches", () => {
  const source = (letter: string) => ({
    pairs: (random: { integer(bound: number): number }, count: number): Pair[] =>
      Array.from({ length: count }, () => [`${letter} ${random.integer(1000)}`, letter] as const),
  });
  const options = async () => ({
    tokenizer: await loadTokenizer("models/mneme-base"),
    sources: { a: source("a"), b: source("bb"), c: source("c") },
    shares: { a: 1, b: 3 },
    batchSize: 3,
    maxTokens: 4,
    padId: 0,
    seed: 7,
  });

  test("are a function of the step; each is of one source, by its share", async () => {
    const given = await options();
    const [one, other] = [pairBatches(given), pairBatches(given)];
    const right = given.tokenizer.encode("bb")[0];
    let ofB = 0;
    for (let step = 199; step >= 0; step--) {
      const batch = one.batchAt(step);
      expect(batch.ids.length).toBe(6 * batch.length);
      expect(batch.length).toBeLessThanOrEqual(4);
      expect(batch.read).toBe(batch.mask.reduce((a, b) => a + b, 0));
      const lasts = [3, 4, 5].map((row) => batch.ids[row * batch.length]);
      expect(new Set(lasts).size).toBe(1);
      if (lasts[0] === right) ofB++;
      if (step % 50 === 0) expect(other.batchAt(step)).toEqual(batch);
    }
    // 200 draws of 3/4: 150, give or take 4 deviations of 6.1
    expect(Math.abs(ofB - 150)).toBeLessThan(25);
  });

  test("unknown sources and empty mixtures are refused", async () => {
    const given = await options();
    expect(() => pairBatches({ ...given, shares: { x: 1 } })).toThrow(
      "mixture: expected sources among a, b, c, got x; correct the recipe",
    );
    expect(() => pairBatches({ ...given, shares: { a: 0 } })).toThrow("mixture: expected a share above 0, got none");
  });
});
