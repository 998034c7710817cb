/**
 * Training data for language modelling: documents joined into one stream of tokens, cut into rows, served as batches.
 * A batch is a pure function of the step number (rows are shuffled anew for every epoch by a stream named after it),
 * so a run resumes anywhere to the same data and no iterator state is stored. One typed array holds all tokens.
 */
import { UserError } from "../errors.ts";
import { randomStream } from "../tensor/random.ts";

/** Letters: B rows, T positions. */
export interface Batch {
  readonly ids: Int32Array; // [B, T]
  readonly targets: Int32Array; // [B, T], the token after each of `ids`
  readonly mask: Float32Array; // [B, T], 1 where the target counts, 0 on padding
  /** Targets that count: the sum of `mask`. */
  readonly targetCount: number;
}

export interface BatchOptions {
  /** T. */
  contextLength: number;
  /** Rows asked for in a batch. */
  batchSize: number;
  /** Ends every document; without a `bosId` it also stands before the first, so that first tokens are learned too. */
  eosId: number;
  /** Starts every document, where the model was trained with one. */
  bosId?: number;
  seed: number;
  /** Without shuffling, rows come in the order of the documents. */
  shuffle?: boolean;
}

export interface Batches {
  /** Rows of the corpus. */
  readonly rowCount: number;
  /** B: at most `rowCount`, so that no batch holds a row twice where the corpus is small. */
  readonly batchSize: number;
  /** T. */
  readonly contextLength: number;
  /** Targets in one epoch. */
  readonly targetCount: number;
  /** Steps after which every row has been seen at least once: ceil(rowCount / batchSize). */
  readonly stepsPerEpoch: number;
  /** The batch of step 0, 1, 2 ...; the epochs follow each other without a gap, each with every row exactly once. */
  batchAt(step: number): Batch;
}

/** Join documents (token ids each) and cut them into rows. */
export function packDocuments(documents: readonly ArrayLike<number>[], options: BatchOptions): Batches {
  const { eosId, bosId } = options;
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
  return packTokens(stream, options);
}

/**
 * Cut a joined stream of tokens (not copied) into rows of T + 1: each row starts with the last token of the one before,
 * so every token but the first is a target exactly once. The last row is padded and its mask leaves the padding out.
 */
export function packTokens(
  stream: Uint16Array | Int32Array,
  { contextLength, batchSize, eosId, seed, shuffle = true }: BatchOptions,
): Batches {
  const T = contextLength;
  if (!Number.isInteger(T) || T < 1 || !Number.isInteger(batchSize) || batchSize < 1) {
    throw new UserError(
      `packTokens: expected contextLength and batchSize of at least 1, got ${contextLength} and ${batchSize}`,
    );
  }
  if (stream.length < 2) throw new UserError(`packTokens: expected at least 2 tokens, got ${stream.length}`);
  const targetCount = stream.length - 1;
  const rowCount = Math.ceil(targetCount / T);
  const B = Math.min(batchSize, rowCount);

  // A batch spans at most two epochs, as B <= rowCount; their orders are kept, but never part of any state.
  const orders = new Map<number, Int32Array>();
  const orderOf = (epoch: number): Int32Array => {
    let order = orders.get(epoch);
    if (order === undefined) {
      order = randomStream(seed, "batches", epoch).permutation(rowCount);
      if (orders.size === 2) orders.delete(Math.min(...orders.keys()));
      orders.set(epoch, order);
    }
    return order;
  };

  return {
    rowCount,
    batchSize: B,
    contextLength: T,
    targetCount,
    stepsPerEpoch: Math.ceil(rowCount / B),
    batchAt(step) {
      if (!Number.isSafeInteger(step) || step < 0) {
        throw new UserError(`batchAt: expected a step from 0, got ${step}`);
      }
      const ids = new Int32Array(B * T).fill(eosId);
      const targets = new Int32Array(B * T).fill(eosId);
      const mask = new Float32Array(B * T);
      let counted = 0;
      for (let b = 0; b < B; b++) {
        const serial = step * B + b;
        const place = serial % rowCount;
        const row = shuffle ? orderOf(Math.floor(serial / rowCount))[place] : place;
        const start = row * T;
        const length = Math.min(T, targetCount - start);
        ids.set(stream.subarray(start, start + length), b * T);
        targets.set(stream.subarray(start + 1, start + 1 + length), b * T);
        mask.fill(1, b * T, b * T + length);
        counted += length;
      }
      return { ids, targets, mask, targetCount: counted };
    },
  };
}
