/** Gradients of the objective against dense ones of the same graph, joint batches, and the noise of dropout. */
import { afterAll, describe, expect, it } from "vitest";
import { expectClose } from "../../tests/support/close.ts";
import { type Checkpoint, decoderOf, readFixture, weightGraph } from "../../tests/support/model-fixture.ts";
import type { ModelDefinition } from "../models/model.ts";
import { lowRankAdapters } from "../nn/lora.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { float32Host, type HostTensor, int32Host } from "../tensor/dtype.ts";
import { crossEntropy, input, mul, reshape, rows, sum } from "../tensor/functions.ts";
import { gradients } from "../tensor/grad.ts";
import { randomStream } from "../tensor/random.ts";
import { type Batch, batchOf } from "./batches.ts";
import { createObjective, type Objective } from "./objective.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());

const [B, T] = [3, 10];

/** Random tokens, some of them more than once; row b counts from position `from[b]` on. */
function randomBatch(vocabulary: number, seed: number, from: readonly number[] = [0, 0, 0]): Batch {
  const random = randomStream(seed, "batch");
  const draw = (): Int32Array => Int32Array.from({ length: B * T }, () => Math.floor(random.uniform() * vocabulary));
  const mask = Float32Array.from({ length: B * T }, (_, i) => (i % T >= from[Math.floor(i / T)] ? 1 : 0));
  return { ids: draw(), targets: draw(), mask, targetCount: mask.reduce((a, b) => a + b, 0) };
}

const snapshot = ({ gradients: found }: Objective): Record<string, Float32Array> =>
  Object.fromEntries(Object.entries(found).map(([name, values]) => [name, values.slice()]));

function objectiveOf(
  model: Checkpoint<ModelDefinition>,
  extra: Record<string, HostTensor> = {},
  dropout = 0,
  seed = 1,
) {
  const weights = { ...model.weights, ...extra };
  const trainable = Object.keys(Object.keys(extra).length > 0 ? extra : weights);
  const modification = lowRankAdapters({ scale: 2, dropout });
  return createObjective({ runtime, ...model, weights, trainable, modification, batchSize: B, contextLength: T, seed });
}

async function denseGradients({ definition, config, weights }: Checkpoint<ModelDefinition>, batch: Batch) {
  const { inputs, p } = weightGraph(weights);
  const { final } = definition.forward(p, config, { ids: input("ids", "int32", [B, T]) });
  const losses = crossEntropy(
    definition.logits(p, config, rows(final)),
    reshape(input("targets", "int32", [B, T]), [B * T]),
  );
  const loss = sum(mul(losses, reshape(input("share", "float32", [B, T]), [B * T])));
  const names = Object.keys(weights);
  const found = gradients(
    loss,
    names.map((name) => inputs[name]),
  );
  const program = await runtime.compile({ loss, ...Object.fromEntries(names.map((name, i) => [name, found[i]])) });
  return program.run({
    ...weights,
    ids: int32Host([B, T], batch.ids),
    targets: int32Host([B, T], batch.targets),
    share: float32Host(
      [B, T],
      batch.mask.map((m) => m / batch.targetCount),
    ),
  });
}

describe("row gradients and dense parts together are the dense gradient", () => {
  // llama: a table that is only looked up; the others: the same table also gives the logits; gpt2: two tables
  it.each(["llama", "llama-tied", "gpt2", "qwen2"])("%s", async (name) => {
    const model = decoderOf(await readFixture(name));
    const batch = randomBatch(model.definition.geometry(model.config).vocabulary, 5, [0, 3, 9]);
    const objective = await objectiveOf(model);
    // What an earlier step left behind must not count
    objective.clear();
    await objective.accumulate(randomBatch(7, 1), B * T, 0);
    objective.clear();
    const loss = await objective.accumulate(batch, batch.targetCount, 1);
    const dense = await denseGradients(model, batch);
    expectClose("loss", [loss], dense.loss.data, { absolute: 1e-6, relative: 1e-6 });
    for (const [key, values] of Object.entries(objective.gradients)) {
      expectClose(key, values, dense[key].data, { absolute: 2e-7, relative: 1e-5 });
    }
    await objective.dispose();
  });
});

describe("a batch cut to its longest row", () => {
  const longest = 64;
  const rowsOf = (lengths: readonly number[], vocabulary: number, seed: number): Int32Array[] => {
    const random = randomStream(seed, "rows");
    return lengths.map((length) => Int32Array.from({ length: length + 1 }, () => random.integer(vocabulary)));
  };
  /** The same rows padded to `longest` positions. */
  const padded = ({ ids, targets, mask, targetCount }: Batch, B: number): Batch => {
    const T = ids.length / B;
    const wide = <A extends Int32Array | Float32Array>(from: A, to: A): A => {
      for (let b = 0; b < B; b++) to.set(from.subarray(b * T, (b + 1) * T), b * longest);
      return to;
    };
    const count = B * longest;
    return {
      ids: wide(ids, new Int32Array(count)),
      targets: wide(targets, new Int32Array(count)),
      mask: wide(mask, new Float32Array(count)),
      targetCount,
    };
  };

  // One row, as a short document alone; two on two threads, whose sums lie in shared memory
  it.each([
    { batchSize: 1, workers: 1, lengths: [[20], [45], [30]] },
    {
      batchSize: 2,
      workers: 2,
      lengths: [
        [20, 31],
        [5, 60],
        [8, 3],
      ],
    },
  ])("has the loss and gradients of the padded one: %o", async ({ batchSize, workers, lengths }) => {
    const model = decoderOf(await readFixture("llama-tied"));
    const { vocabulary } = model.definition.geometry(model.config);
    const trainable = Object.keys(model.weights);
    const options = { runtime, ...model, trainable, batchSize, workers, contextLength: longest, seed: 1 };
    const cut = lengths.map((some, i) => batchOf(rowsOf(some, vocabulary, i), { contextLength: longest, eosId: 0 }));
    expect(cut.map(({ ids }) => ids.length / batchSize)).toEqual([32, 64, 32]);
    const objective = await createObjective(options);
    /** Loss and gradients of the joint batch. */
    const jointly = async (batches: readonly Batch[]) => {
      const total = batches.reduce((sum, { targetCount }) => sum + targetCount, 0);
      objective.clear();
      let loss = 0;
      for (const batch of batches) loss += await objective.accumulate(batch, total, 0);
      return { loss, gradients: snapshot(objective) };
    };
    for (const some of [cut, cut.slice(0, 1), cut.slice(1)]) {
      const expected = await jointly(some.map((batch) => padded(batch, batchSize)));
      const found = await jointly(some);
      expect(Math.abs(found.loss - expected.loss)).toBeLessThan(1e-6);
      for (const [name, values] of Object.entries(expected.gradients)) {
        expectClose(name, found.gradients[name], values, { absolute: 1e-6, relative: 1e-6 });
      }
    }
    await objective.dispose();
  });
});

describe("accumulation", () => {
  it.each(["llama", "llama-tied", "gpt2"])(
    "over micro-batches of uneven masks is the joint batch: %s",
    async (name) => {
      const model = decoderOf(await readFixture(name));
      const { vocabulary } = model.definition.geometry(model.config);
      const micro = [
        randomBatch(vocabulary, 1, [0, 2, 9]),
        randomBatch(vocabulary, 2, [10, 10, 7]),
        randomBatch(vocabulary, 3),
      ];
      const total = micro.reduce((tokens, { targetCount }) => tokens + targetCount, 0);
      const objective = await objectiveOf(model);
      objective.clear();
      let loss = 0;
      for (const batch of micro) loss += await objective.accumulate(batch, total, 0);
      const joint = snapshot(objective);

      // The joint batch by its definition: the mean of each batch, weighted by its share of the tokens
      const expected = Object.fromEntries(
        Object.entries(joint).map(([key, { length }]) => [key, new Float32Array(length)]),
      );
      let expectedLoss = 0;
      for (const batch of micro) {
        const dense = await denseGradients(model, batch);
        const share = batch.targetCount / total;
        expectedLoss += share * Number(dense.loss.data[0]);
        for (const [key, sums] of Object.entries(expected)) {
          for (let i = 0; i < sums.length; i++) sums[i] += share * Number(dense[key].data[i]);
        }
      }
      expect(loss).toBeCloseTo(expectedLoss, 5);
      for (const [key, values] of Object.entries(joint)) {
        expectClose(key, values, expected[key], { absolute: 5e-7, relative: 1e-5 });
      }
      await objective.dispose();
    },
  );
});

describe("dropout", () => {
  it("draws the same noise for equal seed, step and place, and other noise otherwise", async () => {
    const model = decoderOf(await readFixture("llama"));
    const random = randomStream(9, "adapters");
    const extra: Record<string, HostTensor<"float32">> = {};
    for (const path of model.definition.linearPaths(model.config)) {
      const [out, columns] = model.weights[`${path}.weight`].shape;
      for (const [name, shape] of [
        ["A", [2, columns]],
        ["B", [out, 2]],
      ] as const) {
        const data = new Float32Array(shape[0] * shape[1]);
        random.fillNormal(data, 0, 0.3);
        extra[`${path}.lora_${name}.weight`] = float32Host(shape, data);
      }
    }
    const batch = randomBatch(50, 4);
    const losses = async (objective: Objective, steps: readonly number[], micro = 1): Promise<number[]> => {
      const found: number[] = [];
      for (const step of steps) {
        objective.clear();
        for (let k = 0; k < micro; k++) found.push(await objective.accumulate(batch, batch.targetCount, step));
      }
      return found;
    };
    const noisy = await objectiveOf(model, extra, 0.4, 1);
    const again = await objectiveOf(model, extra, 0.4, 1);
    const other = await objectiveOf(model, extra, 0.4, 2);
    const quiet = await objectiveOf(model, extra, 0, 1);
    const [a, b, c] = await losses(noisy, [3, 4, 5]);
    expect(new Set([a, b, c]).size).toBe(3);
    expect(await losses(again, [5, 3, 4])).toEqual([c, a, b]);
    const last = snapshot(noisy);
    await losses(again, [5]);
    for (const [name, values] of Object.entries(again.gradients)) expect(values, name).toEqual(last[name]);
    expect(await losses(other, [3])).not.toEqual([a]);
    // Micro-batches of one step have noise of their own
    const [first, second] = await losses(noisy, [3], 2);
    expect(first).toBe(a);
    expect(second).not.toBe(a);
    const [calm, calmToo] = await losses(quiet, [3, 4]);
    expect(calm).toBe(calmToo);
    for (const objective of [noisy, again, other, quiet]) await objective.dispose();
  });
});
