/**
 * Names beside meaning. A sentence encoder tells names apart that it has never seen about as well as it tells strangers
 * apart, but whoever asks about a thing says its name. So a text's vector is that of its encoder, and behind it the
 * text's rare words, hashed (https://arxiv.org/abs/0902.2206): with a share s for them, the cosine of two texts is
 * (1 - s) cos(meaning) + s cos(rare words); of texts without rare words it is that of their meaning, and where only one
 * has some, sqrt(1 - s) times that.
 */
import type { Tokenizer } from "../checkpoint/tokenizer.ts";
import { UserError } from "../errors.ts";
import { hashText } from "../tensor/random.ts";
import type { TextEmbedder } from "./embed-texts.ts";

export interface NamedOptions {
  /** s, from 0 to below 1. */
  readonly share: number;
  /** Numbers for the rare words. */
  readonly width?: number;
}

/** A share that helps with real names and hardly harms invented ones; where it was chosen: docs/scope.md, larimar.md. */
export const NAMES_SHARE = 0.3;

const words = /[\p{L}\p{N}]+/gu;
const sentenceEnd = /[.!?]["'”’)]*$/;
/** A word in more pieces than this is no rarer. */
const MOST_PIECES = 3;

/**
 * How rare a word is: pieces that the tokenizer needs beyond the first, and 1 for a capital within a sentence. In small
 * letters, as every sentence begins with a capital, and a name that is not written so has more pieces.
 */
function rarityOf(tokenizer: Tokenizer): (word: string, isFirst: boolean) => number {
  const known = new Map<string, number>();
  return (word, isFirst) => {
    let pieces = known.get(word);
    if (pieces === undefined) {
      pieces = tokenizer.encode(` ${word.toLowerCase()}`, { addSpecialTokens: false }).length;
      known.set(word, pieces);
    }
    return Math.min(MOST_PIECES, pieces) - 1 + (!isFirst && /^[\p{Lu}\p{N}]/u.test(word) ? 1 : 0);
  };
}

/** Rare words of a text added up, each at a place and with a sign of its own; of length 1, or zeros without any. */
function hashedNames(text: string, width: number, rarity: ReturnType<typeof rarityOf>): Float64Array {
  const sums = new Float64Array(width);
  for (const { 0: word, index } of text.matchAll(words)) {
    const before = text.slice(0, index).trimEnd();
    const hash = hashText(word.toLowerCase());
    sums[(hash >>> 1) % width] += (hash & 1 ? 1 : -1) * rarity(word, before === "" || sentenceEnd.test(before));
  }
  const length = Math.hypot(...sums);
  return length === 0 ? sums : sums.map((value) => value / length);
}

/** An embedder whose vectors [N, C + width] also tell names apart; rows of length 1 as before. */
export function withNames(
  embedder: TextEmbedder,
  tokenizer: Tokenizer,
  { share, width = 256 }: NamedOptions,
): TextEmbedder {
  if (!(share >= 0 && share < 1))
    throw new UserError(`withNames: expected a share from 0 to below 1, got ${share}; try 0.3`);
  if (share === 0) return embedder;
  const rarity = rarityOf(tokenizer);
  const all = embedder.width + width;
  return {
    width: all,
    dispose: embedder.dispose,
    async embed(texts) {
      const meanings = await embedder.embed(texts);
      const vectors = new Float32Array(texts.length * all);
      for (const [i, text] of texts.entries()) {
        const names = hashedNames(text, width, rarity);
        const own = names.some((value) => value !== 0) ? share : 0;
        const [ofMeaning, ofNames] = [Math.sqrt(1 - own), Math.sqrt(own)];
        const meaning = meanings.subarray(i * embedder.width, (i + 1) * embedder.width);
        vectors.set(
          meaning.map((value) => ofMeaning * value),
          i * all,
        );
        vectors.set(
          names.map((value) => ofNames * value),
          i * all + embedder.width,
        );
      }
      return vectors;
    },
  };
}
