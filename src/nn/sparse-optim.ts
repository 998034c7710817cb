/**
 * Row-sparse updates of embedding-like tables: only the rows that have gradients are read or written, so a call costs
 * the same on 10 thousand rows and on a million. Moments are "lazy": those of an untouched row stand still, as in
 * PyTorch's SparseAdam. Both moments of a row lie beside each other, so a row costs two places in memory, not three.
 */
import { internal, UserError } from "../errors.ts";
import { adamFactors, adamRun } from "./adam-kernel.ts";
import type { AdamFactors, AdamOptions } from "./adam-kernel.ts";

export interface RowState {
  /** Updates made so far, of any rows: bias corrections use it. */
  step: number;
  /** Empty for sgd; `moments` [R, 2, W] (first, second moment of each row) for Adam. */
  readonly tensors: Record<string, Float32Array>;
}

export interface RowOptimizer {
  readonly name: string;
  /** A state of zeros for a table of `rows` x `width`. */
  init(rows: number, width: number): RowState;
  /**
   * One update in place of the rows named in `rows` [N] of `table` [R, W] with gradients `grads` [N, W]. A row named
   * several times gets the sum of its gradients, added in the order given.
   */
  stepRows(
    table: Float32Array,
    width: number,
    rows: Int32Array,
    grads: Float32Array,
    state: RowState,
    learningRate: number,
    gradientScale?: number,
  ): void;
}

/**
 * Visit each distinct row once, in rising order (neighbours share pages and the hardware prefetches forward), with
 * the place of its gradient: in `grads` itself, or in a scratch row that holds the sum over repetitions.
 */
function visitRows(
  table: Float32Array,
  width: number,
  rows: Int32Array,
  grads: Float32Array,
  visit: (row: number, gradients: Float32Array, from: number) => void,
): void {
  const count = rows.length;
  if (grads.length !== count * width || table.length % width !== 0) {
    internal(`stepRows: ${count} rows of ${width} do not fit ${grads.length} gradients, table of ${table.length}`);
  }
  const tableRows = table.length / width;
  // Sorting row * count + position keeps repetitions in the order given, so sums are the same on every run.
  const keys = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const row = rows[i];
    if (row < 0 || row >= tableRows) {
      throw new UserError(`stepRows: expected rows from 0 to ${tableRows - 1}, got ${row} at position ${i}`);
    }
    keys[i] = row * count + i;
  }
  keys.sort();
  let scratch: Float32Array | undefined;
  for (let i = 0; i < count; ) {
    const row = Math.floor(keys[i] / count);
    const from = (keys[i] - row * count) * width;
    const limit = (row + 1) * count;
    let next = i + 1;
    if (next === count || keys[next] >= limit) {
      visit(row, grads, from);
    } else {
      scratch ??= new Float32Array(width);
      for (let k = 0; k < width; k++) scratch[k] = grads[from + k];
      for (; next < count && keys[next] < limit; next++) {
        const other = (keys[next] - row * count) * width;
        for (let k = 0; k < width; k++) scratch[k] += grads[other + k];
      }
      visit(row, scratch, 0);
    }
    i = next;
  }
}

/** Plain gradient descent on the named rows. */
export function rowSgd(): RowOptimizer {
  return {
    name: "sgd",
    init: () => ({ step: 0, tensors: {} }),
    stepRows(table, width, rows, grads, state, learningRate, gradientScale = 1) {
      const factor = learningRate * gradientScale;
      visitRows(table, width, rows, grads, (row, gradients, from) => {
        const start = row * width;
        for (let k = 0; k < width; k++) table[start + k] -= factor * gradients[from + k];
      });
      state.step++;
    },
  };
}

function rowAdamLike(
  name: string,
  factorsAt: (step: number, rate: number, scale: number) => AdamFactors,
): RowOptimizer {
  return {
    name,
    init: (rows, width) => ({ step: 0, tensors: { moments: new Float32Array(rows * 2 * width) } }),
    stepRows(table, width, rows, grads, state, learningRate, gradientScale = 1) {
      const moments = state.tensors.moments;
      if (moments?.length !== 2 * table.length) {
        internal(`stepRows: ${moments?.length} moments do not fit a table of ${table.length}`);
      }
      const factors = factorsAt(state.step + 1, learningRate, gradientScale);
      visitRows(table, width, rows, grads, (row, gradients, from) => {
        const m = row * 2 * width;
        adamRun(table, row * width, gradients, from, moments, m, moments, m + width, width, factors);
      });
      state.step++;
    },
  };
}

/**
 * Lazy Adam. Equals PyTorch's SparseAdam, which adds epsilon to the root before its bias correction; hence the
 * factor on epsilon here.
 */
export function rowAdam(options: AdamOptions = {}): RowOptimizer {
  return rowAdamLike("adam", (step, rate, scale) => {
    const factors = adamFactors(options, step, rate, 0, scale);
    return { ...factors, epsilon: factors.epsilon * factors.rootCorrection };
  });
}

/** Lazy AdamW: the named rows change as under dense AdamW; the others neither move nor decay. */
export function rowAdamw({
  weightDecay = 0.01,
  ...options
}: AdamOptions & { weightDecay?: number } = {}): RowOptimizer {
  return rowAdamLike("adamw", (step, rate, scale) => adamFactors(options, step, rate, weightDecay, scale));
}
