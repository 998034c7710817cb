/**
 * WebAssembly written by hand: the few words of its binary format
 * (https://webassembly.github.io/spec/core/binary/index.html) that the kernels of this project are assembled from. V8
 * compiles number loops one number at a time; 128-bit vectors have to be asked for like this.
 */

/** Types of values. */
export const [i32, f32] = [0x7f, 0x7d];
const v128 = 0x7b;

/** Bytes of a page of memory; there are at most as many pages. */
export const pageBytes = 1 << 16;

/** Unsigned LEB128, the integer encoding of the format. */
export const leb = (value: number): number[] => (value < 128 ? [value] : [(value & 127) | 128, ...leb(value >>> 7)]);

export const get = (local: number): number[] => [0x20, ...leb(local)];
export const set = (local: number): number[] => [0x21, ...leb(local)];
/** A number from 0 to 63. */
export const number = (value: number): number[] => [0x41, value];
export const addNumbers = 0x6a;
/** local += step. */
export const advance = (local: number, step: readonly number[]): number[] => [
  ...get(local),
  ...step,
  addNumbers,
  ...set(local),
];
const [end, beginLoop, repeatIfLess] = [0x0b, [0x03, 0x40], [0x49, 0x0d, 0]];
/** Does something over and over, for as long as a < b behind it. */
export const loopWhileLess = (a: number, b: number, code: readonly number[]): number[] => [
  ...beginLoop,
  ...code,
  ...get(a),
  ...get(b),
  ...repeatIfLess,
  end,
];
/** An instruction on vectors, with what belongs to it. */
export const vector = (opcode: number, ...immediates: readonly number[]): number[] => [
  0xfd,
  ...leb(opcode),
  ...immediates,
];

interface FunctionParts {
  /** Types of the function's parameters. */
  readonly parameters: readonly number[];
  /** Variables beside them: so many numbers (i32), then so many vectors. */
  readonly numbers?: number;
  readonly vectors: number;
  readonly body: readonly number[];
}

/** The format's magic word and version. */
const header = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
const section = (id: number, ...content: readonly number[]): number[] => [id, ...leb(content.length), ...content];
const name = (text: string): number[] => [text.length, ...Array.from(text, (c) => c.charCodeAt(0))];

/** One function `run` without a result over a memory that it is given as `memory` of `host`. */
export function moduleOf({ parameters, numbers = 0, vectors, body }: FunctionParts): Uint8Array<ArrayBuffer> {
  const code = [2, numbers, i32, vectors, v128, ...body, end];
  return Uint8Array.from([
    ...header,
    ...section(1, 1, 0x60, parameters.length, ...parameters, 0),
    ...section(2, 1, ...name("host"), ...name("memory"), 2, 0, 0),
    ...section(3, 1, 0),
    ...section(7, 1, ...name("run"), 0, 0),
    ...section(10, 1, ...leb(code.length), ...code),
  ]);
}

interface Memory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}

/** TypeScript declares WebAssembly only with the browser's types; this is the part that is used. */
interface WebAssemblyApi {
  validate(code: Uint8Array): boolean;
  readonly Module: new (code: Uint8Array) => object;
  readonly Memory: new (size: { readonly initial: number }) => Memory;
  readonly Instance: new (module: object, imports: object) => { readonly exports: Readonly<Record<string, unknown>> };
}

export interface Kernel {
  readonly memory: Memory;
  run(...parameters: readonly number[]): void;
}

/** The function over a memory of its own of so many bytes; undefined where there is no WebAssembly or no such vectors. */
export function createKernel(code: Uint8Array, bytes: number): Kernel | undefined {
  // Without a compiler (`node --jitless`) there is none
  const { WebAssembly: wasm } = globalThis as unknown as { readonly WebAssembly?: WebAssemblyApi };
  if (!wasm?.validate(code)) return undefined;
  const memory = new wasm.Memory({ initial: Math.ceil(bytes / pageBytes) });
  const { exports } = new wasm.Instance(new wasm.Module(code), { host: { memory } });
  return { memory, run: exports.run as Kernel["run"] };
}
