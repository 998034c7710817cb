/** Decoding with a cache gives what reading everything at once gives, whatever the pieces, the padding, the order. */
import { afterAll, describe, expect, test } from "vitest";
import { expectClose } from "../../tests/support/close.ts";
import { decoderOf, nextLogits, repositoryFile } from "../../tests/support/model-fixture.ts";
import { UserError } from "../errors.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { float32Host, type HostTensor } from "../tensor/dtype.ts";
import { createDecoder } from "./decoder.ts";
import { fitsGraph } from "./instance.ts";
import { loadCheckpoint } from "./load.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());

/** Two ways to the same number, both in float32. */
const SAME = { absolute: 2e-5, relative: 1e-5 };
const load = async (name: string) => decoderOf(await loadCheckpoint(repositoryFile(`tests/fixtures/${name}`)));
const IDS = [3, 17, 8, 41, 5, 22, 30, 11, 9, 40, 2];

const plain = ["llama", "llama-tied", "llama-scaled", "mistral", "gpt2", "qwen2", "qwen3"];
const remembering = ["llama-memory", "gpt2-memory", "qwen2-memory", "qwen3-memory"];

describe.each([...plain, ...remembering])("%s", (name) => {
  test("one token at a time equals all at once", async () => {
    const model = await load(name);
    const uncached = await nextLogits(runtime, model);
    for (const frozen of [true, false]) {
      const decoder = await createDecoder(runtime, model, { frozen });
      const cache = decoder.createCache(1, 2); // grows twice on the way
      for (let t = 0; t < IDS.length; t++) {
        const got = await decoder.step(cache, [IDS[t]]);
        expectClose(`token ${t}`, got, (await uncached(IDS.slice(0, t + 1))).last, SAME);
      }
      expect(cache.length).toBe(IDS.length);
    }
  });

  test("a prompt in pieces equals all at once", async () => {
    const model = await load(name);
    const decoder = await createDecoder(runtime, model);
    const { last } = await (await nextLogits(runtime, model))(IDS);
    for (const cuts of [[], [1], [5], [2, 7, 10]]) {
      const cache = decoder.createCache(1);
      let got: ArrayLike<number> = [];
      for (const [i, start] of [0, ...cuts].entries()) got = await decoder.step(cache, IDS.slice(start, cuts[i]));
      expectClose(`cut at ${cuts}`, got, last, SAME);
    }
  });

  test("a left-padded batch equals single rows, before and after rows are picked", async () => {
    const model = await load(name);
    const uncached = await nextLogits(runtime, model);
    const decoder = await createDecoder(runtime, model);
    const V = decoder.geometry.vocabulary;
    const rows = [IDS.slice(0, 3), IDS.slice(2, 9), [7]];
    const padded = rows.flatMap((row) => [...Array(7 - row.length).fill(0), ...row]);
    const positions = rows.flatMap((row) => [...Array(7 - row.length).fill(-1), ...row.keys()]);
    const cache = decoder.createCache(3, 1);
    let got = await decoder.step(cache, padded, positions);
    for (const [b, row] of rows.entries())
      expectClose(`row ${b}`, got.subarray(b * V, (b + 1) * V), (await uncached(row)).last, SAME);

    for (const picked of [
      [2, 0, 0],
      [1, 0],
      [1, 0, 1, 0],
    ]) {
      cache.select(picked);
      rows.splice(0, rows.length, ...picked.map((b) => rows[b]));
      for (const b of rows.keys()) rows[b] = [...rows[b], 10 + b];
      got = await decoder.step(
        cache,
        rows.map((row) => row[row.length - 1]),
        rows.map((row) => row.length - 1),
      );
      for (const [b, row] of rows.entries()) {
        expectClose(`rows ${picked}, row ${b}`, got.subarray(b * V, (b + 1) * V), (await uncached(row)).last, SAME);
      }
    }
  });
});

test("live weights show at once, frozen ones stay as they were", async () => {
  const model = await load("llama");
  const weights = Object.fromEntries(
    Object.entries(model.weights).map(([name, { shape, data }]) => [name, float32Host(shape, Float32Array.from(data))]),
  );
  const changing = { ...model, weights };
  const [live, frozen] = [
    await createDecoder(runtime, changing, { frozen: false }),
    await createDecoder(runtime, changing),
  ];
  const first = async (decoder: typeof live): Promise<number[]> => [
    ...(await decoder.step(decoder.createCache(1), IDS)),
  ];
  const before = await first(frozen);
  expect(await first(live)).not.toEqual(before.map(() => 0));
  weights["lm_head.weight"].data.fill(0);
  expect(await first(live)).toEqual(before.map(() => 0));
  expect(await first(frozen)).toEqual(before);
});

test("long prompts are read in chunks that equal one pass", async () => {
  const model = await load("llama-scaled"); // context 512
  const ids = Array.from({ length: 512 }, (_, i) => (i * i + 3) % 56);
  const { last } = await (await nextLogits(runtime, model))(ids);
  const decoder = await createDecoder(runtime, model);
  const cache = decoder.createCache(1, 0);
  await decoder.step(cache, ids.slice(0, 13));
  expectClose("512 tokens", await decoder.step(cache, ids.slice(13)), last, { absolute: 1e-4, relative: 1e-4 });
});

test("weights beyond what a graph's file holds are not frozen unasked", () => {
  const tensor = (rows: number): HostTensor => ({ dtype: "float32", shape: [rows, 1 << 20], data: new Float32Array() });
  expect(fitsGraph({ weights: { a: tensor(256), b: tensor(240) } })).toBe(true);
  expect(fitsGraph({ weights: { a: tensor(256), b: tensor(256) } })).toBe(false);
});

test("wrong calls are refused", async () => {
  const decoder = await createDecoder(runtime, await load("llama"));
  await expect(decoder.step(decoder.createCache(1), [56])).rejects.toThrow("from 0 to 55, got 56");
  const full = decoder.createCache(1);
  await decoder.step(
    full,
    Array.from({ length: 64 }, () => 1),
  );
  await expect(decoder.step(full, [1])).rejects.toThrow("positions below 64 (the model's context), got 64");
  await expect(decoder.step(decoder.createCache(1), [1, 2], [-1, 64])).rejects.toThrow("got 64");
  expect(() => decoder.createCache(0)).toThrow(UserError);
  expect(() => decoder.createCache(2).select([2])).toThrow("rows from 0 to 1, got 2");
  expect(decoder.createCache(2, 9).bytes()).toBe(4 * 2 * 10 * (2 * 2 * 2 * 6 + 1));
});
