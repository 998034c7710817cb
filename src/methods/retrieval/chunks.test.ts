/** Pieces of documents: whole sentences up to a limit, nothing lost. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { chunksOf } from "./chunks.ts";

const wordCount = (text: string): number => text.split(/\s+/).filter((word) => word !== "").length;

test("whole sentences together up to the limit", () => {
  const text = "Mara owns a boat. It is blue. She sails north in June.\n\nNobody follows.";
  expect(chunksOf(text, 7, wordCount)).toEqual([
    "Mara owns a boat. It is blue.",
    "She sails north in June.\n\nNobody follows.",
  ]);
  expect(chunksOf(text, 100, wordCount)).toEqual([text]);
  expect(chunksOf(text, 5, wordCount)).toEqual([
    "Mara owns a boat.",
    "It is blue.",
    "She sails north in June.",
    "Nobody follows.",
  ]);
});

test("a sentence that is too long is cut between words, and a word stays whole", () => {
  expect(chunksOf("one two three four five six seven. Eight nine.", 3, wordCount)).toEqual([
    "one two three",
    "four five six",
    "seven. Eight nine.",
  ]);
  expect(chunksOf("short averyverylongword short", 8, (text) => text.length)).toEqual([
    "short",
    "averyverylongword",
    "short",
  ]);
  expect(chunksOf(" \n ", 8, wordCount)).toEqual([]);
});

test("pieces hold the text in order and keep to the limit", () => {
  const word = fc.stringMatching(/^[a-zé]{1,8}[.!?]?$/);
  const text = fc.array(fc.tuple(word, fc.constantFrom(" ", "\n", "\n\n", "  ")), { maxLength: 60 });
  fc.assert(
    fc.property(text, fc.integer({ min: 1, max: 12 }), (parts, limit) => {
      const whole = parts.map(([a, b]) => a + b).join("");
      const chunks = chunksOf(whole, limit, wordCount);
      for (const chunk of chunks) {
        expect(wordCount(chunk)).toBeLessThanOrEqual(limit);
        expect(chunk).toBe(chunk.trim());
        expect(whole).toContain(chunk);
      }
      expect(chunks.join(" ").split(/\s+/)).toEqual(whole.trim() === "" ? [""] : whole.trim().split(/\s+/));
    }),
  );
});
