/**
 * Seeded random numbers whose state can be saved: xoshiro128** (Blackman and Vigna, https://prng.di.unimi.it).
 * Streams are named: `randomStream(seed, "init", "wte.weight")` gives numbers that depend on nothing but that path,
 * so adding a draw in one place never shifts the numbers of another.
 */
import { UserError } from "../errors.ts";

/** Four 32-bit words; plain JSON. */
export type RandomState = readonly [number, number, number, number];

export interface Random {
  /** An integer from 0 up to 2^32 - 1. */
  uint32(): number;
  /** A double in [0, 1) with 53 random bits. */
  uniform(): number;
  /** Standard normal; two draws of the generator each, so the state stays four words. */
  normal(): number;
  /** An integer in [0, bound), each equally likely. bound <= 2^32. */
  integer(bound: number): number;
  /** Fisher-Yates, in place. */
  shuffle<T extends Int32Array | Uint32Array | Float32Array | unknown[]>(items: T): T;
  /** 0 .. length-1 in random order. */
  permutation(length: number): Int32Array;
  /** Fill with numbers from low up to high. Faster than a call per number, and a sequence of its own. */
  fillUniform(out: Float32Array, low?: number, high?: number): Float32Array;
  /** Fill with normals. */
  fillNormal(out: Float32Array, mean?: number, std?: number): Float32Array;
  save(): RandomState;
  restore(state: RandomState): void;
}

/** One of the items, each equally likely. */
export const pick = <T>(items: readonly T[], random: Random): T => items[random.integer(items.length)];

const twoTo32 = 2 ** 32;

/** A generator that continues from a saved state. */
export function randomFromState(state: RandomState): Random {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;

  const restore = (words: RandomState): void => {
    if (
      words.length !== 4 ||
      !words.every((w) => Number.isInteger(w) && w >= 0 && w < twoTo32) ||
      !words.some(Boolean)
    ) {
      throw new UserError(`random.restore: expected four 32-bit words that are not all 0, got [${words.join(", ")}]`);
    }
    [a, b, c, d] = words.map((w) => w | 0) as [number, number, number, number];
  };
  restore(state);

  const next = (): number => {
    const x = Math.imul(b, 5);
    const result = Math.imul((x << 7) | (x >>> 25), 9);
    const t = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= t;
    d = (d << 11) | (d >>> 21);
    return result;
  };
  const uint32 = (): number => next() >>> 0;
  const uniform = (): number => ((next() >>> 5) * 67108864 + (next() >>> 6)) / 9007199254740992;
  /** In (0, 1], so that its logarithm is finite. */
  const positive = (): number => (uint32() + 1) / twoTo32;

  const integer = (bound: number): number => {
    if (!Number.isInteger(bound) || bound < 1 || bound > twoTo32) {
      throw new UserError(`random.integer: expected a bound from 1 to 2^32, got ${bound}`);
    }
    const limit = twoTo32 - (twoTo32 % bound); // draws beyond the last whole multiple would favour small results
    let draw = uint32();
    while (draw >= limit) draw = uint32();
    return draw % bound;
  };

  const shuffle = <T extends Int32Array | Uint32Array | Float32Array | unknown[]>(items: T): T => {
    for (let i = items.length - 1; i > 0; i--) {
      const j = integer(i + 1);
      const held = items[i];
      items[i] = items[j];
      items[j] = held;
    }
    return items;
  };

  return {
    uint32,
    uniform,
    normal: () => Math.sqrt(-2 * Math.log(positive())) * Math.cos(2 * Math.PI * (uint32() / twoTo32)),
    integer,
    shuffle,
    permutation(length) {
      const order = new Int32Array(length);
      for (let i = 0; i < length; i++) order[i] = i;
      return shuffle(order);
    },
    fillUniform(out, low = 0, high = 1) {
      const scale = (high - low) / 16777216;
      for (let i = 0; i < out.length; i++) out[i] = low + (next() >>> 8) * scale;
      return out;
    },
    fillNormal(out, mean = 0, std = 1) {
      // Box-Muller: two uniforms make two normals.
      for (let i = 0; i < out.length; i += 2) {
        const radius = std * Math.sqrt(-2 * Math.log(positive()));
        const angle = 2 * Math.PI * (uint32() / twoTo32);
        out[i] = mean + radius * Math.cos(angle);
        if (i + 1 < out.length) out[i + 1] = mean + radius * Math.sin(angle);
      }
      return out;
    },
    save: () => [a >>> 0, b >>> 0, c >>> 0, d >>> 0],
    restore,
  };
}

/** 32-bit mixing of MurmurHash3's finaliser: every input bit reaches every output bit. */
function mix(word: number): number {
  let h = word;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** A 32-bit hash of a text; other starts give unrelated ones. */
export function hashText(text: string, start = 0x9e3779b9): number {
  let h = start | 0;
  for (let i = 0; i < text.length; i++) h = Math.imul(mix(h ^ text.charCodeAt(i)), 0x01000193) + start;
  return mix(h) >>> 0;
}

/** The generator of a named stream: same seed and labels, same numbers; any other path, unrelated ones. */
export function randomStream(seed: number, ...labels: readonly (string | number)[]): Random {
  if (!Number.isSafeInteger(seed)) throw new UserError(`randomStream: expected an integer seed, got ${seed}`);
  // JSON keeps ("a", "bc") and ("ab", "c") apart, and 1 from "1".
  const path = JSON.stringify([seed, ...labels]);
  const words = [0x9e3779b9, 0x243f6a88, 0xb7e15162, 0x71374491].map((start) => hashText(path, start));
  if (!words.some(Boolean)) words[0] = 1;
  return randomFromState(words as unknown as RandomState);
}
