import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test, vi } from "vitest";
import { UserError } from "../errors.ts";
import { trainBpe } from "./bpe.ts";
import { byteCharacters, wordPattern } from "./byte-level.ts";
import { loadTokenizer } from "./tokenizer.ts";

// Generous: a busy machine must not fail a test of correctness.
vi.setConfig({ testTimeout: 60_000 });

const folder = mkdtempSync(join(tmpdir(), "mneme-bpe-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** The definition of BPE training, without any index: count all pairs anew before each merge. */
function bruteForce(texts: readonly string[], merges: number, minFrequency: number): string[] {
  const words = texts
    .flatMap((text) => text.match(wordPattern) ?? [])
    .map((word) => Array.from(Buffer.from(word), (byte) => byteCharacters[byte]));
  const rank = new Map([...byteCharacters].sort().map((token, id) => [token, id]));
  const rankOf = (token: string): number => rank.get(token) as number;
  const done: string[] = [];
  while (rank.size < 256 + merges) {
    const counts = new Map<string, number>();
    for (const word of words) {
      for (let i = 1; i < word.length; i++) {
        const pair = `${word[i - 1]} ${word[i]}`;
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    }
    const order = (pair: string): [number, number] => pair.split(" ").map(rankOf) as [number, number];
    const [best] = [...counts].sort(
      ([p, a], [q, b]) => b - a || order(p)[0] - order(q)[0] || order(p)[1] - order(q)[1],
    );
    if (best === undefined || best[1] < minFrequency) break;
    const [left, right] = best[0].split(" ");
    done.push(best[0]);
    if (!rank.has(left + right)) rank.set(left + right, rank.size);
    for (const word of words) {
      for (let i = 1; i < word.length; i++)
        if (word[i - 1] === left && word[i] === right) word.splice(i - 1, 2, left + right);
    }
  }
  return done;
}

test("a hand-worked corpus", async () => {
  // "an" 16 times, then "in" 10, then "tan" 9; then "fan" and "fin" tie at 7 and "an", the older token, goes first.
  const words: [string, number][] = [
    ["tan", 9],
    ["fan", 7],
    ["fin", 7],
    ["tin", 3],
  ];
  const texts = words.flatMap(([word, count]) => Array.from({ length: count }, () => word));
  const { model } = await trainBpe(texts, { vocabSize: 256 + 5 });
  expect(model.merges).toEqual(["a n", "i n", "t an", "f an", "f in"]);
});

test("merges equal those of counting everything anew", async () => {
  const word = fc.string({ unit: fc.constantFrom("a", "b", "c", " ", "é"), maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(word, { minLength: 1, maxLength: 8 }),
      fc.constantFrom(1, 2),
      async (texts, minFrequency) => {
        fc.pre(texts.some((text) => text.length > 0));
        const { model } = await trainBpe(texts, { vocabSize: 256 + 15, minFrequency });
        expect(model.merges).toEqual(bruteForce(texts, 15, minFrequency));
      },
    ),
    { numRuns: 300 },
  );
});

test("special tokens come first, bytes follow, and a short corpus ends early", async () => {
  const { model, added_tokens: added } = await trainBpe(["ab ab"], { vocabSize: 1000, specialTokens: ["<s>", "</s>"] });
  expect(added.map(({ id, content }) => [id, content])).toEqual([
    [0, "<s>"],
    [1, "</s>"],
  ]);
  expect(model.vocab["!"]).toBe(2);
  expect(model.merges).toEqual(["a b"]);
  expect(Object.keys(model.vocab).length).toBe(2 + 256 + 1);
});

test("a text of several pieces counts like one, and progress is told", async () => {
  const sentence = "the cat sat on the mat and saw the rat ";
  const long = sentence.repeat(60_000); // over two million characters
  const seen: number[] = [];
  const a = await trainBpe([long], { vocabSize: 290, onProgress: ({ characters }) => void seen.push(characters) });
  const b = await trainBpe([sentence.repeat(50)], { vocabSize: 290 });
  expect(a.model.merges).toEqual(b.model.merges);
  expect(seen[0]).toBe(long.length);
});

test("decode(encode(text)) gives back any well-formed text", async () => {
  async function* texts(): AsyncGenerator<string> {
    yield "The quick brown fox. Über naïve 北京 北京 🙂🙂 \n\n\t x_y don't\r\n";
  }
  const json = await trainBpe(texts(), { vocabSize: 300, specialTokens: ["<|end|>"] });
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(json));
  const tokenizer = await loadTokenizer(folder);
  expect(tokenizer.vocabSize).toBe(Object.keys(json.model.vocab).length);
  const piece = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.string({ unit: "grapheme" }),
    fc.constantFrom("<|end|>", "  ", "\n\n", "\uFEFF", "\u0000", "'s", "don't", "\uFFFD", "\u00a0", "e\u0301"),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
      const text = pieces.join("");
      const ids = tokenizer.encode(text);
      expect(tokenizer.decode(ids)).toBe(text);
      expect(ids.every((id) => id < tokenizer.vocabSize)).toBe(true);
    }),
    { numRuns: 2000 },
  );
});

test("bad options and an empty corpus are one line", async () => {
  await expect(trainBpe(["a"], { vocabSize: 255 })).rejects.toThrow(/vocabulary of 256 .* got 255/);
  await expect(trainBpe(["a"], { vocabSize: 300, specialTokens: ["x", "x"] })).rejects.toThrow(UserError);
  await expect(trainBpe(["", ""], { vocabSize: 300 })).rejects.toThrow(/at least one non-empty text/);
});
