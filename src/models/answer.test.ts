/** Batched answers of a random model: each is what its prompt alone gets, and one line. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { textModel } from "../../tests/support/text-model.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { answerTexts, textIds } from "./answer.ts";
import { createDecoder, type Decoder } from "./decoder.ts";
import { generateText } from "./generate.ts";

const folder = await mkdtemp(join(tmpdir(), "mneme-answer-"));
const runtime = createRuntime({ threads: 1 });
afterAll(async () => {
  await runtime.dispose();
  await rm(folder, { recursive: true });
});
const { tokenizer, eosIds, ...model } = await textModel(folder, { context: 256, vocabulary: 400 });
const decoder = await createDecoder(runtime, model);

/** Counts the runs and their rows. */
function counting(): { counted: Decoder; runs: [rows: number, tokens: number][] } {
  const runs: [number, number][] = [];
  const step: Decoder["step"] = (cache, ids, positions) => {
    runs.push([cache.batch, ids.length / cache.batch]);
    return decoder.step(cache, ids, positions);
  };
  return { counted: { ...decoder, step }, runs };
}

const openings = ["She said", "It was", '"Oh!" cried', "The captain looked at the", "Chapter", "No", "He had never"];
const prompts = Array.from({ length: 30 }, (_, i) => `${"On that day. ".repeat(i % 4)}${openings[i % 7]}`);

describe("a batch", () => {
  test("equals its prompts alone, in the order asked", async () => {
    const options = { eosIds, maxTokens: 16 };
    const ready: number[] = [];
    const onProgress = (done: number): unknown => ready.push(done);
    const together = await answerTexts(decoder, tokenizer, prompts, { ...options, batchSize: 13, onProgress });
    expect(ready).toEqual([13, 26, 30]);
    const alone = await answerTexts(decoder, tokenizer, prompts, { ...options, batchSize: 1 });
    expect(together).toEqual(alone);
    expect(new Set(together).size).toBeGreaterThan(6);
    for (const [i, prompt] of prompts.entries()) {
      let text = "";
      for await (const piece of generateText(decoder, tokenizer, prompt, options)) text += piece;
      expect(together[i]).toBe(text.split("\n")[0].trim());
    }
  });

  test("reads what all prompts begin with once", async () => {
    const document =
      "The harbour wakes before the gulls. Ropes creak, nets dry on the wall, and Mara counts the boats.\n\n";
    const asked = openings.map((opening) => document + opening);
    const { counted, runs } = counting();
    const together = await answerTexts(counted, tokenizer, asked, { maxTokens: 8 });
    const rows = asked.map((text) => textIds(tokenizer, text));
    const shared = rows[0].findIndex((id, t) => rows.some((row) => row[t] !== id));
    expect(shared).toBeGreaterThan(30);
    expect(runs.slice(0, 2)).toEqual([
      [1, shared],
      [asked.length, Math.max(...rows.map(({ length }) => length)) - shared],
    ]);
    expect(together).toEqual(await answerTexts(decoder, tokenizer, asked, { maxTokens: 8, batchSize: 1 }));
  });

  test("of equal prompts", async () => {
    const [a, b] = await answerTexts(decoder, tokenizer, [prompts[3], prompts[3]], { maxTokens: 6 });
    expect(a).not.toBe("");
    expect(b).toBe(a);
  });

  test("stays within the tokens it may hold", async () => {
    const long = Array.from({ length: 80 }, (_, i) => `${i} ${"the ".repeat(112)}`);
    const runs: [rows: number, tokens: number][] = [];
    const idle: Decoder = {
      ...decoder,
      async step(cache, ids) {
        runs.push([cache.batch, ids.length / cache.batch]);
        return new Float32Array(cache.batch * model.geometry.vocabulary);
      },
    };
    await answerTexts(idle, tokenizer, long, { maxTokens: 1, batchSize: 100 });
    for (const [rows, tokens] of runs) expect(rows * tokens).toBeLessThanOrEqual(1 << 14);
    expect(runs.reduce((sum, [rows]) => sum + rows, 0)).toBe(80);
    expect(Math.max(...runs.map(([rows]) => rows))).toBeGreaterThan(60);
  });
});

test("an answer ends at the first line break, whichever token holds it", async () => {
  const lineBreak = tokenizer.encode("\n", { addSpecialTokens: false });
  expect(lineBreak).toHaveLength(1);
  const word = tokenizer.encode(" gulls", { addSpecialTokens: false });
  const script = [...word, ...lineBreak, ...word];
  let at = 0;
  const scripted: Decoder = {
    ...decoder,
    async step(cache, ids, positions) {
      const scores = await decoder.step(cache, ids, positions);
      return scores.fill(0).fill(1, script[at], script[at++] + 1);
    },
  };
  expect(await answerTexts(scripted, tokenizer, ["Who?"], { maxTokens: 10 })).toEqual(["gulls"]);
  expect(at).toBe(word.length + 1);
});

test("tells how far it is, stops when asked, refuses what it cannot read", async () => {
  const seen: [number, number][] = [];
  await answerTexts(decoder, tokenizer, prompts.slice(0, 5), {
    maxTokens: 1,
    batchSize: 2,
    onProgress: (...now) => seen.push(now),
  });
  expect(seen).toEqual([
    [2, 5],
    [4, 5],
    [5, 5],
  ]);
  const stop = new AbortController();
  const stopped = answerTexts(decoder, tokenizer, prompts, {
    batchSize: 8,
    signal: stop.signal,
    onProgress: () => stop.abort(new Error("enough")),
  });
  await expect(stopped).rejects.toThrow("enough");
  await expect(answerTexts(decoder, tokenizer, ["No", "word ".repeat(300)])).rejects.toThrow(
    /^answer: expected a prompt of 1 to 256 tokens \(the model's context\), got \d+ in prompt 1; shorten it$/,
  );
  expect(await answerTexts(decoder, tokenizer, [])).toEqual([]);
});
