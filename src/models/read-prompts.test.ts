/** Prompts read together, with their beginnings read once, are followed by what follows each alone. */
import { afterAll, expect, test } from "vitest";
import { expectClose } from "../../tests/support/close.ts";
import { decoderOf, repositoryFile } from "../../tests/support/model-fixture.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { createDecoder, type Decoder } from "./decoder.ts";
import { loadCheckpoint } from "./load.ts";
import { readPrompts, similarLengths } from "./read-prompts.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());
const decoder = await createDecoder(
  runtime,
  decoderOf(await loadCheckpoint(repositoryFile("tests/fixtures/llama"))), // context 64, vocabulary 56
);
const V = decoder.geometry.vocabulary;

/** Counts the tokens of every run, padding included. */
function counting(): { counted: Decoder; runs: number[] } {
  const runs: number[] = [];
  const step: Decoder["step"] = (cache, ids, positions) => {
    runs.push(ids.length);
    return decoder.step(cache, ids, positions);
  };
  return { counted: { ...decoder, step }, runs };
}

test("lengths are grouped: none where padding is little or a group would be small", () => {
  expect(similarLengths([3, 50, 4])).toEqual([[0, 1, 2]]);
  expect(similarLengths([95, 100, 99, 90])).toEqual([[0, 1, 2, 3]]);
  // 300 tokens, then 178 below nine tenths of 100 that are too few alone
  expect(similarLengths([100, 89, 100, 89, 100])).toEqual([[0, 1, 2, 3, 4]]);
  // 89 is below nine tenths of 100, 70 below nine tenths of 89; but 2 x 70 are too few
  expect(similarLengths([70, 89, 100, 89, 100, 89, 100, 70])).toEqual([
    [2, 4, 6],
    [1, 3, 5, 0, 7],
  ]);
});

const letters = (length: number, seed: number): number[] =>
  Array.from({ length }, (_, t) => (7 * t + 5 * seed + t * seed) % 56);

test.each([
  ["heads of several lengths, and prompts without one", [20, 6, 33, 0]],
  ["heads for all", [20, 6]],
])("%s", async (_, lengths) => {
  const prompts = Array.from({ length: 24 }, (_, b) => {
    const kind = b % lengths.length;
    const head = letters(lengths[kind], kind + 1).map((id) => (id + 11 * kind) % 56);
    return [...head, (b + 30) % 56, ...letters([9, 3, 14][b % 3], b)];
  });
  const { counted, runs } = counting();
  const { cache, logits } = await readPrompts(counted, prompts, 50);
  const scores = logits.slice(); // the next step writes over them
  const read = runs.reduce((a, b) => a + b);
  expect(read).toBeLessThan(0.8 * prompts.reduce((sum, { length }) => sum + length, 0));
  const next = prompts.map((_, b) => (3 * b) % 56);
  const then = await decoder.step(
    cache,
    next,
    prompts.map(({ length }) => length),
  );
  expect(cache.batch).toBe(24);
  for (const [b, prompt] of prompts.entries()) {
    const alone = decoder.createCache(1);
    const same = { absolute: 2e-5, relative: 1e-5 };
    expectClose(`row ${b}`, scores.subarray(b * V, (b + 1) * V), await decoder.step(alone, prompt), same);
    expectClose(`after row ${b}`, then.subarray(b * V, (b + 1) * V), await decoder.step(alone, [next[b]]), same);
  }
});

test("what is too little to share is read with each prompt", async () => {
  const { counted, runs } = counting();
  await readPrompts(
    counted,
    [0, 1, 2].map((b) => [...letters(20, 1), 40 + b, b]),
    30,
  );
  expect(runs).toEqual([66]); // 40 tokens would be saved
});
