import { existsSync, readFileSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import { decoderOf, nextLogits, repositoryFile } from "../../tests/support/model-fixture.ts";
import type { Tokenizer } from "../checkpoint/tokenizer.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { loadCheckpoint, loadModel } from "./load.ts";
import { bitsPerByte, createScorer } from "./score.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());

/** A tokenizer of letters: "a" is 3, "b" 4 ...; "ab" is one token, 40. */
const letters = (bosId: number | undefined): Tokenizer => ({
  encode: (text) => (text.match(/ab|./g) ?? []).map((piece) => (piece === "ab" ? 40 : piece.charCodeAt(0) - 94)),
  decode: () => "",
  vocabSize: 56,
  bosId,
  eosId: 2,
  padId: undefined,
  idOf: () => undefined,
  tokenOf: () => undefined,
  isSpecial: () => false,
  applyChatTemplate: () => "",
});

const model = decoderOf(await loadCheckpoint(repositoryFile("tests/fixtures/llama"))); // context 64, vocabulary 56
const logits = await nextLogits(runtime, model);

/** -ln p of token t given those from `start` on, in float64 from the logits. */
async function natsOf(ids: readonly number[], t: number, start = 0): Promise<number> {
  const { last } = await logits(ids.slice(start, t));
  const top = Math.max(...last);
  return top + Math.log(last.reduce((sum, x) => sum + Math.exp(x - top), 0)) - last[ids[t]];
}
async function total(ids: readonly number[], from: number): Promise<number> {
  let sum = 0;
  for (let t = from; t < ids.length; t++) sum += await natsOf(ids, t);
  return sum;
}
const ids = (length: number, factor = 7): number[] =>
  Array.from({ length }, (_, i) => (i * i * factor + 3 * i + 5) % 56);

describe("token sequences", () => {
  test("pairs: batch equals single equals the definition, frozen or live", async () => {
    const pairs = [
      [1, 1],
      [5, 3],
      [2, 20],
      [12, 1],
      [1, 6],
    ].map(([p, c], i) => ({ prompt: ids(p, i + 1), continuation: ids(c, i + 9) }));
    for (const frozen of [false, true]) {
      const scorer = await createScorer(runtime, model, letters(1), { frozen });
      const batch = await scorer.scorePairs(pairs);
      for (const [i, { prompt, continuation }] of pairs.entries()) {
        expect(batch[i].tokens).toBe(continuation.length);
        expect(batch[i].nats).toBeCloseTo(await total([...prompt, ...continuation], prompt.length), 3);
        const [single] = await scorer.scorePairs([pairs[i]]);
        expect(single.nats).toBeCloseTo(batch[i].nats, 4);
      }
    }
  });

  test("a long sequence: every token in its window", async () => {
    const scorer = await createScorer(runtime, model, letters(1));
    const long = ids(23);
    // Context 8, stride 3: tokens 1-8 see all before them, then three at a time; the last window reads 8 as well
    const starts = [...Array(8).fill(0), 3, 3, 3, 6, 6, 6, 9, 9, 9, 12, 12, 12, 14, 14];
    let want = 0;
    for (const [i, start] of starts.entries()) want += await natsOf(long, i + 1, start);
    const [score] = await scorer.scoreSequences([{ ids: long }], { contextLength: 8, stride: 3 });
    expect(score.tokens).toBe(22);
    expect(score.nats).toBeCloseTo(want, 3);
    const [whole] = await scorer.scoreSequences([{ ids: long }]);
    expect(whole.nats).toBeCloseTo(await total(long, 1), 3);
  });

  test("longer than the context, and nothing to score", async () => {
    const scorer = await createScorer(runtime, model, letters(1));
    const [long, single, empty] = await scorer.scoreSequences([{ ids: ids(200) }, { ids: [5] }, { ids: [] }]);
    expect(long.tokens).toBe(199);
    expect(Number.isFinite(long.nats)).toBe(true);
    expect(single).toEqual({ nats: 0, tokens: 0 });
    expect(empty).toEqual({ nats: 0, tokens: 0 });
    await expect(scorer.scoreSequences([{ ids: ids(9) }], { contextLength: 65 })).rejects.toThrow(
      "at most 64 tokens (the model's context), got 65",
    );
    await expect(scorer.scoreSequences([{ ids: [3, 56] }])).rejects.toThrow("got 56");
  });

  test("tell how far they are and stop when asked", async () => {
    const scorer = await createScorer(runtime, model, letters(1));
    const long = ids(6000);
    const seen: [number, number][] = [];
    const [{ tokens }] = await scorer.scoreSequences([{ ids: long }], { onProgress: (...now) => seen.push(now) });
    expect(seen.length).toBeGreaterThan(1);
    expect(seen.map(([done]) => done)).toEqual(seen.map(([done]) => done).sort((a, b) => a - b));
    expect([seen.at(-1), tokens]).toEqual([[5999, 5999], 5999]);
    const stop = new AbortController();
    let runs = 0;
    const stopped = scorer.scoreSequences([{ ids: long }], {
      signal: stop.signal,
      onProgress() {
        runs++;
        stop.abort(new Error("enough"));
      },
    });
    await expect(stopped).rejects.toThrow("enough");
    expect(runs).toBe(1);
  });
});

describe("texts", () => {
  test("with a start token every token counts; without one the first is left out but its bytes count", async () => {
    const text = "cdeé"; // é: 2 bytes; its letter is 139
    const plain = "cdefg";
    const withStart = await (await createScorer(runtime, model, letters(1))).scoreText("", plain);
    expect(withStart).toEqual({ nats: expect.closeTo(await total([1, 5, 6, 7, 8, 9], 1), 3), tokens: 5, bytes: 5 });
    const without = await createScorer(runtime, model, letters(undefined));
    expect(await without.scoreText("", plain)).toEqual({
      nats: expect.closeTo(await total([5, 6, 7, 8, 9], 1), 3),
      tokens: 4,
      bytes: 5,
    });
    await expect(without.scoreText("", text)).rejects.toThrow("got 139");
    expect(bitsPerByte({ nats: 8 * Math.LN2, bytes: 4 })).toBe(2);
  });

  test("a continuation after a prompt is encoded with it", async () => {
    const scorer = await createScorer(runtime, model, letters(1));
    const split = await scorer.scoreText("cd", "ef");
    expect(split).toEqual({ nats: expect.closeTo(await total([1, 5, 6, 7, 8], 3), 3), tokens: 2, bytes: 2 });
    // "ca" + "bd" becomes c, ab, d: the token across the border is scored
    const across = await scorer.scoreText("ca", "bd");
    expect(across).toEqual({ nats: expect.closeTo(await total([1, 5, 40, 6], 2), 3), tokens: 2, bytes: 2 });
    await expect(scorer.scoreText("cd", "")).rejects.toThrow("expected text to score, got none");
  });
});

const folder = repositoryFile("../shared/models/stories260K");
const there = existsSync(`${folder}/model.safetensors`);
if (!there) console.log("score.test: stories260K skipped, ../shared/models/stories260K is not there");

test.skipIf(!there)("stories260K: mean losses of the reference, from ids and from text", async () => {
  const stories = await loadModel(folder);
  const scorer = await createScorer(runtime, stories, stories.tokenizer);
  const { cases } = JSON.parse(readFileSync(`${folder}/reference.json`, "utf8")) as {
    cases: { prompt: string; ids: number[]; mean_nll_nats: number }[];
  };
  const scores = await scorer.scoreSequences(cases);
  for (const [i, { prompt, ids: tokens, mean_nll_nats: want }] of cases.entries()) {
    expect(scores[i].tokens).toBe(tokens.length - 1);
    expect(Math.abs(scores[i].nats / scores[i].tokens - want)).toBeLessThan(1e-4);
    const text = await scorer.scoreText("", prompt);
    expect(text.tokens).toBe(tokens.length - 1);
    expect(Math.abs(text.nats / text.tokens - want)).toBeLessThan(1e-4);
    expect(text.bytes).toBe(Buffer.byteLength(prompt));
  }
});
