/** The trivial stream: ranges apart, no word twice, the words decided by the seed. */
import { describe, expect, it } from "vitest";
import { tableMethod } from "../../../tests/support/table-method.ts";
import { tokens, tokensTask } from "./tokens.ts";

const options = { topics: 5, pairs: 100, dataSeed: 0 };

describe("tokens", () => {
  const task = tokensTask(options);
  const wordsOf = (t: number): string[] =>
    task.questions
      .filter(({ query }) => query.topic === task.topics[t].name)
      .flatMap(({ query, answers }) => [query.text, ...answers]);

  it("has five topics of 100 pairs", () => {
    expect(task.topics.map(({ name }) => name)).toEqual(["range 1", "range 2", "range 3", "range 4", "range 5"]);
    expect(task.topics.map(({ documents }) => documents.length)).toEqual([100, 100, 100, 100, 100]);
    expect(task.questions).toHaveLength(500);
    const [{ query, answers }] = task.questions;
    expect(task.topics[0].documents[0].text).toBe(`Question: ${query.text}\nAnswer: ${answers[0]}\n`);
  });

  it("uses no word twice, and the topics share no first syllable", () => {
    const all = [0, 1, 2, 3, 4].flatMap(wordsOf);
    expect(new Set(all).size).toBe(1000);
    for (const word of all) expect(word).toMatch(/^([b-z][aeiou]){2}[nsrl]?$/);
    const firsts = [0, 1, 2, 3, 4].map((t) => new Set(wordsOf(t).map((word) => word.slice(0, 2))));
    expect(firsts.map((set) => set.size)).toEqual([4, 4, 4, 4, 4]);
    expect(new Set(firsts.flatMap((set) => [...set])).size).toBe(20);
  });

  it("follows the seed, and topics do not depend on how many there are", () => {
    expect(tokensTask(options).fingerprint).toBe(task.fingerprint);
    expect(tokensTask({ ...options, dataSeed: 1 }).fingerprint).not.toBe(task.fingerprint);
    expect(tokensTask({ ...options, topics: 2 }).topics).toEqual(task.topics.slice(0, 2));
  });

  it("scores exact answers and tokens apart", async () => {
    const known = task.questions.slice(100, 150);
    const method = tableMethod(Object.fromEntries(known.map(({ query, answers }) => [query.text, answers[0]])));
    expect(await task.evaluate(method, 0)).toEqual({ exactMatch: 0, tokenAccuracy: 0 });
    expect(await task.evaluate(method, 1)).toEqual({ exactMatch: 0.5, tokenAccuracy: 0.5 });
  });

  it("holds as many as its ranges do, and no more", async () => {
    const full = await tokens.create({ topics: 20, pairs: 800 });
    expect(new Set(full.topics.flatMap(({ documents }) => documents.map(({ text }) => text))).size).toBe(16_000);
    await expect(tokens.create({ pairs: 801 })).rejects.toThrow(/^tokens: expected valid options, got pairs: /);
    await expect(tokens.create({ topics: 0 })).rejects.toThrow(/got topics: /);
    await expect(tokens.create({ topcis: 2 })).rejects.toThrow(/"topcis".*known are topics, pairs, dataSeed/);
  });
});
