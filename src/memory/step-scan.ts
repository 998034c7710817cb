/**
 * Whole-number products of a question with very many keys of 8 bits: a small WebAssembly function with 128-bit vectors,
 * sixteen steps at once, which plain numbers take some ten times as long for. It is written out below, as there is
 * nothing to compile it. Sums are exact: a question has so many bits that no sum leaves 32.
 */
import { UserError } from "../errors.ts";

export interface StepScan {
  /** The steps of a row, to read or to fill; valid until `grow`. */
  row(row: number): Int8Array;
  /** Makes room for rows. */
  grow(rows: number): void;
  /** Σ question[i] steps[i] of `count` rows from one on; valid until the next call. */
  products(question: Int16Array, from: number, count: number): Int32Array;
  bytes(): number;
}

/** Most rows of one call. */
export const scanRows = 4096;
const lanes = 16;
const page = 1 << 16;

/** The largest whole number in a question, so that no sum of products with steps up to 127 overflows. */
export const mostOfQuestion = (width: number): number => Math.min(32767, Math.floor((2 ** 31 - 1) / (127 * width)));

// The function's parameters and variables
const [question, key, width, end, out, at, sums] = [0, 1, 2, 3, 4, 5, 6];
const [i32, v128, none] = [0x7f, 0x7b, 0x40];
const get = (local: number): number[] => [0x20, local];
const set = (local: number): number[] => [0x21, local];
const number = (value: number): number[] => [0x41, value];
const add = 0x6a;
const vector = (...code: number[]): number[] => [0xfd, ...code];
const addVectors = vector(0xae, 1);
/** Half of sixteen steps, widened (`widen`: its low or high half), times the question at `offset` bytes. */
const half = (widen: number, offset: number): number[] => [
  ...get(key),
  ...get(at),
  add,
  ...vector(0, 0, 0),
  ...vector(widen, 1),
  ...get(question),
  ...get(at),
  ...get(at),
  add,
  add,
  ...vector(0, 0, offset),
  ...vector(0xba, 1),
];
const untilLess = (a: number, b: number): number[] => [...get(a), ...get(b), 0x49, 0x0d, 0];
const loop = (...code: number[]): number[] => [0x03, none, ...code, 0x0b];
const body = [
  ...loop(
    ...vector(0x0c, ...Array<number>(lanes).fill(0)),
    ...set(sums),
    ...number(0),
    ...set(at),
    ...loop(
      ...get(sums),
      ...half(0x87, 0),
      ...addVectors,
      ...half(0x88, lanes),
      ...addVectors,
      ...set(sums),
      ...get(at),
      ...number(lanes),
      add,
      ...set(at),
      ...untilLess(at, width),
    ),
    // The four sums of a row as one
    ...get(out),
    ...[0, 1, 2, 3].flatMap((lane) => [...get(sums), ...vector(0x1b, lane)]),
    add,
    add,
    add,
    0x36,
    2,
    0,
    ...get(out),
    ...number(4),
    add,
    ...set(out),
    ...get(key),
    ...get(width),
    add,
    ...set(key),
    ...untilLess(key, end),
  ),
  0x0b,
];
const length = (n: number): number[] => (n < 128 ? [n] : [128 | (n & 127), ...length(n >>> 7)]);
const section = (id: number, ...content: number[]): number[] => [id, ...length(content.length), ...content];
const code = [2, 1, i32, 1, v128, ...body];
const program = Uint8Array.from([
  0,
  0x61,
  0x73,
  0x6d,
  1,
  0,
  0,
  0,
  ...section(1, 1, 0x60, 5, i32, i32, i32, i32, i32, 0),
  ...section(2, 1, 1, 0x6d, 1, 0x6d, 2, 0, 0), // memory "m" of "m"
  ...section(3, 1, 0),
  ...section(7, 1, 1, 0x66, 0, 0), // exported as "f"
  ...section(10, 1, ...length(code.length), ...code),
]);

interface Memory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}

/** The part of WebAssembly that is used; types of it come with browsers alone. */
const { WebAssembly: wasm } = globalThis as unknown as {
  readonly WebAssembly: {
    validate(code: Uint8Array): boolean;
    readonly Module: new (code: Uint8Array) => object;
    readonly Memory: new (size: { readonly initial: number }) => Memory;
    readonly Instance: new (module: object, imports: object) => { readonly exports: Readonly<Record<string, unknown>> };
  };
};

let compiled: object | undefined;

/** Room for keys of some numbers each; undefined where the machine has no such vectors. */
export function createStepScan(numbers: number): StepScan | undefined {
  if (!compiled && !wasm.validate(program)) return undefined;
  compiled ??= new wasm.Module(program);
  const stride = Math.ceil(numbers / lanes) * lanes;
  const [results, first] = [2 * stride, 2 * stride + 4 * scanRows];
  const memory = new wasm.Memory({ initial: Math.ceil(first / page) });
  const { f } = new wasm.Instance(compiled, { m: { m: memory } }).exports;
  const scan = f as (question: number, key: number, width: number, end: number, out: number) => void;
  return {
    row: (row) => new Int8Array(memory.buffer, first + row * stride, numbers),
    grow(rows) {
      const more = Math.ceil((first + rows * stride - memory.buffer.byteLength) / page);
      if (more <= 0) return;
      try {
        memory.grow(more);
      } catch {
        const most = Math.floor((page * page - first) / stride);
        throw new UserError(
          `keyIndex.add: expected memory for ${rows} keys of ${numbers} numbers, got none (at most ${most} fit); limit the bank`,
        );
      }
    },
    products(asked, from, count) {
      new Int16Array(memory.buffer, 0, stride).fill(0).set(asked);
      const start = first + from * stride;
      if (count > 0) scan(0, start, stride, start + count * stride, results);
      return new Int32Array(memory.buffer, results, count);
    },
    bytes: () => memory.buffer.byteLength,
  };
}
