/** BM25 by hand, against brute force, and through removals. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createBm25, termsOf } from "./bm25.ts";

test("terms: letters and digits of any script, lower case", () => {
  expect(termsOf("Mara's 2nd boat — Łódź, ÉTÉ!")).toEqual(["mara", "s", "2nd", "boat", "łódź", "été"]);
  expect(termsOf(" ... ")).toEqual([]);
});

test("worked by hand", () => {
  const index = createBm25();
  index.add(1, "The boat is blue.");
  index.add(2, "The bread, the bread!");
  index.add(3, "A blue blue door of the house");
  // N = 3, avdl = (4 + 4 + 7) / 3 = 5. "blue" is in 2 of 3: idf = ln(1 + 1.5 / 2.5) = ln 1.6 = 0.4700036
  // 1: tf 1, dl 4: norm 1.2 (0.25 + 0.75 * 4 / 5) = 1.02; 0.4700036 * 2.2 / 2.02 = 0.5118851
  // 3: tf 2, dl 7: norm 1.2 (0.25 + 0.75 * 7 / 5) = 1.56; 0.4700036 * 4.4 / 3.56 = 0.5809034
  expect(index.search("Blue", 5)).toEqual([
    { key: 3, score: expect.closeTo(0.5809034, 6) },
    { key: 1, score: expect.closeTo(0.5118851, 6) },
  ]);
  // "bread" is in 1 of 3: idf = ln(1 + 2.5 / 1.5) = 0.9808293; tf 2, dl 4: 0.9808293 * 4.4 / 3.02 = 1.4290225
  expect(index.search("bread", 5)).toEqual([{ key: 2, score: expect.closeTo(1.4290225, 6) }]);
  // A term asked for twice counts twice
  expect(index.search("bread bread", 1)[0].score).toBeCloseTo(2.858046, 5);
  expect(index.search("harbour", 5)).toEqual([]);
  expect(index.search("the", 2)).toHaveLength(2);
});

test("of equals, the one added later", () => {
  const index = createBm25();
  for (const key of [5, 2, 9]) index.add(key, "Mara lives in Oslo");
  expect(index.search("Mara", 2).map(({ key }) => key)).toEqual([9, 5]);
});

describe("properties", () => {
  const words = fc.array(fc.constantFrom("a", "b", "c", "d", "e", "f"), { minLength: 1, maxLength: 12 });
  const texts = fc.array(words, { minLength: 1, maxLength: 10 });

  test("equals the formula", () => {
    fc.assert(
      fc.property(texts, words, (documents, query) => {
        const index = createBm25();
        for (const [key, document] of documents.entries()) index.add(key, document.join(" "));
        const average = documents.reduce((sum, { length }) => sum + length, 0) / documents.length;
        const scores = documents.map((document) =>
          query.reduce((sum, term) => {
            const n = documents.filter((other) => other.includes(term)).length;
            const tf = document.filter((other) => other === term).length;
            const idf = Math.log(1 + (documents.length - n + 0.5) / (n + 0.5));
            return sum + (idf * tf * 2.2) / (tf + 1.2 * (0.25 + (0.75 * document.length) / average));
          }, 0),
        );
        const found = index.search(query.join(" "), documents.length);
        expect(found).toHaveLength(scores.filter((score) => score > 0).length);
        for (const [i, { key, score }] of found.entries()) {
          expect(score).toBeCloseTo(scores[key], 9);
          if (i > 0) expect(score).toBeLessThanOrEqual(found[i - 1].score);
        }
      }),
    );
  });

  test("what is removed leaves no trace", () => {
    fc.assert(
      fc.property(texts, texts, words, (stay, go, query) => {
        const [mixed, plain] = [createBm25(), createBm25()];
        for (const [key, document] of go.entries()) mixed.add(1000 + key, document.join(" "));
        for (const [key, document] of stay.entries()) {
          mixed.add(key, document.join(" "));
          plain.add(key, document.join(" "));
        }
        for (const key of go.keys()) mixed.remove(1000 + key);
        expect(mixed.search(query.join(" "), 20)).toEqual(plain.search(query.join(" "), 20));
        expect(mixed.bytes()).toBe(plain.bytes());
      }),
    );
  });
});
