/** Judging answers, by cases worked out by hand, and what may be asked at all. */
import { describe, expect, it } from "vitest";
import { tableMethod } from "../../tests/support/table-method.ts";
import { UserError } from "../errors.ts";
import {
  answerTokens,
  askAll,
  type AskedQuestion,
  checkFits,
  exactMatch,
  f1,
  normaliseAnswer,
  prefixMatch,
  truncatedMatch,
  probeTexts,
  tokenAccuracy,
} from "./questions.ts";

describe("normaliseAnswer", () => {
  it.each([
    ["  The  Cat, the hat & an owl! ", "cat hat owl"],
    ["O'Brien's", "obriens"],
    ["U.S.A.", "usa"],
    ["theory another analysis", "theory another analysis"],
    ["1,234.5", "12345"],
    ["„Äpfel“ – süß", "äpfel süß"],
    ["The", "the"],
    ["?", "?"],
    ["$5 + 3", "5 3"],
    ["une théâtre", "une théâtre"],
    ["", ""],
  ])("%j becomes %j", (text, expected) => {
    expect(normaliseAnswer(text)).toBe(expected);
  });

  it("takes composed and decomposed letters for the same", () => {
    expect(normaliseAnswer("Sa\u0303o")).toBe(normaliseAnswer("S\u00e3o"));
  });
});

describe("exactMatch and prefixMatch", () => {
  it("want one of the answers", () => {
    expect(exactMatch("the Eiffel Tower.", ["Paris", "Eiffel tower"])).toBe(1);
    expect(exactMatch("Eiffel Tower in Paris", ["Paris", "Eiffel tower"])).toBe(0);
    expect(exactMatch("unknown", ["unknown"])).toBe(1);
    expect(exactMatch("", ["The"])).toBe(0);
  });

  it("prefix: whole words at the start", () => {
    expect(prefixMatch("baseball. He was born", ["baseball"])).toBe(1);
    expect(prefixMatch("baseballs", ["baseball"])).toBe(0);
    expect(prefixMatch("he plays baseball", ["baseball"])).toBe(0);
    expect(prefixMatch("", ["baseball"])).toBe(0);
  });

  it("truncatedMatch cuts the answer to the length of the right one, within a word as well", () => {
    expect(truncatedMatch("Baseball. He was born", ["golf", "baseball"])).toBe(1);
    expect(truncatedMatch("baseballs", ["baseball"])).toBe(1);
    expect(truncatedMatch("base", ["baseball"])).toBe(0);
    expect(truncatedMatch("he plays baseball", ["baseball"])).toBe(0);
  });
});

describe("f1", () => {
  it.each([
    // Of 3 words said 2 are right, of 2 right ones 2 are said: 2 * 2 / (3 + 2)
    ["Denver Broncos team", ["the Denver Broncos"], 4 / 5],
    ["Denver Broncos", ["Carolina Panthers", "Broncos"], 2 / 3],
    ["red red blue", ["red blue blue"], 2 / 3],
    ["nothing at all", ["Broncos"], 0],
    ["the Broncos", ["Broncos"], 1],
    ["", ["Broncos"], 0],
  ])("%j against %j", (given, answers, expected) => {
    expect(f1(given, answers)).toBeCloseTo(expected, 12);
  });
});

const question = (id: string, text: string, answers: string[], kind?: string): AskedQuestion => ({
  id,
  query: { text },
  answers,
  kind,
});

describe("askAll", () => {
  const questions = [
    question("1", "who", ["Ada Byron", "Ada"], "known"),
    question("2", "where", ["London town"], "known"),
    question("3", "why", ["unknown"], "unknown"),
  ];

  it("asks once, greedily, and gives means over all and by kind", async () => {
    const method = tableMethod({ who: "Ada.", where: "London", why: "because" });
    const scores = await askAll(method, questions);
    expect(scores.exactMatch).toBeCloseTo(1 / 3, 12);
    expect(scores.f1).toBeCloseTo((1 + 2 / 3 + 0) / 3, 12);
    expect(scores.byKind).toEqual({
      known: { exactMatch: 0.5, f1: (1 + 2 / 3) / 2, count: 2 },
      unknown: { exactMatch: 0, f1: 0, count: 1 },
    });
    expect(scores.given).toEqual(["Ada.", "London", "because"]);
    expect(method.asked.queries).toEqual(questions.map(({ query }) => query));
    expect(method.asked.maxTokens).toEqual([8]);
  });

  it("token accuracy is the mean share of right tokens of the first answers", async () => {
    const method = tableMethod({ who: "Ada Lovelace", where: "London town", why: "" });
    expect(await tokenAccuracy(method, questions)).toBeCloseTo((1 / 2 + 1 + 0) / 3, 12);
  });
});

it("leaves room for the longest answer: half its bytes, 8 to 64", () => {
  expect(answerTokens([{ answers: ["a"] }])).toBe(8);
  expect(answerTokens([{ answers: ["x".repeat(41), "y"] }])).toBe(21);
  expect(answerTokens([{ answers: ["x".repeat(1000)] }])).toBe(64);
});

describe("checkFits", () => {
  // A token per character: "Question: 12345\nAnswer:" has 23
  const tokenizer = { encode: (text: string) => [...text].map(() => 0), bosId: 1 };
  const questions = [question("q-7", "12345", ["ok"])];

  it("counts start token, prompt and the room for an answer", () => {
    expect(() => checkFits(tokenizer, 23 + 1 + 8, questions)).not.toThrow();
    expect(() => checkFits({ ...tokenizer, bosId: undefined }, 23 + 8, questions)).not.toThrow();
    expect(() => checkFits(tokenizer, 23 + 8, questions)).toThrow(UserError);
    expect(() => checkFits(tokenizer, 23 + 8, questions)).toThrow(
      "checkFits: expected questions that fit into the model's context of 31 tokens, got 24 tokens and 8 for the answer " +
        "in question q-7 (12345); leave it out or use a model with a longer context",
    );
  });

  it("counts a completion as it is", () => {
    const plain = [{ ...questions[0], query: { text: "12345", form: "completion" as const } }];
    expect(() => checkFits(tokenizer, 5 + 1 + 8, plain)).not.toThrow();
    expect(() => checkFits(tokenizer, 5 + 8, plain)).toThrow(/got 6 tokens/);
  });

  it("an answer that is longer than the room counts whole", () => {
    const long = [question("l", "12345", ["x".repeat(30)])];
    expect(() => checkFits(tokenizer, 24 + 31, long, { maxTokens: 4 })).not.toThrow();
    expect(() => checkFits(tokenizer, 24 + 30, long, { maxTokens: 4 })).toThrow(/and 31 for the answer/);
  });
});

it("probe texts are at most 16 ends of prompts of at most 120 bytes", () => {
  const many = Array.from({ length: 40 }, (_, i) => question(`${i}`, `${"é".repeat(i * 5)} ${i}`, ["x"]));
  const texts = probeTexts(many);
  expect(texts).toHaveLength(16);
  expect(texts[0]).toBe("Question:  0\nAnswer:");
  for (const text of texts) {
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(120);
    expect(text.endsWith("\nAnswer:")).toBe(true);
  }
});
