/**
 * What a fit of Larimar practises: texts to encode, prompts to answer from their latents. Three kinds of batches, each
 * of one kind: facts (one way of saying a fact is encoded, another is asked), strings (the answer is a few tokens drawn
 * at random, so that any answer can be copied), and passages (a stretch of text goes on from its beginning).
 * A batch is a pure function of its number, so a fit resumes anywhere.
 */
import type { Tokenizer } from "../../checkpoint/tokenizer.ts";
import { UserError } from "../../errors.ts";
import { cholesky, choleskySolve } from "../../memory/pseudo-inverse.ts";
import { gram, type Matrix, product, transposed, triangleSize, zeros } from "../../memory/matrix.ts";
import { pick, type Random, randomStream } from "../../tensor/random.ts";
import { requireStep } from "../batches.ts";
import type { Document } from "../method.ts";
import { sharesOf } from "../shares.ts";
import { answerIds, promptIdsOf } from "../stated.ts";
import type { EpisodeBatch } from "./objective.ts";

/** One row: what is encoded, where its answer stands, what is asked. */
interface Example {
  readonly encoded: readonly number[];
  /** Tokens of `encoded` before the answer; all of them where it is not marked. */
  readonly before: number;
  readonly prompt: readonly number[];
  readonly answer: readonly number[];
}

export interface ExampleOptions {
  readonly tokenizer: Tokenizer;
  readonly documents: readonly Document[];
  /** Shares of batches: facts, strings, passages. */
  readonly shares: Readonly<Record<ExampleKind, number>>;
  /** Most tokens of a string; and of the passage that goes on. */
  readonly longest: number;
  /** Share of facts whose text is encoded as it is, its answer unmarked. */
  readonly unmarked: number;
  /** Most tokens that the encoder reads. */
  readonly context: number;
  /** B, and N, which divides it. */
  readonly batchSize: number;
  readonly episode: number;
  /** The memory that an episode is written into: its slots, its ridge, and the noise on keys when it is read. */
  readonly memory: { readonly slots: number; readonly ridge: number; readonly noise: number };
  /** Share of the episodes that go through a memory; the others are decoded from their latents. */
  readonly memoryShare: number;
  /** Share of rows without memory, which practise language. */
  readonly plainShare: number;
  readonly seed: number;
}

export const exampleKinds = ["facts", "strings", "passages"] as const;
export type ExampleKind = (typeof exampleKinds)[number];

/** Tokens of a passage before the place where it goes on. */
const PASSAGE_PROMPT = 16;
const MOST_TRIES = 100;
/** Share of strings whose prompts are stretches of texts, and the most tokens of a stretch. */
const OTHER_PROMPTS = 0.5;
const OTHER_LENGTH = 32;

/** Draws examples of each kind. */
function drawersOf({ tokenizer, documents, longest, unmarked, context }: ExampleOptions) {
  const facts = documents.flatMap(({ text, facts: own = [] }) => own.map((fact) => ({ text, fact })));
  const passages = documents.filter(({ facts: own = [] }) => own.length === 0);
  const end = answerIds(tokenizer, "").at(-1) as number;
  const plain = [...Array(tokenizer.vocabSize).keys()].filter(
    (id) => !tokenizer.isSpecial(id) && !tokenizer.decode([id]).includes("\n"),
  );
  const encode = (text: string): number[] => tokenizer.encode(text, { addSpecialTokens: false });

  const prompts = (random: Random) => {
    const { text, fact } = pick(facts, random);
    const all = [fact.prompt, ...(fact.rephrased ?? [])];
    return {
      text,
      fact,
      written: promptIdsOf(tokenizer, pick(all, random)),
      asked: promptIdsOf(tokenizer, pick(all, random)),
    };
  };
  const otherPrompts = passages.length > 0 ? OTHER_PROMPTS : 0;
  /** Stretches of texts as prompts, so that the way from latent to answer depends on no wording of prompts. */
  const otherWords = (random: Random): { written: number[]; asked: number[] } => {
    const stretch = (): number[] => {
      const { text } = pick(passages, random);
      const from = random.integer(Math.max(1, text.length - 8 * OTHER_LENGTH));
      const start = Math.max(0, text.indexOf(" ", from));
      return encode(text.slice(start, start + 8 * OTHER_LENGTH).trim()).slice(0, 2 + random.integer(OTHER_LENGTH - 1));
    };
    const written = stretch();
    return { written, asked: random.uniform() < 0.5 ? written : stretch() };
  };
  return {
    facts(random: Random): Example {
      const { text, fact, written, asked } = prompts(random);
      const answer = answerIds(tokenizer, fact.target);
      const example = { prompt: asked, answer };
      if (random.uniform() < unmarked) {
        const encoded = encode(text);
        return { ...example, encoded, before: encoded.length };
      }
      return { ...example, encoded: [...written, ...answer], before: written.length };
    },
    strings(random: Random): Example {
      const { written, asked } = random.uniform() < otherPrompts ? otherWords(random) : prompts(random);
      const answer = [...Array.from({ length: 1 + random.integer(longest) }, () => pick(plain, random)), end];
      return { encoded: [...written, ...answer], before: written.length, prompt: asked, answer };
    },
    passages(random: Random): Example {
      const { text } = pick(passages, random);
      const from = random.integer(Math.max(1, text.length - 8 * context));
      const ids = encode(text.slice(from, from + 8 * context));
      const before = 1 + random.integer(PASSAGE_PROMPT);
      const answer = ids.slice(before, before + 1 + random.integer(context - PASSAGE_PROMPT));
      const prompt = ids.slice(0, before);
      return { encoded: [...prompt, ...answer], before, prompt, answer };
    },
    count: { facts: facts.length, strings: facts.length, passages: passages.length },
  };
}

/**
 * What is read of an episode under keys drawn at random: W_read (W'W + λI)⁻¹ W' of the N facts [N, N], row by row. The
 * identity but for the ridge and the noise on the keys (σ_W of Algorithm 1).
 */
export function episodeReading(random: Random, N: number, slots: number, ridge: number, noise: number): Float64Array {
  const keys = zeros(N, slots);
  for (let i = 0; i < N; i++) {
    const row = keys.data.subarray(i * slots, (i + 1) * slots);
    for (let k = 0; k < slots; k++) row[k] = random.normal();
    const length = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));
    for (let k = 0; k < slots; k++) row[k] /= length;
  }
  // With the inverse on the other side, (W W' + λI)⁻¹, N by N, it is the same
  const kernel = gram(keys);
  for (let i = 1; i <= N; i++) kernel[triangleSize(i) - 1] += ridge;
  const read: Matrix = {
    ...keys,
    data: keys.data.map((value) => value + (noise * random.normal()) / Math.sqrt(slots)),
  };
  const factor = cholesky(kernel, N) as Float64Array;
  return transposed(choleskySolve(factor, product(keys, transposed(read)))).data;
}

/** Short batches are cut to what their longest row needs. */
function batchOfExamples(examples: readonly Example[], padId: number): Omit<EpisodeBatch, "reading" | "gate"> {
  const B = examples.length;
  const T = Math.max(...examples.map(({ encoded }) => encoded.length));
  const U = Math.max(...examples.map(({ prompt, answer }) => prompt.length + answer.length - 1));
  const A = Math.max(...examples.map(({ answer }) => answer.length));
  const batch = {
    lengths: [T, U, A] as const,
    encoderIds: new Int32Array(B * T).fill(padId),
    offsets: new Int32Array(B * T),
    encoderMask: new Int32Array(B * T),
    ids: new Int32Array(B * U).fill(padId),
    kinds: new Int32Array(B * U),
    places: new Int32Array(B * A),
    targets: new Int32Array(B * A),
    weights: new Float32Array(B * A),
  };
  let targetCount = 0;
  for (const [b, { encoded, before, prompt, answer }] of examples.entries()) {
    batch.encoderIds.set(encoded, b * T);
    batch.encoderMask.fill(1, b * T, b * T + encoded.length);
    for (let t = before; t < encoded.length; t++) batch.offsets[b * T + t] = t - before + 1;
    batch.ids.set([...prompt, ...answer.slice(0, -1)], b * U);
    for (let a = 0; a < answer.length; a++) {
      const place = prompt.length - 1 + a;
      batch.kinds[b * U + place] = a + 1;
      batch.places[b * A + a] = place;
      batch.targets[b * A + a] = answer[a];
      batch.weights[b * A + a] = 1;
    }
    targetCount += answer.length;
  }
  const read = examples.reduce(
    (sum, { encoded, prompt, answer }) => sum + encoded.length + prompt.length + answer.length,
    0,
  );
  return { ...batch, targetCount, read };
}

/** Batches as a pure function of their number; `blocks` of the latent are bound to answer tokens. */
export function episodeBatches(options: ExampleOptions & { readonly blocks: number }): {
  batchAt(step: number): EpisodeBatch;
} {
  const {
    tokenizer,
    shares,
    context,
    batchSize: B,
    episode: N,
    memory,
    memoryShare,
    plainShare,
    seed,
    blocks,
  } = options;
  const { names, indexAt } = sharesOf(shares, exampleKinds);
  const drawers = drawersOf(options);
  for (const name of names) {
    if (drawers.count[name] > 0) continue;
    const what = name === "passages" ? "documents without facts" : "documents with facts";
    throw new UserError(`fit: expected ${what} for the share of ${name}, got none; add some or set the share to 0`);
  }
  const padId = tokenizer.eosId ?? 0;

  const exampleOf = (kind: ExampleKind, random: Random): Example => {
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      const example = drawers[kind](random);
      if (example.encoded.length <= context && example.answer.length > 0 && example.prompt.length > 0) return example;
    }
    throw new UserError(
      `fit: expected ${kind} of at most ${context} tokens, got longer ones ${MOST_TRIES} times; shorten them`,
    );
  };

  return {
    batchAt(step) {
      requireStep(step);
      const random = randomStream(seed, "fit", step);
      const kind = names[indexAt(random.uniform())];
      const batch = batchOfExamples(
        Array.from({ length: B }, () => exampleOf(kind, random)),
        padId,
      );
      // Blocks beyond the last are none: those tokens get what all get
      const kinds = batch.kinds.map((one) => (one > blocks ? 0 : one));
      const reading = new Float32Array((B / N) * N * N);
      for (let g = 0; g < B / N; g++) {
        const through = random.uniform() < memoryShare;
        const rows = through ? episodeReading(random, N, memory.slots, memory.ridge, memory.noise) : identity(N);
        reading.set(rows, g * N * N);
      }
      const gate = Float32Array.from({ length: B }, () => (random.uniform() < plainShare ? 0 : 1));
      return { ...batch, kinds, reading, gate };
    },
  };
}

function identity(N: number): Float64Array {
  const rows = new Float64Array(N * N);
  for (let i = 0; i < N; i++) rows[i * N + i] = 1;
  return rows;
}
