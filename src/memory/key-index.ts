/**
 * The entries of a bank whose keys have the largest inner products with a question's: exact, over keys as the bank
 * stores them. Every key is scanned in a byte a number, a quarter of the bytes of float32, beyond the first few thousand
 * with a question in whole numbers too (step-scan.ts); it is worked out in full where what such numbers leave out could
 * still bring it among the best (Cauchy-Schwarz). Rows lie in blocks, so that adding one never copies the others, and a
 * million keys are a few large arrays.
 */
import { UserError } from "../errors.ts";
import { inSteps, type KeyFormat, keySteps, storedKey } from "./bank-entry.ts";
import { float16ToFloat32, float32ToFloat16 } from "../checkpoint/half.ts";
import { dot, matrixOf, norm, type Numbers } from "./matrix.ts";
import { createStepScan, mostOfQuestion, scanRows, type StepScan } from "./step-scan.ts";

export interface TopKeys {
  /** Entry numbers, the largest inner product first; the lower number where several are equal. */
  readonly numbers: readonly number[];
  readonly scores: readonly number[];
}

export interface KeyIndex {
  readonly count: () => number;
  has(number: number): boolean;
  /** Adds an entry's key, which is rounded as the bank rounds it. */
  add(number: number, key: Float32Array): void;
  remove(number: number): void;
  /** The k nearest keys to a question's, all of them where there are fewer. */
  topK(query: Numbers, k: number): TopKeys;
  bytes(): number;
}

const rowsPerBlock = scanRows;
/** More than a sum of products is off by, as a part of the lengths of its two vectors. */
const rounding = 1e-11;

interface Block {
  readonly numbers: Float64Array;
  /** Empty where they lie in the scan. */
  readonly steps: Int8Array;
  readonly scales: Float64Array;
  /** At least the length of the steps. */
  readonly lengths: Float64Array;
  /** At least the length of what the steps leave out of a key; 0 where a key is steps itself. */
  readonly rests: Float64Array;
  /** The keys themselves where they have 16 or 32 bits. */
  readonly full: Uint16Array | Float32Array;
}

/** Σ query[i] steps[at + i]. Four sums, as one waits for its own last. */
function product(query: Float64Array, steps: Int8Array, at: number): number {
  // One by one: taken from an array they cost twice the time
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  const n = query.length;
  let i = 0;
  for (; i + 3 < n; i += 4) {
    a += query[i] * steps[at + i];
    b += query[i + 1] * steps[at + i + 1];
    c += query[i + 2] * steps[at + i + 2];
    d += query[i + 3] * steps[at + i + 3];
  }
  for (; i < n; i++) a += query[i] * steps[at + i];
  return a + b + (c + d);
}

/** The best k so far, in order. */
function createBest(k: number) {
  const numbers: number[] = [];
  const scores: number[] = [];
  const before = (score: number, number: number, at: number): boolean =>
    score > scores[at] || (score === scores[at] && number < numbers[at]);
  return {
    numbers,
    scores,
    /** What a score must reach. */
    least: () => (scores.length < k ? Number.NEGATIVE_INFINITY : scores[k - 1]),
    offer(number: number, score: number): void {
      let [low, high] = [0, scores.length];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (before(score, number, middle)) high = middle;
        else low = middle + 1;
      }
      if (low >= k) return;
      numbers.splice(low, 0, number);
      scores.splice(low, 0, score);
      if (scores.length > k) {
        numbers.pop();
        scores.pop();
      }
    },
  };
}

/** An empty index of keys of this format. */
export function createKeyIndex(keys: KeyFormat): KeyIndex {
  const { width, bits } = keys;
  if (!Number.isInteger(width) || width < 1) {
    throw new UserError(`createKeyIndex: expected keys of 1 number or more, got ${width}; open a bank with keys`);
  }
  const blocks: Block[] = [];
  const rowOf = new Map<number, number>();
  const kept = inSteps(keys) ? 0 : rowsPerBlock * width;
  let scan: StepScan | undefined;
  const newBlock = (): Block => ({
    numbers: new Float64Array(rowsPerBlock),
    steps: new Int8Array(scan ? 0 : rowsPerBlock * width),
    scales: new Float64Array(rowsPerBlock),
    lengths: new Float64Array(rowsPerBlock),
    rests: new Float64Array(rowsPerBlock),
    full: bits === 16 ? new Uint16Array(kept) : new Float32Array(kept),
  });
  const placeOf = (row: number): { block: Block; at: number } => ({
    block: blocks[Math.floor(row / rowsPerBlock)],
    at: row % rowsPerBlock,
  });
  const slice = <T extends Int8Array | Uint16Array | Float32Array>(array: T, at: number): T =>
    array.subarray(at * width, (at + 1) * width) as T;

  const stepsAt = (row: number): Int8Array => {
    if (scan) return scan.row(row);
    const { block, at } = placeOf(row);
    return slice(block.steps, at);
  };

  /** Blocks that the scan has room for. */
  let room = 0;
  /** Room for blocks: from the second on steps lie where they are scanned in whole numbers; what is freed is given back. */
  const resize = (count: number): void => {
    if (scan && count > 1 && 2 * count > room) {
      scan.grow(count * rowsPerBlock);
      room = Math.max(room, count);
      return;
    }
    const made = count > 1 ? createStepScan(width) : undefined;
    made?.grow(count * rowsPerBlock);
    // Where nothing can scan them they stay in their blocks
    if (!made && !scan) return;
    const steps = made ? new Int8Array() : new Int8Array(rowsPerBlock * width);
    for (let row = 0; row < rowOf.size; row++) (made ? made.row(row) : slice(steps, row)).set(stepsAt(row));
    for (const [b, block] of blocks.entries()) blocks[b] = { ...block, steps };
    [scan, room] = [made, made ? count : 0];
  };

  const fullScore = (query: Float64Array, full: Uint16Array | Float32Array, at: number): number => {
    const own = slice(full, at);
    const key = Float64Array.from(own instanceof Uint16Array ? float16ToFloat32(own) : own);
    return dot(query, 0, key, 0, width);
  };

  return {
    count: () => rowOf.size,
    has: (number) => rowOf.has(number),

    add(number, key) {
      if (!Number.isSafeInteger(number) || rowOf.has(number)) {
        throw new UserError(`keyIndex.add: expected a number that is not in, got ${number}; remove it first`);
      }
      const stored = storedKey(key, keys);
      const { scale, steps } = inSteps(keys) ? keySteps(key, bits) : keySteps(stored, 8);
      const row = rowOf.size;
      if (row === blocks.length * rowsPerBlock) {
        if (row > 0) resize(blocks.length + 1);
        blocks.push(newBlock());
      }
      const { block, at } = placeOf(row);
      block.numbers[at] = number;
      stepsAt(row).set(steps);
      block.scales[at] = scale;
      block.lengths[at] = norm(Float64Array.from(steps)) * (1 + rounding);
      if (!inSteps(keys)) {
        const rest = norm(Float64Array.from(stored, (value, i) => value - steps[i] * scale));
        block.rests[at] = rest + rounding * norm(Float64Array.from(stored));
        block.full.set(bits === 16 ? float32ToFloat16(stored) : stored, at * width);
      }
      rowOf.set(number, row);
    },

    remove(number) {
      const row = rowOf.get(number);
      if (row === undefined) {
        throw new UserError(
          `keyIndex.remove: expected a number that is in, got ${number}; ask the bank for its numbers`,
        );
      }
      // The last row moves into the hole
      const [to, from] = [placeOf(row), placeOf(rowOf.size - 1)];
      for (const part of ["numbers", "scales", "lengths", "rests"] as const)
        to.block[part][to.at] = from.block[part][from.at];
      stepsAt(row).set(stepsAt(rowOf.size - 1));
      if (!inSteps(keys)) to.block.full.set(slice(from.block.full, from.at), to.at * width);
      rowOf.set(to.block.numbers[to.at], row);
      rowOf.delete(number);
      // One empty block is kept, so that adding and removing at its edge does not make one each time
      if (rowOf.size <= (blocks.length - 2) * rowsPerBlock) {
        blocks.pop();
        if (2 * blocks.length <= room) resize(blocks.length);
      }
    },

    topK(query, k) {
      const { rows, data } = matrixOf(query, width, "keyIndex.topK");
      if (rows !== 1 || !Number.isInteger(k) || k < 1) {
        throw new UserError(
          `keyIndex.topK: expected one query of ${width} numbers and k from 1, got ${query.length} numbers and ${k}`,
        );
      }
      const best = createBest(k);
      const reach = norm(data) * (1 + rounding);
      // The question in whole numbers, and the length of what they leave out
      const unit = data.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / mostOfQuestion(width) || 1;
      const whole = Int16Array.from(data, (value) => Math.round(value / unit));
      const rest = norm(data.map((value, i) => value - unit * whole[i])) + rounding * reach;
      let least = best.least();
      for (let from = 0, b = 0; from < rowOf.size; from += rowsPerBlock, b++) {
        const { numbers, steps, scales, lengths, rests, full } = blocks[b];
        const end = Math.min(rowsPerBlock, rowOf.size - from);
        const products = scan?.products(whole, from, end);
        for (let at = 0; at < end; at++) {
          const margin = reach * rests[at];
          if (products && scales[at] * (unit * products[at] + rest * lengths[at]) + margin < least) continue;
          const score =
            scales[at] * (products ? product(data, stepsAt(from + at), 0) : product(data, steps, at * width));
          if (score + margin < least) continue;
          best.offer(numbers[at], inSteps(keys) ? score : fullScore(data, full, at));
          least = best.least();
        }
      }
      return { numbers: best.numbers, scores: best.scores };
    },

    bytes: () =>
      blocks.reduce((sum, block) => sum + Object.values(block).reduce((bytes, part) => bytes + part.byteLength, 0), 0) +
      (scan?.bytes() ?? 0) +
      16 * rowOf.size,
  };
}
