/** Neighbouring sentences: whole, next to each other, of one paragraph. */
import { expect, test } from "vitest";
import { randomStream } from "../tensor/random.ts";
import { sentencePairs } from "./sentence-pairs.ts";

const paragraphs = Array.from({ length: 40 }, (_, p) =>
  Array.from({ length: 5 }, (_unused, s) => `Sentence ${s} of paragraph ${p} has an end here.`).join(" "),
);

test("pairs are neighbours of one paragraph, and the same for the same draws", () => {
  const source = sentencePairs([paragraphs.slice(0, 20).join("\n\n"), paragraphs.slice(20).join("\n\n")]);
  const pairs = source.pairs(randomStream(1, "x"), 30);
  expect(source.pairs(randomStream(1, "x"), 30)).toEqual(pairs);
  expect(new Set(pairs.map(([left]) => left)).size).toBe(30);
  for (const [left, right] of pairs) {
    const [a, b] = [left, right].map((text) => /^Sentence (\d) of paragraph (\d+) has an end here\.$/.exec(text));
    expect(a?.[2]).toBe(b?.[2]);
    expect(Number(b?.[1])).toBe(Number(a?.[1]) + 1);
  }
});

test("texts without enough sentences are refused", () => {
  expect(() => sentencePairs(["no sentences here"]).pairs(randomStream(1, "x"), 2)).toThrow(
    "texts: expected at least 2 pairs of neighbouring sentences, got 0; add text or lower batchSize",
  );
});
