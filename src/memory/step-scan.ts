/**
 * Whole-number products of a question with very many keys of a byte a number: a small WebAssembly function with 128-bit vectors,
 * sixteen steps at once, which plain numbers take some ten times as long for. Sums are exact: a question has so many bits
 * that no sum leaves 32.
 */
import { UserError } from "../errors.ts";
import {
  addNumbers,
  advance,
  createKernel,
  get,
  i32,
  loopWhileLess,
  moduleOf,
  number,
  pageBytes,
  set,
  vector,
} from "../tensor/wasm.ts";

export interface StepScan {
  /** The steps of a row, to read or to fill; valid until `grow`. */
  row(row: number): Int8Array;
  /** Makes room for rows, or throws where addresses of 32 bits or the machine's memory do not reach so far. */
  grow(rows: number): void;
  /** Σ question[i] steps[i] of `count` rows from one on; valid until the next call. */
  products(question: Int16Array, from: number, count: number): Int32Array;
  bytes(): number;
}

/** Most rows of one call. */
export const scanRows = 4096;
const lanes = 16;
/** The end of the last row must have an address of its own: at 2^32 it would be 0 again. */
const mostBytes = 2 ** 32 - 1;

/** The largest whole number in a question, so that no sum of products with steps up to 127 overflows. */
export const mostOfQuestion = (width: number): number => Math.min(32767, Math.floor((2 ** 31 - 1) / (127 * width)));

// The function's parameters and variables
const [question, key, width, end, out, at, sums] = [0, 1, 2, 3, 4, 5, 6];
const storeNumber = [0x36, 2, 0];
const sumVectors = vector(0xae);
/** Half of sixteen steps, widened (`widen`: its low or high half), times the question at `offset` bytes. */
const half = (widen: number, offset: number): number[] => [
  ...get(key),
  ...get(at),
  addNumbers,
  ...vector(0, 0, 0),
  ...vector(widen),
  ...get(question),
  ...get(at),
  ...get(at),
  addNumbers,
  addNumbers,
  ...vector(0, 0, offset),
  ...vector(0xba),
];
const program = moduleOf({
  parameters: [i32, i32, i32, i32, i32],
  numbers: 1,
  vectors: 1,
  body: loopWhileLess(key, end, [
    ...vector(0x0c, ...Array<number>(lanes).fill(0)),
    ...set(sums),
    ...number(0),
    ...set(at),
    ...loopWhileLess(at, width, [
      ...get(sums),
      ...half(0x87, 0),
      ...sumVectors,
      ...half(0x88, lanes),
      ...sumVectors,
      ...set(sums),
      ...advance(at, number(lanes)),
    ]),
    // The four sums of a row as one
    ...get(out),
    ...[0, 1, 2, 3].flatMap((lane) => [...get(sums), ...vector(0x1b, lane)]),
    addNumbers,
    addNumbers,
    addNumbers,
    ...storeNumber,
    ...advance(out, number(4)),
    ...advance(key, get(width)),
  ]),
});

/** Room for keys of some numbers each; undefined where the machine has no such vectors. */
export function createStepScan(numbers: number): StepScan | undefined {
  const stride = Math.ceil(numbers / lanes) * lanes;
  const [results, first] = [2 * stride, 2 * stride + 4 * scanRows];
  const kernel = createKernel(program, first);
  if (!kernel) return undefined;
  const { memory, run } = kernel;
  const most = Math.floor((mostBytes - first) / stride);
  const refused = (rows: number, why: string): never => {
    throw new UserError(
      `keyIndex.add: expected memory for ${rows} keys of ${numbers} numbers, got ${why}; limit the bank`,
    );
  };
  return {
    row: (row) => new Int8Array(memory.buffer, first + row * stride, numbers),
    grow(rows) {
      if (rows > most) refused(rows, `addresses for at most ${most}`);
      const more = Math.ceil((first + rows * stride - memory.buffer.byteLength) / pageBytes);
      if (more <= 0) return;
      try {
        memory.grow(more);
      } catch {
        refused(rows, "none");
      }
    },
    products(asked, from, count) {
      new Int16Array(memory.buffer, 0, stride).fill(0).set(asked);
      const start = first + from * stride;
      if (count > 0) run(0, start, stride, start + count * stride, results);
      return new Int32Array(memory.buffer, results, count);
    },
    bytes: () => memory.buffer.byteLength,
  };
}
