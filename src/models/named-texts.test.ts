import { beforeAll, expect, test } from "vitest";
import { join } from "node:path";
import { loadTokenizer, type Tokenizer } from "../checkpoint/tokenizer.ts";
import { embeddedFolder } from "./embedded.ts";
import type { TextEmbedder } from "./embed-texts.ts";
import { withNames } from "./named-texts.ts";

/** Every text means the same. */
const alike: TextEmbedder = {
  width: 2,
  embed: async (texts) => Float32Array.from(texts.flatMap(() => [0.6, 0.8])),
  dispose: async () => {},
};
let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await loadTokenizer(join(embeddedFolder, "mneme-embed"));
});

async function cosine(a: string, b: string, share: number): Promise<number> {
  const { width, embed } = withNames(alike, tokenizer, { share });
  const vectors = await embed([a, b]);
  expect(vectors.length).toBe(2 * width);
  return vectors.subarray(0, width).reduce((sum, value, i) => sum + value * vectors[width + i], 0);
}

test("the cosine is that of meaning and names in their shares", async () => {
  const [asked, other, same] = [
    "Where was Orvella Quist born?",
    "Where was Tobrin Hasse born?",
    "where was Orvella Quist born",
  ];
  expect(await cosine(asked, asked, 0.3)).toBeCloseTo(1, 6);
  expect(await cosine(asked, same, 0.3)).toBeCloseTo(1, 6); // all rare words are the same
  expect(await cosine(asked, other, 0.3)).toBeCloseTo(0.7, 1); // none is; two of 256 places may be
  expect(await cosine(asked, other, 0.8)).toBeLessThan(0.4);
});

test("without rare words meaning counts alone, and a share of 0 changes nothing", async () => {
  expect(await cosine("where is it?", "it is there", 0.5)).toBeCloseTo(1, 6);
  expect(await cosine("where is it?", "Where is Orvella Quist?", 0.5)).toBeCloseTo(Math.SQRT1_2, 6);
  expect(withNames(alike, tokenizer, { share: 0 })).toBe(alike);
  expect(() => withNames(alike, tokenizer, { share: 1 })).toThrow("withNames: expected a share");
});

test("one word in common of two is half of the names, however the sentence begins", async () => {
  const half = await cosine("Is it Orvella or Tobrin?", "Is it Orvella or Quixen?", 0.5);
  expect(half).toBeGreaterThan(0.6);
  expect(half).toBeLessThan(0.9);
});
