/**
 * Training rows from a mixture: windows of a token stream (texts) and generated examples (worlds, dialogues ...), each
 * source with its share of rows. Row r is a pure function of the seed and r, so a run resumes anywhere and endless
 * sources need no storage. What an example leaves of a row is filled with text.
 */
import type { Tokenizer } from "../checkpoint/tokenizer.ts";
import { UserError } from "../errors.ts";
import { type Random, randomStream } from "../tensor/random.ts";
import { type Batches, shuffledPasses } from "./batches.ts";
import { sharesOf } from "./shares.ts";

/** Part of an example. `weight` is that of its tokens in the loss: 1 when left out, 0 for what is only read. */
export interface Segment {
  readonly text: string;
  readonly weight?: number;
}

/** Endless examples: each a pure function of the numbers drawn. */
export interface ExampleSource {
  /** An example of about `room` tokens at most; a longer one is dropped. */
  example(random: Random, room: number): readonly Segment[];
}

export interface MixtureOptions {
  readonly tokenizer: Pick<Tokenizer, "encode">;
  /** Joined texts, for the source "texts" and for what is left of rows. */
  readonly stream: Uint16Array | Int32Array;
  readonly sources: Readonly<Record<string, ExampleSource>>;
  /** Shares of rows by name of the source; "texts" is the stream. They are scaled to a sum of 1. */
  readonly shares: Readonly<Record<string, number>>;
  /** Rows in the whole run. */
  readonly rowCount: number;
  /** T. */
  readonly contextLength: number;
  readonly batchSize: number;
  readonly eosId: number;
  readonly seed: number;
}

const TEXTS = "texts";
/** Less room than this holds no example. */
const LEAST_ROOM = 48;
const MOST_TRIES = 3;

/** Rows of [T + 1] tokens and the weights of all but the first as targets. */
interface Row {
  readonly ids: Int32Array;
  readonly weights: Float32Array;
}

export function mixedBatches(options: MixtureOptions): Batches {
  const { tokenizer, stream, sources, shares, rowCount, contextLength: T, batchSize: B, eosId, seed } = options;
  const { names, indexAt } = sharesOf(shares, [TEXTS, ...Object.keys(sources)]);
  const windows = Math.floor((stream.length - 1) / T);
  if (windows < 1) throw new UserError(`mixture: expected texts of more than ${T} tokens, got ${stream.length}`);

  // The source of every row, and which text row it is, are drawn at once: texts are then read without a repeat
  const draws = randomStream(seed, "mixture").fillUniform(new Float32Array(rowCount));
  const sourceOf = Uint8Array.from(draws, indexAt);
  const texts = names.indexOf(TEXTS);
  const ordinals = new Int32Array(rowCount);
  for (let r = 1; r < rowCount; r++) ordinals[r] = ordinals[r - 1] + (sourceOf[r - 1] === texts ? 1 : 0);
  const windowOf = shuffledPasses(windows, seed, "texts");

  const textRow = (r: number): Row => {
    const start = windowOf(ordinals[r]) * T;
    return { ids: Int32Array.from(stream.subarray(start, start + T + 1)), weights: new Float32Array(T).fill(1) };
  };

  const exampleRow = (source: ExampleSource, r: number): Row => {
    const random = randomStream(seed, "row", r);
    const ids = new Int32Array(T + 1).fill(eosId);
    const weights = new Float32Array(T + 1);
    let at = 1;
    let tries = 0;
    while (T + 1 - at >= LEAST_ROOM && tries < MOST_TRIES) {
      const room = T - at; // one is kept for the end of the example
      const parts = source.example(random, room).map(({ text, weight = 1 }) => ({
        ids: tokenizer.encode(text, { addSpecialTokens: false }),
        weight,
      }));
      const length = parts.reduce((sum, part) => sum + part.ids.length, 0);
      if (length > room || length === 0) {
        tries++;
        continue;
      }
      for (const part of parts) {
        ids.set(part.ids, at);
        weights.fill(part.weight, at, at + part.ids.length);
        at += part.ids.length;
      }
      ids[at] = eosId;
      weights[at++] = 1;
    }
    const rest = T + 1 - at;
    if (rest > 0) {
      const start = random.integer(stream.length - rest);
      ids.set(stream.subarray(start, start + rest), at);
      weights.fill(1, at);
    }
    return { ids, weights: weights.subarray(1) };
  };

  return {
    rowCount,
    batchSize: B,
    contextLength: T,
    targetCount: rowCount * T,
    stepsPerEpoch: Math.ceil(rowCount / B),
    batchAt(step) {
      const ids = new Int32Array(B * T);
      const targets = new Int32Array(B * T);
      const mask = new Float32Array(B * T);
      for (let b = 0; b < B; b++) {
        const r = (step * B + b) % rowCount;
        const row = sourceOf[r] === texts ? textRow(r) : exampleRow(sources[names[sourceOf[r]]], r);
        ids.set(row.ids.subarray(0, T), b * T);
        targets.set(row.ids.subarray(1), b * T);
        mask.set(row.weights, b * T);
      }
      return { ids, targets, mask, targetCount: mask.reduce((sum, weight) => sum + weight, 0), read: B * T };
    },
  };
}
