/**
 * Pairs of neighbouring sentences from texts: what stands side by side in a story is about the same thing. Sentences
 * are found where they are drawn, so that long texts need no index.
 */
import { UserError } from "../errors.ts";
import type { Random } from "../tensor/random.ts";
import type { Pair, PairSource } from "./contrastive.ts";

/** Characters read from a place on. */
const WINDOW = 700;
const SHORTEST = 24;
const LONGEST = 150;
/** Draws per pair before the texts are held to have none. */
const MOST_TRIES = 1000;

/** An end of a sentence, perhaps with a closing quote, and the blank before the next one. */
const boundary = /[.!?]["'’”]?\s+(?=["'‘“]?[A-Z])/g;

const fits = (text: string): boolean => text.length >= SHORTEST && text.length <= LONGEST;
const plain = (text: string): string => text.replace(/\s+/g, " ").trim();

/** The first two whole sentences of a paragraph's piece that are neither short nor long. */
function firstPair(piece: string): Pair | undefined {
  const ends = [...piece.matchAll(boundary)].map(({ index, 0: { length } }) => index + length);
  for (let i = 0; i + 2 < ends.length; i++) {
    const [left, right] = [piece.slice(ends[i], ends[i + 1]), piece.slice(ends[i + 1], ends[i + 2])];
    if (/\n\s*\n/.test(left)) continue;
    const pair = [plain(left), plain(right)] as const;
    if (fits(pair[0]) && fits(pair[1])) return pair;
  }
  return undefined;
}

/** Neighbouring sentences of the texts, each character as likely as any other to be near. */
export function sentencePairs(texts: readonly string[]): PairSource {
  const all = texts.join("\n\n");
  return {
    pairs(random: Random, count: number) {
      const found = new Map<string, Pair>();
      for (let tries = 0; found.size < count; tries++) {
        if (tries > count * MOST_TRIES)
          throw new UserError(
            `texts: expected at least ${count} pairs of neighbouring sentences, got ${found.size}; add text or ` +
              "lower batchSize",
          );
        const from = random.integer(Math.max(1, all.length - WINDOW));
        const pair = firstPair(all.slice(from, from + WINDOW));
        if (pair) found.set(pair[0], pair);
      }
      return [...found.values()];
    },
  };
}
