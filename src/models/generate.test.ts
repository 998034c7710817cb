import { existsSync, readFileSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import { decoderOf, greedy, readTensors, repositoryFile } from "../../tests/support/model-fixture.ts";
import type { Tokenizer } from "../checkpoint/tokenizer.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { createDecoder } from "./decoder.ts";
import { collect, generate, generateText, type Piece, promptIds } from "./generate.ts";
import { loadCheckpoint, loadModel } from "./load.ts";
import { similarLengths } from "./read-prompts.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());

const fixture = repositoryFile("tests/fixtures/llama");
const model = decoderOf(await loadCheckpoint(fixture)); // context 64, vocabulary 56
const decoder = await createDecoder(runtime, model);
const reference = await readTensors(`${fixture}/reference.safetensors`);
const numbers = (name: string): number[] => Array.from(reference.get(name)?.data as Int32Array);
const prompt = numbers("input_ids").slice(0, 9);
const want = numbers("greedy_ids");

/** Token i is the letter number i of a made-up alphabet: every token is one character. */
const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrst";
const characters: Tokenizer = {
  encode: (text) => Array.from(text, (c) => ALPHABET.indexOf(c)),
  decode: (ids) => ids.map((id) => ALPHABET[id]).join(""),
  vocabSize: 56,
  bosId: 1,
  eosId: 2,
  padId: undefined,
  idOf: () => undefined,
  tokenOf: (id) => ALPHABET[id],
  isSpecial: () => false,
  applyChatTemplate: () => "",
};
const textOf = (ids: readonly number[]): string => characters.decode(ids);

test("greedy equals the reference, token by token", async () => {
  const [{ tokens, finish, text }] = await collect(
    generate(decoder, [prompt], { maxTokens: 12, tokenizer: characters }),
  );
  expect(tokens).toEqual(want);
  expect(finish).toBe("length");
  expect(text).toBe(textOf(want));
});

describe("prompts of unlike lengths", () => {
  test.each([0, 20])("answer as each alone, with %i tokens in common", async (common) => {
    const prompts = Array.from({ length: 48 }, (_, b) =>
      Array.from({ length: [52, 30, 36, 51][b % 4] }, (_, t) => (t < common ? 4 + t : (7 * t + 5 * b + t * b) % 56)),
    );
    expect(similarLengths(prompts.map(({ length }) => length - common)).length).toBeGreaterThan(1);
    const options = { maxTokens: 10, eosIds: [3, 13, 23] };
    const batch = await collect(generate(decoder, prompts, options));
    for (const [row, ids] of prompts.entries()) {
      expect(batch[row]).toEqual((await collect(generate(decoder, [ids], options)))[0]);
    }
  });
});

describe("a batch equals its rows alone", () => {
  const prompts = [prompt, [5], prompt.slice(3, 6), [9, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]];
  test.each([
    ["greedy", {}],
    ["sampled", { temperature: 1.3, topP: 0.9, topK: 30, seed: 11 }],
    ["with repetition penalty", { temperature: 0.8, repetitionPenalty: 1.4, minP: 0.02, seed: 4 }],
  ])("%s", async (_, sampling) => {
    // End tokens make the rows end at different steps
    const options = { ...sampling, maxTokens: 20, eosIds: [3, 13, 23], tokenizer: characters };
    const batch = await collect(generate(decoder, prompts, options));
    for (const [row, ids] of prompts.entries()) {
      const seed = ("seed" in sampling ? sampling.seed : 0) + row;
      expect(batch[row]).toEqual((await collect(generate(decoder, [ids], { ...options, seed })))[0]);
    }
    expect(new Set(batch.map(({ tokens }) => tokens.length)).size).toBeGreaterThan(1);
  });
});

test("a seed repeats, another differs", async () => {
  const sample = async (seed: number): Promise<readonly number[]> =>
    (await collect(generate(decoder, [prompt], { temperature: 1.5, maxTokens: 16, seed })))[0].tokens;
  expect(await sample(1)).toEqual(await sample(1));
  expect(await sample(1)).not.toEqual(await sample(2));
});

test("generations side by side do not disturb each other", async () => {
  const prompts = [[prompt], [[5], [7, 8]], [[9, 1, 2]]];
  const run = (rows: readonly number[][]) => collect(generate(decoder, rows, { maxTokens: 15 }));
  const alone = [await run(prompts[0]), await run(prompts[1]), await run(prompts[2])];
  expect(await Promise.all(prompts.map(run))).toEqual(alone);
});

test("the repetition penalty counts prompt and output", async () => {
  const [{ tokens }] = await collect(generate(decoder, [prompt], { repetitionPenalty: 1e6, maxTokens: 30 }));
  expect(new Set([...prompt, ...tokens]).size).toBe(new Set(prompt).size + 30);
});

describe("every way to end", () => {
  test("an end token ends a row and is no text", async () => {
    const [{ tokens, text, finish }] = await collect(
      generate(decoder, [prompt], { eosIds: [want[5]], tokenizer: characters }),
    );
    const end = want.indexOf(want[5]);
    expect(tokens).toEqual(want.slice(0, end + 1));
    expect(text).toBe(textOf(want.slice(0, end)));
    expect(finish).toBe("eos");
  });

  test("a stop string across tokens ends it; text is withheld while it may begin", async () => {
    const text = textOf(want);
    const pieces: Piece[] = [];
    // The second stop string begins as the text does at 2, but goes on otherwise
    for await (const piece of generate(decoder, [prompt], {
      maxTokens: 12,
      tokenizer: characters,
      stop: [text.slice(5, 8), `${text.slice(2, 4)}#`],
    }))
      pieces.push(piece);
    const at = text.indexOf(text.slice(5, 8));
    expect(pieces.map((piece) => piece.text).join("")).toBe(text.slice(0, at));
    expect(pieces[pieces.length - 1]).toMatchObject({ finish: "stop", token: want[at + 2] });
    expect(pieces[2].text).toBe("");
    await expect(collect(generate(decoder, [prompt], { stop: ["x"] }))).rejects.toThrow("expected a tokenizer");
  });

  test("withheld text comes out when something else ends the row", async () => {
    const text = textOf(want);
    const [{ text: shown, finish }] = await collect(
      generate(decoder, [prompt], { maxTokens: 4, tokenizer: characters, stop: [`${text.slice(2, 4)}#`] }),
    );
    expect([shown, finish]).toEqual([text.slice(0, 4), "length"]);
  });

  test("maxTokens, also 0", async () => {
    expect((await collect(generate(decoder, [prompt], { maxTokens: 1 })))[0]).toEqual({
      text: "",
      tokens: [want[0]],
      finish: "length",
    });
    expect((await collect(generate(decoder, [prompt], { maxTokens: 0 })))[0]).toEqual({
      text: "",
      tokens: [],
      finish: "length",
    });
  });

  test("a full context", async () => {
    const almost = Array.from({ length: 62 }, (_, i) => (i * 5) % 56);
    const full = [...almost, 1, 2];
    const [a, b] = await collect(generate(decoder, [almost, full], { maxTokens: 20 }));
    // The last token is scored by a full context but never read
    expect([a.tokens.length, a.finish]).toEqual([3, "context"]);
    expect([b.tokens.length, b.finish]).toEqual([1, "context"]);
    expect(a.tokens).toEqual(await greedy(runtime, model, almost, 3));
    await expect(collect(generate(decoder, [[...full, 3]], {}))).rejects.toThrow(
      "at most 64 tokens (the model's context), got 65",
    );
    await expect(collect(generate(decoder, [[1], []], {}))).rejects.toThrow(
      "expected 1 or more tokens, got none in prompt 1",
    );
  });

  test("a signal, before the first token or between two", async () => {
    const controller = new AbortController();
    const pieces: Piece[] = [];
    for await (const piece of generate(decoder, [prompt], { maxTokens: 50, signal: controller.signal })) {
      pieces.push(piece);
      if (pieces.length === 3) controller.abort();
    }
    expect(pieces.map(({ token }) => token)).toEqual([...want.slice(0, 3), undefined]);
    expect(pieces[3].finish).toBe("aborted");
    expect((await collect(generate(decoder, [prompt], { signal: AbortSignal.abort() })))[0]).toEqual({
      text: "",
      tokens: [],
      finish: "aborted",
    });
  });
});

test("prompts as the model reads them: an empty one becomes the start token", () => {
  expect(promptIds(characters, "")).toEqual([1]);
  expect(promptIds(characters, "01")).toEqual([0, 1]);
  // An end token that a tokenizer puts behind every text is taken off; one that the text itself ends with stays
  const closing: Tokenizer = {
    ...characters,
    encode: (text, { addSpecialTokens = true } = {}) => [...characters.encode(text), ...(addSpecialTokens ? [2] : [])],
  };
  expect(promptIds(closing, "01")).toEqual([0, 1]);
  expect(promptIds(closing, "02")).toEqual([0, 2]);
});

const folder = repositoryFile("../shared/models/stories260K");
const there = existsSync(`${folder}/model.safetensors`);
if (!there) console.log("generate.test: stories260K skipped, ../shared/models/stories260K is not there");

describe.skipIf(!there)("stories260K", () => {
  const cases = there
    ? (JSON.parse(readFileSync(`${folder}/reference.json`, "utf8")).cases as {
        prompt: string;
        ids: number[];
        greedy_ids: number[];
        greedy_text: string;
      }[])
    : [];

  test("greedy text is identical, from text and as a batch", async () => {
    const stories = await loadModel(folder);
    const real = await createDecoder(runtime, stories);
    const options = { maxTokens: 40, tokenizer: stories.tokenizer };
    const batch = await collect(
      generate(
        real,
        cases.map(({ ids }) => ids),
        options,
      ),
    );
    for (const [row, c] of cases.entries()) {
      expect(batch[row]).toEqual({ text: c.greedy_text, tokens: c.greedy_ids, finish: "length" });
      let text = "";
      for await (const piece of generateText(real, stories.tokenizer, c.prompt, { maxTokens: 40 })) text += piece;
      expect(text).toBe(c.greedy_text);
    }
  });

  test("a story ends at its end token", async () => {
    const stories = await loadModel(folder);
    expect(stories.eosIds).toEqual([1, 2]);
    const real = await createDecoder(runtime, stories);
    const ids = promptIds(stories.tokenizer, "Once upon a time");
    const [{ finish, tokens, text }] = await collect(
      generate(real, [ids], { maxTokens: 500, eosIds: stories.eosIds, tokenizer: stories.tokenizer }),
    );
    expect(finish).toBe("eos");
    expect(tokens[tokens.length - 1]).toBe(1);
    expect(text).not.toContain("<s>");
  });
});
