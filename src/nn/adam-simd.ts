/**
 * The dense Adam update four elements at a time: a WebAssembly function of some 250 bytes, assembled here. It halves an
 * update (7 ms instead of 14 ms for 3.7M parameters, one thread) and rounds to float32 after every operation, as PyTorch
 * does.
 * WebAssembly cannot see typed arrays outside its memory, so blocks are copied in and out; a block fits the cache.
 */
import { UserError } from "../errors.ts";
import {
  advance,
  createKernel,
  f32,
  get,
  i32,
  leb,
  loopWhileLess,
  moduleOf,
  number,
  set,
  vector,
} from "../tensor/wasm.ts";
import type { AdamFactors } from "./adam-kernel.ts";

const block = 16384; // elements; four blocks are 256 KiB
const bytesPerBlock = block * 4;
/** Byte offsets of the parameter, gradient and moment blocks in the memory. */
const at = { p: 0, g: bytesPerBlock, m: 2 * bytesPerBlock, v: 3 * bytesPerBlock };

/** The arguments after (index, bytes), in order: float32 scalars, copied into all four lanes before the loop. */
const scalars = ["keep", "beta1", "gain1", "beta2", "gain2", "stepSize", "root", "epsilon", "scale"] as const;
const firstVector = 2 + scalars.length;
const lanesOf = Object.fromEntries(scalars.map((name, i) => [name, firstVector + i])) as Record<
  (typeof scalars)[number],
  number
>;
const local = { index: 0, bytes: 1, ...lanesOf, g: firstVector + 9, m: firstVector + 10, v: firstVector + 11 };

const load = (offset: number): number[] => [...get(local.index), ...vector(0, 2, ...leb(offset))];
const store = (offset: number, value: number[]): number[] => [
  ...get(local.index),
  ...value,
  ...vector(11, 2, ...leb(offset)),
];
const binary =
  (opcode: number) =>
  (a: number[], b: number[]): number[] => [...a, ...b, ...vector(opcode)];
const add = binary(228);
const subtract = binary(229);
const multiply = binary(230);
const divide = binary(231);
const root = (a: number[]): number[] => [...a, ...vector(227)];
const splat = (a: number[]): number[] => [...a, ...vector(19)];

const program = (): Uint8Array => {
  const v = local;
  return moduleOf({
    parameters: [i32, i32, ...scalars.map(() => f32)],
    vectors: scalars.length + 3,
    body: [
      ...scalars.flatMap((name, i) => [...splat(get(2 + i)), ...set(lanesOf[name])]),
      ...loopWhileLess(v.index, v.bytes, [
        ...multiply(load(at.g), get(v.scale)),
        ...set(v.g),
        ...add(multiply(load(at.m), get(v.beta1)), multiply(get(v.g), get(v.gain1))),
        ...set(v.m),
        ...add(multiply(load(at.v), get(v.beta2)), multiply(multiply(get(v.g), get(v.g)), get(v.gain2))),
        ...set(v.v),
        ...store(at.m, get(v.m)),
        ...store(at.v, get(v.v)),
        ...store(
          at.p,
          subtract(
            multiply(load(at.p), get(v.keep)),
            divide(multiply(get(v.stepSize), get(v.m)), add(multiply(root(get(v.v)), get(v.root)), get(v.epsilon))),
          ),
        ),
        ...advance(v.index, number(16)), // four lanes
      ]),
    ],
  });
};

export type AdamSimd = (
  p: Float32Array,
  g: Float32Array,
  m: Float32Array,
  v: Float32Array,
  factors: AdamFactors,
) => void;

/** A kernel with its own scratch memory. It updates `p`, `m` and `v` in place; all four have one length. */
export function createAdamSimd(): AdamSimd {
  const kernel = createKernel(program(), 4 * bytesPerBlock);
  if (!kernel) {
    throw new UserError("adamw: expected WebAssembly with 128-bit vectors, got none; run Node.js without --jitless");
  }
  const memory = new Float32Array(kernel.memory.buffer);

  return (p, g, m, v, f) => {
    for (let start = 0; start < p.length; start += block) {
      const end = Math.min(p.length, start + block);
      const length = end - start;
      const parts = [p.subarray(start, end), g.subarray(start, end), m.subarray(start, end), v.subarray(start, end)];
      for (let i = 0; i < 4; i++) memory.set(parts[i], i * block);
      // Whole groups of four lanes: the last may run over the end of a block's data, where nothing is read back.
      kernel.run(
        0,
        length * 4,
        f.keep,
        f.beta1,
        1 - f.beta1,
        f.beta2,
        1 - f.beta2,
        f.stepSize,
        f.rootCorrection,
        f.epsilon,
        f.gradientScale,
      );
      for (const i of [0, 2, 3]) parts[i].set(memory.subarray(i * block, i * block + length));
    }
  };
}
