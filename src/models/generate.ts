/** Generation: prompts in, tokens and text out as they become certain, until a stated reason ends each row. */
import { createDecoder as createTextDecoder, type Tokenizer } from "../checkpoint/tokenizer.ts";
import { UserError } from "../errors.ts";
import { type Random, randomStream } from "../tensor/random.ts";
import type { Cache } from "./cache.ts";
import type { Condition } from "./condition.ts";
import type { Decoder } from "./decoder.ts";
import { type Reading, readPrompts } from "./read-prompts.ts";
import { checkSampling, chooseToken, type SamplingOptions } from "./sampling.ts";
import { createStopFilter } from "./stop-text.ts";

/** Why a row ended: an end token, a stop string, maxTokens, a full context, or the caller's signal. */
export type Finish = "eos" | "stop" | "length" | "context" | "aborted";

/** One step of one row. The last piece of a row has `finish`. */
export interface Piece {
  /** Index of the prompt. */
  readonly row: number;
  /** The token chosen, also the end token; absent when the row ended without one. */
  readonly token?: number;
  /** Text that became certain with it; "" without a tokenizer or while text is withheld. */
  readonly text: string;
  readonly finish?: Finish;
}

export interface GenerateOptions extends SamplingOptions {
  /** Turns tokens into text; needed for stop strings. */
  tokenizer?: Tokenizer;
  /** Most tokens per row. */
  maxTokens?: number;
  /** Text that ends a row; it is not part of the output. */
  stop?: readonly string[];
  /** Tokens that end a row. */
  eosIds?: readonly number[];
  /** More tokens that end a row, told one by one: a row that it ends has `finish` "eos". */
  endsWith?: (token: number) => boolean;
  /** Row b draws from the stream of seed + b: alone with that seed it gives the same. */
  seed?: number;
  /** One for each prompt, for a decoder that was compiled for them. */
  conditions?: readonly Condition[];
  signal?: AbortSignal;
}

interface Row {
  readonly index: number;
  /** Prompt and output: what the repetition penalty counts. */
  readonly ids: number[];
  readonly random: Random;
  readonly push: (token: number) => { text: string; stopped: boolean };
  readonly end: () => string;
  made: number;
  /** Nobody waits for it, but it is still in the cache. */
  ended: boolean;
}

/**
 * Rows that have ended leave the cache when that pays: one more step of a row costs about what moving the keys and
 * values of this many tokens does.
 */
const MOVED_PER_STEP = 512;

/** Tokens of the prompt that decoding sees, so that the output's first token is not taken for the start of a text. */
const LEAD = 32;

/** Continue one or more prompts (token ids). Rows advance together; pieces come in order of rows within each step. */
export async function* generate(
  decoder: Decoder,
  prompts: readonly (readonly number[])[],
  {
    tokenizer,
    maxTokens = 256,
    stop = [],
    eosIds = [],
    endsWith,
    seed = 0,
    conditions,
    signal,
    ...sampling
  }: GenerateOptions = {},
): AsyncGenerator<Piece, void, undefined> {
  const { context } = decoder.geometry;
  checkSampling(sampling);
  if (!Number.isInteger(maxTokens) || maxTokens < 0)
    throw new UserError(`generate: expected maxTokens to be a whole number from 0, got ${maxTokens}`);
  if (stop.length > 0 && !tokenizer)
    throw new UserError("generate: expected a tokenizer to look for stop strings, got none; pass one or use eosIds");
  checkPrompts(prompts, context);
  const ends = new Set(eosIds);
  let rows: Row[] = prompts.map((prompt, index) => ({
    index,
    ids: [...prompt],
    random: randomStream(seed + index, "generate"),
    ...textOf(prompt, tokenizer, stop),
    made: 0,
    ended: false,
  }));
  if (maxTokens === 0) {
    for (const { index } of rows) yield { row: index, text: "", finish: "length" };
    return;
  }
  const longest = Math.max(...prompts.map(({ length }) => length));
  let reading: Reading | undefined;
  while (true) {
    if (signal?.aborted) {
      for (const row of rows) if (!row.ended) yield { row: row.index, text: row.end(), finish: "aborted" };
      return;
    }
    reading = reading
      ? { cache: reading.cache, logits: await stepRows(decoder, reading.cache, rows) }
      : await readPrompts(decoder, prompts, longest + Math.min(maxTokens, 256), conditions);
    const { cache, logits } = reading;
    const V = logits.length / rows.length;
    // All rows choose before any is shown: whoever reads the pieces may take another step with the decoder
    const tokens = rows.map((row, b) =>
      row.ended ? 0 : chooseToken(logits.subarray(b * V, (b + 1) * V), sampling, row.ids, row.random),
    );
    const live: number[] = [];
    for (const [b, row] of rows.entries()) {
      if (row.ended) continue;
      const token = tokens[b];
      row.made++;
      if (ends.has(token) || endsWith?.(token)) {
        row.ended = true;
        yield { row: row.index, token, text: row.end(), finish: "eos" };
        continue;
      }
      const { text, stopped } = row.push(token);
      const finish = stopped
        ? "stop"
        : row.made >= maxTokens
          ? "length"
          : row.ids.length >= context
            ? "context"
            : undefined;
      row.ids.push(token);
      if (finish === undefined) {
        live.push(b);
        yield { row: row.index, token, text };
      } else {
        row.ended = true;
        yield { row: row.index, token, text: stopped ? text : text + row.end(), finish };
      }
    }
    if (live.length === 0) return;
    if ((rows.length - live.length) * MOVED_PER_STEP < live.length * cache.length) continue;
    if (live.length < rows.length) cache.select(live);
    rows = live.map((b) => rows[b]);
  }
}

/** Read the last token of every row; of rows that have ended, padding. */
const stepRows = (decoder: Decoder, cache: Cache, rows: readonly Row[]): Promise<Float32Array> =>
  decoder.step(
    cache,
    Int32Array.from(rows, ({ ids }) => ids[ids.length - 1]),
    Int32Array.from(rows, ({ ids, ended }) => (ended ? -1 : ids.length - 1)),
  );

/** What a whole row came to. */
export interface Generated {
  readonly text: string;
  readonly tokens: readonly number[];
  readonly finish: Finish;
}

/** Gather the pieces of each row. */
export async function collect(pieces: AsyncIterable<Piece>): Promise<Generated[]> {
  const rows: { text: string; tokens: number[]; finish: Finish }[] = [];
  for await (const { row, token, text, finish } of pieces) {
    rows[row] ??= { text: "", tokens: [], finish: "aborted" };
    rows[row].text += text;
    if (token !== undefined) rows[row].tokens.push(token);
    if (finish) rows[row].finish = finish;
  }
  return rows;
}

/** Refuse prompts that cannot be read. */
export function checkPrompts(prompts: readonly (readonly number[])[], context: number): void {
  if (prompts.length === 0) throw new UserError("generate: expected 1 or more prompts, got none");
  for (const [index, { length }] of prompts.entries()) {
    const which = prompts.length > 1 ? ` in prompt ${index}` : "";
    if (length === 0)
      throw new UserError(
        `generate: expected 1 or more tokens, got none${which}; begin with the model's start token or some text`,
      );
    if (length > context) {
      throw new UserError(
        `generate: expected a prompt of at most ${context} tokens (the model's context), got ${length}${which}; ` +
          "shorten it",
      );
    }
  }
}

function textOf(
  prompt: readonly number[],
  tokenizer: Tokenizer | undefined,
  stop: readonly string[],
): Pick<Row, "push" | "end"> {
  if (!tokenizer) return { push: () => ({ text: "", stopped: false }), end: () => "" };
  const decoder = createTextDecoder(tokenizer, { skipSpecialTokens: true });
  const filter = createStopFilter(stop);
  for (const id of prompt.slice(-LEAD)) decoder.push(id);
  return {
    push: (token) => filter.push(decoder.push(token)),
    end() {
      const { text, stopped } = filter.push(decoder.end());
      return stopped ? text : text + filter.end();
    },
  };
}

/** Continue a text; pieces of text as they become certain. The tokenizer puts its special tokens around the prompt. */
export async function* generateText(
  decoder: Decoder,
  tokenizer: Tokenizer,
  prompt: string,
  options: Omit<GenerateOptions, "tokenizer"> = {},
): AsyncGenerator<string, void, undefined> {
  const ids = promptIds(tokenizer, prompt);
  for await (const { text } of generate(decoder, [ids], { ...options, tokenizer })) if (text !== "") yield text;
}

/** What the model reads for a prompt: an empty one becomes the start token. */
export function promptIds(tokenizer: Tokenizer, prompt: string): number[] {
  const ids = tokenizer.encode(prompt);
  const bare = tokenizer.encode(prompt, { addSpecialTokens: false });
  // An end token that the tokenizer puts behind a text would close it before it is continued
  if (bare.length > 0 && endsAtEnd(ids, tokenizer) > endsAtEnd(bare, tokenizer)) ids.pop();
  const start = tokenizer.bosId ?? tokenizer.eosId;
  return bare.length === 0 && start !== undefined ? [start] : ids;
}

/** How many end tokens stand at the end. */
function endsAtEnd(ids: readonly number[], { eosId }: Tokenizer): number {
  return ids.length - 1 - ids.findLastIndex((id) => id !== eosId);
}
