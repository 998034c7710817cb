/**
 * Short greedy answers to many prompts: prompts of similar length advance together, so that reading the weights is
 * paid once per step for all of them. An answer ends at a line break, an end token or `maxTokens`.
 * Each answer is what its prompt alone would get.
 */
import type { Tokenizer } from "../checkpoint/tokenizer.ts";
import { UserError } from "../errors.ts";
import type { Condition } from "./condition.ts";
import type { Decoder } from "./decoder.ts";
import { collect, generate } from "./generate.ts";
import { sharedLength } from "./shared-heads.ts";

export interface AnswerTextsOptions {
  /** Most new tokens per answer. Default 24. */
  maxTokens?: number;
  /** Tokens that end an answer, beside all that hold a line break. */
  eosIds?: readonly number[];
  /** Most prompts in one batch. Default 256. */
  batchSize?: number;
  /** One for each prompt, for a decoder that was compiled for them. */
  conditions?: readonly Condition[];
  /** Stops with its reason as the error. */
  signal?: AbortSignal;
  /** Called after every batch with the answers so far and those there are in all. */
  onProgress?: (done: number, total: number) => void;
}

/** Tokens that a batch reads, room for the answers included: bounds its attention scores. */
const TOKENS_PER_BATCH = 1 << 14;
/** Keys and values of a batch. */
const CACHE_BYTES = 1 << 28;

/**
 * What the model reads for a text: its tokens, after the start token where there is one. As in training and
 * scoring.
 */
export function textIds(tokenizer: Tokenizer, text: string): number[] {
  const ids = tokenizer.encode(text, { addSpecialTokens: false });
  return tokenizer.bosId === undefined ? ids : [tokenizer.bosId, ...ids];
}

/** Tells whether a token's text holds a line break; asked for the same few tokens again and again. */
function lineBreaks(tokenizer: Tokenizer): (token: number) => boolean {
  const known = new Map<number, boolean>();
  return (token) => {
    let breaks = known.get(token);
    if (breaks === undefined) known.set(token, (breaks = tokenizer.decode([token]).includes("\n")));
    return breaks;
  };
}

/** The answers of all prompts (texts), in their order, trimmed. */
export async function answerTexts(
  decoder: Decoder,
  tokenizer: Tokenizer,
  prompts: readonly string[],
  { maxTokens = 24, eosIds = [], batchSize = 256, conditions, signal, onProgress }: AnswerTextsOptions = {},
): Promise<string[]> {
  const { context } = decoder.geometry;
  const rows = prompts.map((prompt) => textIds(tokenizer, prompt));
  for (const [index, { length }] of rows.entries()) {
    if (length > 0 && length <= context) continue;
    const wanted = `a prompt of 1 to ${context} tokens (the model's context)`;
    throw new UserError(`answer: expected ${wanted}, got ${length} in prompt ${index}; shorten it`);
  }
  const answers = prompts.map(() => "");
  const endsWith = lineBreaks(tokenizer);
  let done = 0;
  const { layers, kvHeads, headDim } = decoder.geometry;
  const cacheTokens = Math.floor(CACHE_BYTES / (8 * layers * kvHeads * headDim));
  for (const batch of batchesOf(rows, { maxTokens, batchSize, cacheTokens })) {
    signal?.throwIfAborted();
    const found = await collect(
      generate(
        decoder,
        batch.map((index) => rows[index]),
        { maxTokens, eosIds, endsWith, conditions: conditions && batch.map((index) => conditions[index]), signal },
      ),
    );
    signal?.throwIfAborted();
    for (const [b, index] of batch.entries()) {
      const [line] = tokenizer.decode(found[b].tokens, { skipSpecialTokens: true }).split("\n");
      answers[index] = line.trim();
    }
    done += batch.length;
    onProgress?.(done, prompts.length);
  }
  return answers;
}

/** Indices of rows of similar length, longest first: the batch that needs most memory comes at once. */
function* batchesOf(
  rows: readonly (readonly number[])[],
  { maxTokens, batchSize, cacheTokens }: { maxTokens: number; batchSize: number; cacheTokens: number },
): Generator<number[]> {
  const order = [...rows.keys()].sort((a, b) => rows[b].length - rows[a].length);
  const shared = sharedLength(rows); // read once for all rows of a batch (read-prompts.ts)
  for (let start = 0; start < order.length; ) {
    const tokens = rows[order[start]].length + maxTokens;
    const most = Math.min(batchSize, TOKENS_PER_BATCH / (tokens - shared), cacheTokens / tokens);
    const end = start + Math.max(1, Math.floor(most));
    yield order.slice(start, end);
    start = end;
  }
}
