/**
 * How much a codebook is used: a moving average of each code's share of the tokens, the perplexity, the dead codes.
 * The released code of memory bank compression averages counts and calls a code dead below 1e-4 of them, whatever the
 * batch and the codebook hold; here shares are averaged, and the threshold is a part of the even share 1 / K.
 */
import { UserError } from "../errors.ts";
import { type MemoryState, numberOf, packDoubles, unpackDoubles } from "./packed.ts";

export interface UsageOptions {
  /** K. */
  readonly codes: number;
  /** The weight of the past at each update. */
  readonly decay?: number;
  /** A code is dead below this part of the even share. With 0.01 and a decay of 0.99, unused for 459 updates. */
  readonly deadBelow?: number;
  /** Each code's share at the start in even shares; 0 as released: whatever the first batch leaves out is dead. */
  readonly start?: number;
}

export interface CodebookUsage {
  /** Adds the indices of a batch; none is no update. */
  update(indices: ArrayLike<number>): void;
  /** Each code's share [K]: a copy. They add up to 1 once the start has faded, or from the start where that is 1. */
  shares(): Float64Array;
  /** Codes below the threshold, ascending. */
  dead(): number[];
  /** exp of the entropy of the shares: how many codes, evenly used, would be as much in use. 0 before any. */
  perplexity(): number;
  /** Codes that were placed anew begin with the mean share. */
  revive(codes: readonly number[]): void;
  state(): MemoryState;
  /** Takes on a saved state of as many codes, or throws and stays as it is. */
  restore(state: MemoryState): void;
}

/** exp of the entropy of counts or shares, from 1 (one code has all) to their number; 0 where there are none. */
export function perplexity(counts: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < counts.length; i++) total += counts[i];
  if (!(total > 0)) return 0;
  let entropy = 0;
  for (let i = 0; i < counts.length; i++) {
    if (counts[i] > 0) entropy -= (counts[i] / total) * Math.log(counts[i] / total);
  }
  return Math.exp(entropy);
}

/** How each book is used, from counts [B, K]: codes that nothing uses, and the perplexity. */
export const usesOfBooks = (
  counts: Float64Array,
  { codes, books }: { readonly codes: number; readonly books: number },
): { readonly dead: number; readonly perplexity: number }[] =>
  Array.from({ length: books }, (_, book) => {
    const own = counts.subarray(book * codes, (book + 1) * codes);
    return { dead: own.reduce((dead, count) => dead + (count === 0 ? 1 : 0), 0), perplexity: perplexity(own) };
  });

export function createCodebookUsage({ codes, decay = 0.99, deadBelow = 0.01, start = 1 }: UsageOptions): CodebookUsage {
  if (!(decay >= 0 && decay < 1) || !(deadBelow >= 0) || !(start >= 0)) {
    throw new UserError(
      `createCodebookUsage: expected a decay in [0, 1) and deadBelow and start from 0, got ${decay}, ${deadBelow} and ` +
        `${start}; try 0.99, 0.01 and 1`,
    );
  }
  const shares = new Float64Array(codes).fill(start / codes);
  return {
    update(indices) {
      if (indices.length === 0) return;
      const part = (1 - decay) / indices.length;
      for (let i = 0; i < codes; i++) shares[i] *= decay;
      for (let n = 0; n < indices.length; n++) shares[indices[n]] += part;
    },
    shares: () => Float64Array.from(shares),
    dead: () => [...shares.keys()].filter((code) => shares[code] < deadBelow / codes),
    perplexity: () => perplexity(shares),
    revive(placed) {
      const mean = shares.reduce((a, b) => a + b, 0) / codes;
      for (const code of placed) shares[code] = mean;
    },
    state: () => ({ tensors: { shares: packDoubles([codes], shares) }, json: { codes } }),
    restore(state) {
      if (numberOf(state, "codes", 1) !== codes) {
        throw new UserError(
          `codebookUsage.restore: expected ${codes} codes, got ${state.json.codes}; open the codebook it was saved with`,
        );
      }
      shares.set(unpackDoubles(state, "shares", [codes]));
    },
  };
}
