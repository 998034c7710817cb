/** Sentence embeddings: against PyTorch, and whatever the batches, padding and poolings. */
import { afterAll, describe, expect, test } from "vitest";
import { expectClose } from "../../tests/support/close.ts";
import { encoderOf, readFixture } from "../../tests/support/model-fixture.ts";
import { createRuntime } from "../runtime/runtime.ts";
import type { HostTensor } from "../tensor/dtype.ts";
import { createEmbedder } from "./embed.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());

test("sentence embeddings equal PyTorch's, whatever the batches", async () => {
  // All token types are 0 here, as for single texts; of xlm-roberta there is only that type
  const fixture = encoderOf(await readFixture("xlm-roberta"));
  const [ids, mask] = ["input_ids", "attention_mask"].map((key) => fixture.reference.get(key) as HostTensor);
  const T = ids.shape[1];
  const texts = [0, 1].map((b) =>
    Array.from(ids.data, Number)
      .slice(b * T, (b + 1) * T)
      .filter((_, t) => Number(mask.data[b * T + t]) === 1),
  );
  for (const batchSize of [1, 2]) {
    const embedder = await createEmbedder(runtime, fixture, { batchSize });
    expectClose("embedding", await embedder.embed(texts), fixture.reference.get("embedding")?.data ?? [], {
      absolute: 1e-5,
      relative: 1e-5,
    });
  }
});

describe("sentence embeddings", () => {
  const lengths = [5, 2, 7, 1, 3];
  const texts = lengths.map((n, i) => Array.from({ length: n }, (_, t) => 4 + ((7 * i + 5 * t) % 50)));

  test.each(["mean", "cls"] as const)("%s: padding and order of batches change nothing", async (pooling) => {
    const fixture = encoderOf(await readFixture("bert"));
    const alone = await createEmbedder(runtime, fixture, { pooling, batchSize: 1 });
    const together = await createEmbedder(runtime, fixture, { pooling, batchSize: 3 });
    const vectors = await together.embed(texts);
    expect(together.width).toBe(24);
    expect(vectors.length).toBe(5 * 24);
    const live = await createEmbedder(runtime, fixture, { pooling, frozen: false });
    expectClose("live weights", await live.embed(texts), vectors, { absolute: 1e-6, relative: 1e-5 });
    expectClose("vectors", vectors, await alone.embed(texts), { absolute: 1e-6, relative: 1e-5 });
    for (let i = 0; i < 5; i++) expect(Math.hypot(...vectors.subarray(i * 24, (i + 1) * 24))).toBeCloseTo(1, 6);
    expect(await together.embed([])).toEqual(new Float32Array(0));
  });

  test("pooling differs: mean of one token is that token", async () => {
    const fixture = encoderOf(await readFixture("bert"));
    const [mean, cls] = [
      await createEmbedder(runtime, fixture),
      await createEmbedder(runtime, fixture, { pooling: "cls" }),
    ];
    expectClose("one token", await mean.embed([[9]]), await cls.embed([[9]]), { absolute: 1e-6, relative: 1e-6 });
    const [a, b] = [await mean.embed([texts[0]]), await cls.embed([texts[0]])];
    expect(Math.max(...a.map((x, i) => Math.abs(x - b[i])))).toBeGreaterThan(0.01);
  });

  test("too long, empty or foreign rows are refused; truncation keeps the last token", async () => {
    const fixture = encoderOf(await readFixture("xlm-roberta"));
    const embedder = await createEmbedder(runtime, fixture, { maxTokens: 4 });
    await expect(embedder.embed([[5, 6, 7, 8, 9]])).rejects.toThrow(
      "embed: expected at most 4 tokens, got 5 in text 0",
    );
    await expect(embedder.embed([[5], []])).rejects.toThrow("got none in text 1");
    await expect(embedder.embed([[56]])).rejects.toThrow("expected token ids from 0 to 55, got 56 in text 0");
    const cutting = await createEmbedder(runtime, fixture, { maxTokens: 4, truncate: true });
    expect(await cutting.embed([[5, 6, 7, 8, 9]])).toEqual(await embedder.embed([[5, 6, 7, 9]]));
    // 26 rows of positions, of which padding_idx + 1 = 2 are never a token's
    const whole = await createEmbedder(runtime, fixture);
    expect((await whole.embed([Array.from({ length: 24 }, () => 5)])).length).toBe(24);
    await expect(whole.embed([Array.from({ length: 25 }, () => 5)])).rejects.toThrow(
      "expected at most 24 tokens, got 25",
    );
  });

  test("an encoder without a pooler lacks nothing until it is asked to pool", async () => {
    const { definition, config, weights } = encoderOf(await readFixture("bert"));
    const bare = Object.fromEntries(Object.entries(weights).filter(([name]) => !name.startsWith("pooler.")));
    expect(Object.keys(bare).sort()).toEqual(Object.keys(definition.shapes(config)).sort());
    expect(Object.keys(definition.optionalShapes(config))).toEqual(["pooler.dense.weight", "pooler.dense.bias"]);
    const embedder = await createEmbedder(runtime, { definition, config, weights: bare });
    expect((await embedder.embed([[5, 6]])).length).toBe(24);
  });
});
