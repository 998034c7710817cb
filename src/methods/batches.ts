/**
 * Training data for language modelling: documents joined into one stream of tokens, cut into rows, served as batches.
 * A batch is a pure function of the step number (rows are shuffled anew for every epoch by a stream named after it),
 * so a run resumes anywhere to the same data and no iterator state is stored. One typed array holds all tokens.
 */
import { UserError } from "../errors.ts";
import { randomStream } from "../tensor/random.ts";

type Tokens = Uint16Array | Int32Array;

/** What the training loop needs to know of any batch. */
export interface Counted {
  /** Targets that count. */
  readonly targetCount: number;
  /** Tokens read, where they are more than the targets that count. */
  readonly read?: number;
}

/** Letters: B rows, T positions; T is that of the corpus, or less where all rows of the batch are short. */
export interface Batch extends Counted {
  readonly ids: Int32Array; // [B, T]
  readonly targets: Int32Array; // [B, T], the token after each of `ids`
  readonly mask: Float32Array; // [B, T], weight of the target in the loss: 1, 0 on padding
  /** Targets that count: the sum of `mask`. */
  readonly targetCount: number;
}

/** How documents become one stream. */
export interface StreamOptions {
  /** Ends every document; without a `bosId` it also stands before the first, so that first tokens are learned too. */
  eosId: number;
  /** Starts every document, where the model was trained with one. */
  bosId?: number;
}

export interface ServeOptions {
  /** Rows asked for in a batch. */
  batchSize: number;
  /** Fills up short rows. */
  eosId: number;
  seed: number;
  /** Without shuffling, rows come in the order of the documents. */
  shuffle?: boolean;
}

export interface BatchOptions extends StreamOptions, ServeOptions {
  /** T. */
  contextLength: number;
}

/** A corpus cut into rows. */
export interface Rows {
  readonly rowCount: number;
  /** T. */
  readonly contextLength: number;
  /** Targets of all rows. */
  readonly targetCount: number;
  /** The tokens of a row: 2 to T + 1 of them, every one but the first a target. A view; not to be written to. */
  row(index: number): Tokens;
}

export interface Batches<B extends Counted = Batch> {
  /** Rows of the corpus. */
  readonly rowCount: number;
  /** B: at most `rowCount`, so that no batch holds a row twice where the corpus is small. */
  readonly batchSize: number;
  /** T. */
  readonly contextLength: number;
  /** Targets in one epoch. */
  readonly targetCount: number;
  /** Rows served on average until each of the corpus was seen once, where others come between. Default: `rowCount`. */
  readonly rowsPerEpoch?: number;
  /** Steps after which every row has been seen at least once. */
  readonly stepsPerEpoch: number;
  /** The batch of step 0, 1, 2 ...; the epochs follow each other without a gap, each with every row exactly once. */
  batchAt(step: number): B;
}

/** Documents (token ids each) as one stream. */
export function joinDocuments(documents: readonly ArrayLike<number>[], { eosId, bosId }: StreamOptions): Tokens {
  let length = bosId === undefined ? 1 : 0;
  let largest = Math.max(eosId, bosId ?? 0);
  let content = 0;
  for (const ids of documents) {
    if (ids.length === 0) continue;
    content += ids.length;
    length += ids.length + (bosId === undefined ? 1 : 2);
    for (let i = 0; i < ids.length; i++) if (ids[i] > largest) largest = ids[i];
  }
  if (content === 0) throw new UserError("packDocuments: expected at least one token, got none; are the texts empty?");
  const stream = largest < 65536 ? new Uint16Array(length) : new Int32Array(length);
  let at = 0;
  if (bosId === undefined) stream[at++] = eosId;
  for (const ids of documents) {
    if (ids.length === 0) continue;
    if (bosId !== undefined) stream[at++] = bosId;
    stream.set(ids, at);
    at += ids.length;
    stream[at++] = eosId;
  }
  return stream;
}

/**
 * Cut a joined stream of tokens (not copied) into rows of T + 1: each row starts with the last token of the one before,
 * so every token but the first is a target exactly once. The last row may be shorter.
 */
export function cutRows(stream: Tokens, contextLength: number): Rows {
  const T = contextLength;
  if (!Number.isInteger(T) || T < 1) throw new UserError(`cutRows: expected contextLength of at least 1, got ${T}`);
  if (stream.length < 2) throw new UserError(`cutRows: expected at least 2 tokens, got ${stream.length}`);
  const targetCount = stream.length - 1;
  return {
    rowCount: Math.ceil(targetCount / T),
    contextLength: T,
    targetCount,
    row: (index) => stream.subarray(index * T, Math.min((index + 1) * T, targetCount) + 1),
  };
}

/** Shortest length of a batch. */
const SHORTEST = 32;

/**
 * Positions of a batch whose longest row has `longest`: padding is computed like text, and every length is
 * compiled.
 */
function paddedLength(longest: number, contextLength: number): number {
  let length = SHORTEST;
  while (length < longest) length *= 2;
  return Math.min(length, contextLength);
}

/**
 * Rows one after the other as [B, T], T the least power of two from 32 that holds them all, at most `contextLength`:
 * short ones are padded with `eosId`, and the mask leaves the padding out.
 */
export function batchOf(
  rows: readonly Tokens[],
  { contextLength, eosId }: { contextLength: number; eosId: number },
): Batch {
  const B = rows.length;
  const T = paddedLength(Math.max(...rows.map((row) => row.length - 1)), contextLength);
  const ids = new Int32Array(B * T).fill(eosId);
  const targets = new Int32Array(B * T).fill(eosId);
  const mask = new Float32Array(B * T);
  let targetCount = 0;
  for (const [b, row] of rows.entries()) {
    const length = row.length - 1;
    ids.set(row.subarray(0, length), b * T);
    targets.set(row.subarray(1), b * T);
    mask.fill(1, b * T, b * T + length);
    targetCount += length;
  }
  return { ids, targets, mask, targetCount };
}

/**
 * Endless passes over `count` things: which one comes at place 0, 1, 2 ... Every pass has each exactly once, in an
 * order of its own. The orders of the last two passes are kept, as a batch may span both; they are no state.
 */
export function shuffledPasses(count: number, seed: number, label: string): (place: number) => number {
  const orders = new Map<number, Int32Array>();
  return (place) => {
    const pass = Math.floor(place / count);
    let order = orders.get(pass);
    if (order === undefined) {
      order = randomStream(seed, label, pass).permutation(count);
      if (orders.size === 2) orders.delete(Math.min(...orders.keys()));
      orders.set(pass, order);
    }
    return order[place % count];
  };
}

export function requireStep(step: number): void {
  if (!Number.isSafeInteger(step) || step < 0) throw new UserError(`batchAt: expected a step from 0, got ${step}`);
}

/** Serve rows as batches. */
export function serveRows(rows: Rows, { batchSize, eosId, seed, shuffle = true }: ServeOptions): Batches {
  const { rowCount, contextLength, targetCount } = rows;
  if (!Number.isInteger(batchSize) || batchSize < 1)
    throw new UserError(`serveRows: expected a batchSize of at least 1, got ${batchSize}`);
  const B = Math.min(batchSize, rowCount);
  const indexAt = shuffle ? shuffledPasses(rowCount, seed, "batches") : (place: number): number => place % rowCount;
  return {
    rowCount,
    batchSize: B,
    contextLength,
    targetCount,
    stepsPerEpoch: Math.ceil(rowCount / B),
    batchAt(step) {
      requireStep(step);
      const chosen = Array.from({ length: B }, (_, b) => rows.row(indexAt(step * B + b)));
      return batchOf(chosen, { contextLength, eosId });
    },
  };
}

/** Join documents (token ids each), cut them into rows and serve those. */
export function packDocuments(documents: readonly ArrayLike<number>[], options: BatchOptions): Batches {
  return packTokens(joinDocuments(documents, options), options);
}

/** Cut a joined stream of tokens (not copied) into rows and serve those. */
export function packTokens(stream: Tokens, { contextLength, ...options }: BatchOptions): Batches {
  const { batchSize } = options;
  if (!Number.isInteger(contextLength) || contextLength < 1 || !Number.isInteger(batchSize) || batchSize < 1) {
    throw new UserError(
      `packTokens: expected contextLength and batchSize of at least 1, got ${contextLength} and ${batchSize}`,
    );
  }
  return serveRows(cutRows(stream, contextLength), options);
}
