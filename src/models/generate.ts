/** Generation: prompts in, tokens and text out as they become certain, until a stated reason ends each row. */
import { createDecoder as createTextDecoder, type Tokenizer } from "../checkpoint/tokenizer.ts";
import { UserError } from "../errors.ts";
import { type Random, randomStream } from "../tensor/random.ts";
import type { Cache } from "./cache.ts";
import type { Decoder } from "./decoder.ts";
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
}

/** Tokens of the prompt that decoding sees, so that the output's first token is not taken for the start of a text. */
const LEAD = 32;

/** Continue one or more prompts (token ids). Rows advance together; pieces come in order of rows within each step. */
export async function* generate(
  decoder: Decoder,
  prompts: readonly (readonly number[])[],
  { tokenizer, maxTokens = 256, stop = [], eosIds = [], endsWith, seed = 0, signal, ...sampling }: GenerateOptions = {},
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
  }));
  if (maxTokens === 0) {
    for (const { index } of rows) yield { row: index, text: "", finish: "length" };
    return;
  }
  const longest = Math.max(...prompts.map(({ length }) => length));
  let reading: Reading | undefined;
  while (true) {
    if (signal?.aborted) {
      for (const row of rows) yield { row: row.index, text: row.end(), finish: "aborted" };
      return;
    }
    reading = reading
      ? { cache: reading.cache, logits: await stepRows(decoder, reading.cache, rows) }
      : await readPrompts(decoder, prompts, longest + Math.min(maxTokens, 256));
    const { cache, logits } = reading;
    const V = logits.length / rows.length;
    // All rows choose before any is shown: whoever reads the pieces may take another step with the decoder
    const tokens = rows.map((row, b) =>
      chooseToken(logits.subarray(b * V, (b + 1) * V), sampling, row.ids, row.random),
    );
    const live: number[] = [];
    for (const [b, row] of rows.entries()) {
      const token = tokens[b];
      row.made++;
      if (ends.has(token) || endsWith?.(token)) {
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
        yield { row: row.index, token, text: stopped ? text : text + row.end(), finish };
      }
    }
    if (live.length === 0) return;
    if (live.length < rows.length) cache.select(live);
    rows = live.map((b) => rows[b]);
  }
}

/** Read the last token of every row. */
const stepRows = (decoder: Decoder, cache: Cache, rows: readonly Row[]): Promise<Float32Array> =>
  decoder.step(
    cache,
    Int32Array.from(rows, ({ ids }) => ids[ids.length - 1]),
    Int32Array.from(rows, ({ ids }) => ids.length - 1),
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
        `generate: expected a prompt of at most ${context} tokens (the model's context), got ${length}${which}; shorten it`,
      );
    }
  }
}

/** How many tokens all prompts begin with, but for the last of the shortest. */
export function sharedLength(prompts: readonly (readonly number[])[]): number {
  let shared = prompts.reduce((least, { length }) => Math.min(least, length - 1), Number.POSITIVE_INFINITY);
  for (const prompt of prompts) for (let t = 0; t < shared; t++) if (prompt[t] !== prompts[0][t]) shared = t;
  return shared;
}

/** Beginnings shorter than this are read with each row: a run of their own would cost more. */
const LEAST_SHARED = 16;

/** A cache of one row per prompt, and the scores [B, V] of the tokens after them. */
interface Reading {
  readonly cache: Cache;
  readonly logits: Float32Array;
}

/**
 * Read all prompts. What all of them begin with is read once and copied to every row; of the rest, prompts of similar
 * length are read together and their rows joined, as padding costs what text costs.
 */
async function readPrompts(
  decoder: Decoder,
  prompts: readonly (readonly number[])[],
  capacity: number,
): Promise<Reading> {
  const shared = prompts.length === 1 ? 0 : sharedLength(prompts);
  const read = shared < LEAST_SHARED ? 0 : shared;
  const head = read === 0 ? undefined : decoder.createCache(1, read);
  if (head) await decoder.step(head, prompts[0].slice(0, read));
  const groups = similarLengths(prompts.map(({ length }) => length - read));
  const readings: Reading[] = [];
  for (const group of groups) {
    const longest = Math.max(...group.map((index) => prompts[index].length));
    const room = groups.length === 1 ? capacity : longest;
    const cache = head
      ? decoder.join(
          [head],
          Array.from(group, () => [0, 0] as const),
          room,
        )
      : decoder.createCache(group.length, room);
    const members = group.map((index) => prompts[index]);
    const { ids, positions } = leftPadded(members, longest, read);
    readings.push({ cache, logits: await decoder.step(cache, ids, positions) });
  }
  if (readings.length === 1) return readings[0];
  const { vocabulary: V } = decoder.geometry;
  const logits = new Float32Array(prompts.length * V);
  const places: [number, number][] = [];
  for (const [g, group] of groups.entries()) {
    for (const [k, index] of group.entries()) {
      places[index] = [g, k];
      logits.set(readings[g].logits.subarray(k * V, (k + 1) * V), index * V);
    }
  }
  const caches = readings.map(({ cache }) => cache);
  return { cache: decoder.join(caches, places, capacity), logits };
}

/** Fewer tokens than these are not worth a run of their own. */
const LEAST_TOGETHER = 256;
/** A row of fewer tokens than this share of its group's longest begins another group. */
const SIMILAR = 0.9;

/** Indices by falling length, in groups of similar length; one group, in order, where that saves nothing. */
export function similarLengths(lengths: readonly number[]): number[][] {
  const order = [...lengths.keys()].sort((a, b) => lengths[b] - lengths[a]);
  let left = lengths.reduce((a, b) => a + b, 0);
  const groups: number[][] = [];
  let tokens = Number.POSITIVE_INFINITY;
  for (const index of order) {
    const group = groups.at(-1);
    const alike = group !== undefined && lengths[index] >= SIMILAR * lengths[group[0]];
    if (group && (alike || tokens < LEAST_TOGETHER || left < LEAST_TOGETHER)) {
      group.push(index);
      tokens += lengths[index];
    } else {
      groups.push([index]);
      tokens = lengths[index];
    }
    left -= lengths[index];
  }
  return groups.length === 1 ? [order.sort((a, b) => a - b)] : groups;
}

/** Rows of one length without their first `read` tokens, filled up on the left: their last tokens stand in one column. */
function leftPadded(
  prompts: readonly (readonly number[])[],
  longest: number,
  read: number,
): { ids: Int32Array; positions: Int32Array } {
  const width = longest - read;
  const ids = new Int32Array(prompts.length * width);
  const positions = new Int32Array(ids.length).fill(-1);
  for (const [b, prompt] of prompts.entries()) {
    const end = (b + 1) * width;
    for (let t = read; t < prompt.length; t++) {
      ids[end - prompt.length + t] = prompt[t];
      positions[end - prompt.length + t] = t;
    }
  }
  return { ids, positions };
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
