/** A batch that threads share has the loss and the gradients of the whole batch, for every architecture. */
import { afterAll, describe, expect, it } from "vitest";
import { expectClose } from "../../tests/support/close.ts";
import { type Checkpoint, decoderOf, readFixture } from "../../tests/support/model-fixture.ts";
import type { ModelDefinition } from "../models/model.ts";
import { lowRankAdapters } from "../nn/lora.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { float32Host, type HostTensor } from "../tensor/dtype.ts";
import { randomStream } from "../tensor/random.ts";
import type { Batch } from "./batches.ts";
import { createObjective, type Objective } from "./objective.ts";
import { shardCount } from "./shards.ts";

const runtime = createRuntime({ threads: 2 });
afterAll(() => runtime.dispose());

const [B, T] = [4, 10];
type Model = Checkpoint<ModelDefinition>;

/** Random tokens; row b counts from position `from[b]` on. */
function randomBatch(vocabulary: number, seed: number, from: readonly number[] = [0, 0, 0, 0]): Batch {
  const random = randomStream(seed, "batch");
  const draw = (): Int32Array => Int32Array.from({ length: B * T }, () => random.integer(vocabulary));
  const mask = Float32Array.from({ length: B * T }, (_, i) => (i % T >= from[Math.floor(i / T)] ? 1 : 0));
  return { ids: draw(), targets: draw(), mask, targetCount: mask.reduce((a, b) => a + b, 0) };
}

/** Adapters that are not zero on every linear layer. */
function adaptersOf({ definition, config, weights }: Model): Record<string, HostTensor<"float32">> {
  const random = randomStream(9, "adapters");
  const drawn = (shape: readonly [number, number]): HostTensor<"float32"> =>
    float32Host(shape, random.fillNormal(new Float32Array(shape[0] * shape[1]), 0, 0.3));
  return Object.fromEntries(
    definition.linearPaths(config).flatMap((path) => {
      const [out, columns] = weights[`${path}.weight`].shape;
      return [
        [`${path}.lora_A.weight`, drawn([2, columns])],
        [`${path}.lora_B.weight`, drawn([out, 2])],
      ];
    }),
  );
}

interface Setting {
  readonly workers: number;
  readonly adapters?: Record<string, HostTensor<"float32">>;
  readonly dropout?: number;
}

function objectiveOf(model: Model, { workers, adapters, dropout = 0 }: Setting): Promise<Objective> {
  const weights = { ...model.weights, ...adapters };
  return createObjective({
    runtime,
    ...model,
    weights,
    trainable: Object.keys(adapters ?? weights),
    modification: lowRankAdapters({ scale: 2, dropout }),
    batchSize: B,
    contextLength: T,
    seed: 1,
    workers,
  });
}

/** Loss and gradients of an update over these micro-batches. */
async function update(objective: Objective, batches: readonly Batch[], step = 0) {
  const total = batches.reduce((count, { targetCount }) => count + targetCount, 0);
  objective.clear();
  let loss = 0;
  for (const batch of batches) loss += await objective.accumulate(batch, total, step);
  const gradients = Object.fromEntries(Object.entries(objective.gradients).map(([name, g]) => [name, [...g]]));
  return { loss, gradients };
}

type Update = Awaited<ReturnType<typeof update>>;

function expectEqual(found: Update, expected: Update): void {
  expectClose("loss", [found.loss], [expected.loss], { absolute: 1e-6, relative: 1e-6 });
  expect(Object.keys(found.gradients)).toEqual(Object.keys(expected.gradients));
  for (const [name, values] of Object.entries(expected.gradients)) {
    expectClose(name, found.gradients[name], values, { absolute: 5e-7, relative: 1e-5 });
  }
}

describe("gradients of shards are those of the batch", () => {
  it.each(["gpt2", "llama", "llama-tied", "llama-scaled", "mistral", "qwen2", "qwen3"])("%s", async (name) => {
    const model = decoderOf(await readFixture(name));
    const { vocabulary } = model.definition.geometry(model.config);
    // The second batch leaves one shard without a token to learn from
    const batches = [randomBatch(vocabulary, 1, [0, 3, 9, 1]), randomBatch(vocabulary, 2, [2, 0, 10, 10])];
    const whole = await objectiveOf(model, { workers: 1 });
    const shards = await objectiveOf(model, { workers: 2 });
    for (const micro of [[batches[0]], [batches[1]], batches]) {
      expectEqual(await update(shards, micro), await update(whole, micro));
    }
    // An update by the host is seen by the next run
    const [weight] = Object.values(model.weights);
    const before = (await update(shards, batches)).loss;
    for (let i = 0; i < weight.data.length; i++) (weight.data as Float32Array)[i] *= 1.5;
    const after = await update(shards, batches);
    expect(Math.abs(after.loss - before)).toBeGreaterThan(1e-4);
    expectEqual(after, await update(whole, batches));
    await whole.dispose();
    await shards.dispose();
  });

  it("also of four, of adapters alone, and with dropout, for which the noise is the same", async () => {
    const model = decoderOf(await readFixture("llama"));
    const adapters = adaptersOf(model);
    const batches = [randomBatch(50, 3), randomBatch(50, 4, [1, 2, 3, 4])];
    for (const [workers, dropout] of [
      [2, 0],
      [4, 0.4],
    ]) {
      const whole = await objectiveOf(model, { workers: 1, adapters, dropout });
      const shards = await objectiveOf(model, { workers, adapters, dropout });
      const expected = await update(whole, batches, 5);
      expectEqual(await update(shards, batches, 5), expected);
      if (dropout > 0) expect((await update(shards, batches, 6)).loss).not.toBe(expected.loss);
      await whole.dispose();
      await shards.dispose();
    }
  });

  it("with the same numbers each time", async () => {
    const model = decoderOf(await readFixture("gpt2"));
    const batches = [randomBatch(50, 5), randomBatch(50, 6)];
    const runs: Update[] = [];
    for (let i = 0; i < 3; i++) {
      const objective = await objectiveOf(model, { workers: 4 });
      runs.push(await update(objective, batches));
      await objective.dispose();
    }
    expect(runs[1]).toEqual(runs[0]);
    expect(runs[2]).toEqual(runs[0]);
  });
});

it("an error of one thread reaches the caller when all have stopped, and the next step is right", async () => {
  const model = decoderOf(await readFixture("llama"));
  const objective = await objectiveOf(model, { workers: 2 });
  const good = randomBatch(50, 7);
  const expected = await update(objective, [good]);
  const bad = { ...good, ids: good.ids.map((id, i) => (i === B * T - 1 ? 1_000_000 : id)) };
  await expect(update(objective, [bad])).rejects.toThrow(/out of (data )?bounds/);
  expect(await update(objective, [good])).toEqual(expected);
  await objective.dispose();
});

describe("how many threads share a batch", () => {
  const weights = { w: float32Host([4], [1, 2, 3, 4]) };
  const count = (
    threads: number,
    batchSize: number,
    {
      workers,
      contextLength = 512,
      device = "cpu" as "cpu" | "cuda",
      sized = weights as Record<string, HostTensor>,
    } = {
      workers: undefined as number | undefined,
    },
  ): number =>
    shardCount({
      runtime: { ...runtime, threads, device },
      weights: sized,
      batchSize,
      contextLength,
      workers,
    });

  it("unasked: the most that divide it", () => {
    expect([count(1, 8), count(2, 8), count(3, 8), count(8, 12), count(4, 7), count(4, 2)]).toEqual([1, 2, 2, 6, 1, 2]);
  });

  it("unasked: none for short batches, large weights and accelerators", () => {
    expect(count(2, 8, { workers: undefined, contextLength: 64 })).toBe(2);
    expect(count(2, 8, { workers: undefined, contextLength: 63 })).toBe(1);
    const sized = { w: { dtype: "float32", shape: [2 ** 26], data: { byteLength: 2 ** 28 } } as unknown as HostTensor };
    expect(count(2, 8, { workers: undefined, sized })).toBe(1);
    expect(count(2, 8, { workers: 2, device: "cuda" })).toBe(1);
  });

  it("asked: that many where they divide it", () => {
    expect([count(1, 8, { workers: 4 }), count(4, 9, { workers: 2 }), count(4, 8, { workers: 1 })]).toEqual([4, 1, 1]);
    for (const workers of [0, -1, 1.5, Number.NaN])
      expect(() => count(2, 8, { workers })).toThrow(/expected 1 or more workers/);
  });
});
