import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { UserError } from "../errors.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { checkVocabulary, copyTokenizer, createDecoder, loadTokenizer } from "./tokenizer.ts";

// Generous: a busy machine must not fail a test of correctness.
vi.setConfig({ testTimeout: 60_000 });

const root = fileURLToPath(new URL("../../", import.meta.url));
const fixture = join(root, "tests/fixtures/tokenizer");
const shared = join(root, "../shared/models");
const hasShared =
  existsSync(join(shared, "stories260K/tokenizer.json")) && existsSync(join(shared, "gpt2-tokenizer/tokenizer.json"));
if (!hasShared)
  console.log("tokenizer.test: ../shared/models is absent; the tests of published tokenizers are skipped");

const scratch = mkdtempSync(join(tmpdir(), "mneme-tokenizer-"));
afterAll(() => rmSync(scratch, { recursive: true }));

let counter = 0;
/** A copy of the fixture with some files replaced (a string), edited (a function) or removed (null). */
function variant(changes: Record<string, string | null | ((json: Record<string, unknown>) => unknown)>): string {
  const folder = join(scratch, `${counter++}`);
  cpSync(fixture, folder, { recursive: true });
  for (const [name, change] of Object.entries(changes)) {
    const path = join(folder, name);
    if (change === null) rmSync(path);
    else
      writeFileSync(
        path,
        typeof change === "string" ? change : JSON.stringify(change(JSON.parse(readFileSync(path, "utf8")))),
      );
  }
  return folder;
}

async function failure(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(UserError);
  expect((error as UserError).message).not.toContain("\n");
  return (error as UserError).message;
}

const stream = (tokenizer: Tokenizer, ids: readonly number[], skipSpecialTokens = false): string => {
  const decoder = createDecoder(tokenizer, { skipSpecialTokens });
  return ids.map((id) => decoder.push(id)).join("") + decoder.end();
};

describe("own fixture", () => {
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    tokenizer = await loadTokenizer(fixture);
  });

  test("ids and texts equal those of an independent implementation", () => {
    const { cases } = JSON.parse(readFileSync(join(fixture, "reference.json"), "utf8"));
    expect(cases.length).toBe(10);
    for (const { text, ids, bare, decoded } of cases) {
      expect(tokenizer.encode(text)).toEqual(ids);
      expect(tokenizer.encode(text, { addSpecialTokens: false })).toEqual(bare);
      expect(tokenizer.encode(text)).toEqual(ids); // from the word cache
      expect(tokenizer.decode(ids)).toBe(decoded);
    }
  });

  test("special tokens", () => {
    expect([tokenizer.bosId, tokenizer.eosId, tokenizer.padId, tokenizer.vocabSize]).toEqual([0, 1, undefined, 400]);
    expect([tokenizer.idOf("<|user|>"), tokenizer.tokenOf(2), tokenizer.idOf("nope"), tokenizer.tokenOf(400)]).toEqual([
      2,
      "<|user|>",
      undefined,
      undefined,
    ]);
    expect([tokenizer.isSpecial(3), tokenizer.isSpecial(4)]).toEqual([true, false]);
    const ids = tokenizer.encode("<|user|>hi<|end|>");
    expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe("hi");
    expect(tokenizer.decode([])).toBe("");
    expect(tokenizer.decode([400, 99999])).toBe("");
  });

  test("chat template", () => {
    const messages = [
      { role: "user", content: " Hello " },
      { role: "model", content: "Hi." },
    ];
    expect(tokenizer.applyChatTemplate(messages)).toBe("<|begin|><|user|>Hello<|end|><|model|>Hi.<|end|><|model|>");
    expect(tokenizer.applyChatTemplate(messages, { addGenerationPrompt: false })).toBe(
      "<|begin|><|user|>Hello<|end|><|model|>Hi.<|end|>",
    );
    expect(() => tokenizer.applyChatTemplate([{ role: "judge", content: "x" }])).toThrow(
      /got "unknown role judge"; check the messages/,
    );
  });

  test("a stream's pieces join to the whole text, for random ids", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(401), { maxLength: 40 }), fc.boolean(), (ids, skipSpecialTokens) => {
        expect(stream(tokenizer, ids, skipSpecialTokens)).toBe(tokenizer.decode(ids, { skipSpecialTokens }));
      }),
      { numRuns: 2000 },
    );
  });

  test("a stream holds back half a character and only that", () => {
    const decoder = createDecoder(tokenizer);
    const ids = tokenizer.encode("a 🙂b\uFFFDc", { addSpecialTokens: false });
    const pieces = ids.map((id) => decoder.push(id));
    expect(pieces.join("")).toBe("a 🙂b\uFFFDc");
    expect(pieces.slice(0, -4).some((piece) => piece.includes("\uFFFD"))).toBe(false);
    expect(decoder.push(ids[2])).toBe("");
    expect(decoder.end()).toBe("\uFFFD");
    expect(decoder.end()).toBe("");
  });
});

describe("unigram, as of T5", () => {
  const folder = join(root, "tests/fixtures/t5");
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    tokenizer = await loadTokenizer(folder);
  });

  // Scores: _the -2, _cat -4, _c -4, ats -4.5, s -3, _sat -7, _s -3.5, at -3, _ -3, letters -5; x is in no piece
  test.each([
    ["the cats sat", [4, 5, 6, 7, 8]], // _cat s (-7) beats _c ats (-8.5), and _s at (-6.5) beats the longer _sat (-7)
    ["hat", [3, 19, 8]],
    ["xx the", [3, 2, 4]], // what no piece covers is one unknown
    [" the\n\n  cats ", [4, 5, 6]],
    ["\uFF54\uFF48\uFF45", [4]], // full width, made plain by the normalizer
    ["the <extra_id_0> sat", [4, 39, 7, 8]],
    ["", []],
  ])("%j by hand", (text, ids) => {
    expect(tokenizer.encode(text)).toEqual([...ids, 1]);
    expect(tokenizer.encode(text, { addSpecialTokens: false })).toEqual(ids);
  });

  test("text comes back, and special tokens are known", () => {
    const ids = tokenizer.encode("the cats, sat.");
    expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe("the cats, sat.");
    expect(tokenizer.decode(ids)).toBe("the cats, sat.</s>");
    expect(stream(tokenizer, ids, true)).toBe("the cats, sat.");
    expect([tokenizer.bosId, tokenizer.eosId, tokenizer.padId, tokenizer.vocabSize]).toEqual([undefined, 1, 0, 40]);
    expect([tokenizer.isSpecial(39), tokenizer.isSpecial(4)]).toEqual([true, false]);
  });

  test.each([[["s"]], [7], [[7, 7]], [["s", null]]])("%j is no piece", async (entry) => {
    const broken = mkdtempSync(join(scratch, "unigram-"));
    const json = JSON.parse(readFileSync(join(folder, "tokenizer.json"), "utf8"));
    json.model.vocab[6] = entry;
    writeFileSync(join(broken, "tokenizer.json"), JSON.stringify(json));
    expect(await failure(loadTokenizer(broken))).toContain(
      `each of "model.vocab" to be a token and its score, got ${JSON.stringify(entry)}`,
    );
  });
});

describe("files", () => {
  test("special tokens fall back to special_tokens_map.json and then to config.json", async () => {
    const none = { "tokenizer_config.json": null };
    const bare = await loadTokenizer(variant(none));
    expect([bare.bosId, bare.eosId]).toEqual([undefined, undefined]);
    const map = await loadTokenizer(
      variant({ ...none, "special_tokens_map.json": '{"eos_token": {"content": "<|end|>"}}' }),
    );
    expect(map.eosId).toBe(1);
    const config = await loadTokenizer(
      variant({ ...none, "config.json": '{"bos_token_id": 2, "eos_token_id": [3, 1], "pad_token_id": 4000}' }),
    );
    expect([config.bosId, config.eosId, config.padId]).toEqual([2, 3, undefined]);
  });

  test("the chat template may be a list, a file of its own, or absent", async () => {
    const chat = [{ role: "user", content: "x" }];
    const list = [
      { name: "tool", template: "T" },
      { name: "default", template: "D{{ messages[0].content }}" },
    ];
    const listed = variant({ "tokenizer_config.json": (json) => ({ ...json, chat_template: list }) });
    expect((await loadTokenizer(listed)).applyChatTemplate(chat)).toBe("Dx");
    writeFileSync(join(listed, "chat_template.jinja"), "{% if true %}\nJ\n{% endif %}");
    expect((await loadTokenizer(listed)).applyChatTemplate(chat)).toBe("J\n");
    const absent = await loadTokenizer(variant({ "tokenizer_config.json": "{}" }));
    expect(() => absent.applyChatTemplate(chat)).toThrow(
      /expected a chat template in .*, got none; give a plain prompt/,
    );
    const broken = await loadTokenizer(variant({ "chat_template.jinja": "{% if %}" }));
    expect(() => broken.applyChatTemplate(chat)).toThrow(UserError);
  });

  test("a model without type is BPE when it has vocab and merges", async () => {
    const untyped = variant({
      "tokenizer.json": (json) => ({ ...json, model: { ...(json.model as object), type: undefined } }),
    });
    const [a, b] = [await loadTokenizer(fixture), await loadTokenizer(untyped)];
    expect(a.encode("The ships he'd counted.")).toEqual(b.encode("The ships he'd counted."));
  });

  test("missing and malformed files are one line each", async () => {
    expect(await failure(loadTokenizer(join(scratch, "nowhere")))).toContain("tokenizer.json, got nothing there");
    expect(await failure(loadTokenizer(variant({ "tokenizer.json": "{" })))).toContain("expected JSON in");
    expect(await failure(loadTokenizer(variant({ "tokenizer_config.json": "[]" })))).toContain("got an array");
    const json = (change: (json: Record<string, unknown>) => unknown): Promise<string> =>
      failure(loadTokenizer(variant({ "tokenizer.json": change })));
    const withModel = (part: object): Promise<string> =>
      json((j) => ({ ...j, model: { ...(j.model as object), ...part } }));
    expect(await json(() => ({}))).toContain('"model" to be an object, got nothing');
    expect(await json((j) => ({ ...j, added_tokens: undefined }))).toContain('"added_tokens" to be a list');
    expect(await json((j) => ({ ...j, added_tokens: [{ id: -1, content: "x" }] }))).toContain("an id and its content");
    expect(await json((j) => ({ ...j, decoder: { type: "Oracle" } }))).toContain("Unknown Decoder type: Oracle");
    expect(await withModel({ type: "Magic", vocab: 3 })).toContain('"model.vocab" with the tokens');
    expect(await withModel({ vocab: { a: 0, b: 0 } })).toContain('id of "b", got 0');
    expect(await withModel({ vocab: { a: 2 ** 40 } })).toContain('id of "a"');
    expect(await withModel({ merges: 7 })).toContain("expected a supported tokenizer");
  });

  test("copyTokenizer copies what there is", async () => {
    const to = mkdtempSync(join(scratch, "copy-"));
    await copyTokenizer(fixture, to);
    expect(readdirSync(to).sort()).toEqual(["tokenizer.json", "tokenizer_config.json"]);
    expect(readFileSync(join(to, "tokenizer.json"))).toEqual(readFileSync(join(fixture, "tokenizer.json")));
  });

  test("checkVocabulary allows spare rows and refuses missing ones", async () => {
    const tokenizer = await loadTokenizer(fixture);
    checkVocabulary(tokenizer, 400);
    checkVocabulary(tokenizer, 512);
    expect(() => checkVocabulary(tokenizer, 399)).toThrow(
      /^tokenizer and model disagree: expected ids below .* 399, got ids up to 399/,
    );
  });
});

describe.runIf(hasShared)("published tokenizers", () => {
  test("GPT-2: known ids, round trips, streams", async () => {
    const tokenizer = await loadTokenizer(join(shared, "gpt2-tokenizer"));
    expect(tokenizer.encode("Hello world")).toEqual([15496, 995]);
    expect([tokenizer.vocabSize, tokenizer.bosId, tokenizer.eosId]).toEqual([50257, 50256, 50256]);
    const hard = "It's 3 o'clock,  isn't it?\n\n\tnaïve café 北京 🙂👩‍👩‍👧 <|endoftext|> x";
    const ids = tokenizer.encode(hard);
    expect(tokenizer.decode(ids)).toBe(hard);
    expect(ids).toContain(50256);
    fc.assert(
      fc.property(fc.array(fc.nat(50256), { maxLength: 30 }), (random) => {
        expect(stream(tokenizer, random)).toBe(tokenizer.decode(random));
      }),
      { numRuns: 300 },
    );
  });

  test("stories260K: ids and texts of its reference, with byte fallback; streams", async () => {
    const folder = join(shared, "stories260K");
    const tokenizer = await loadTokenizer(folder);
    const { cases } = JSON.parse(readFileSync(join(folder, "reference.json"), "utf8"));
    expect(cases.length).toBeGreaterThan(2);
    for (const { prompt, ids, greedy_ids: greedy, greedy_text: text } of cases) {
      expect(tokenizer.encode(prompt)).toEqual(ids);
      const whole = tokenizer.decode([...ids, ...greedy], { skipSpecialTokens: true });
      expect(whole).toBe(prompt + text);
      expect(stream(tokenizer, [...ids, ...greedy], true)).toBe(whole);
    }
    const emoji = tokenizer.encode("ok 🙂 é");
    expect(tokenizer.decode(emoji, { skipSpecialTokens: true })).toBe("ok 🙂 é");
    fc.assert(
      fc.property(fc.array(fc.nat(511), { maxLength: 30 }), fc.boolean(), (random, skip) => {
        expect(stream(tokenizer, random, skip)).toBe(tokenizer.decode(random, { skipSpecialTokens: skip }));
      }),
      { numRuns: 1000 },
    );
  });
});
