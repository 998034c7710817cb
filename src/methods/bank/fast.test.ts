/** The fast read is attention over every entry of the bank, whatever the bank, and does not see how large it is. */
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { tinyBank, tinyNetworks } from "../../../tests/support/bank-module.ts";
import { expectClose } from "../../../tests/support/close.ts";
import { createRuntime } from "../../runtime/runtime.ts";
import { float32Host } from "../../tensor/dtype.ts";
import { input } from "../../tensor/functions.ts";
import { type Random, randomStream } from "../../tensor/random.ts";
import { aggregated } from "./aggregator.ts";
import { fastRead, projectedCodes } from "./fast.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());

const geometry = { layers: 1, width: 8, vocabulary: 10, context: 16, heads: 2, kvHeads: 2, headDim: 4 };
const { weights, params } = tinyNetworks(geometry);
const { slots: T, width: D } = tinyBank;
const Q = 2;
const CLOSE = { absolute: 1e-5, relative: 1e-5 };

const compiled = (() => {
  let made: ReturnType<typeof compile> | undefined;
  const questions = input("questions", "float32", [Q, T, D]);
  const compile = async () => {
    const codes = projectedCodes(params, tinyBank, input("codes", "float32", ["K", D]));
    const fast = await runtime.compile(
      { latents: fastRead(params, tinyBank, questions, input("counts", "float32", [T, "K"]), codes) },
      weights,
    );
    const naive = await runtime.compile(
      {
        latents: aggregated(params, tinyBank, input("questions", "float32", [1, Q, T, D]), {
          slots: input("bank", "float32", [1, "N", T, D]),
          bias: input("bias", "float32", [1, Q, "N"]),
        }).latents,
      },
      weights,
    );
    return { fast, naive };
  };
  return () => (made ??= compile());
})();

interface Bank {
  readonly codes: Float32Array;
  readonly questions: Float32Array;
  /** [N, T]. */
  readonly indices: readonly number[];
}

async function fast({ codes, questions, indices }: Bank, times = 1): Promise<Float32Array> {
  const K = codes.length / D;
  const counts = new Float32Array(T * K);
  for (const [at, index] of indices.entries()) counts[(at % T) * K + index] += times;
  const { latents } = await (await compiled()).fast.run({
    questions: float32Host([Q, T, D], questions),
    counts: float32Host([T, K], counts),
    codes: float32Host([K, D], codes),
  });
  return latents.data as Float32Array;
}

/** Over the decoded bank, entry by entry. */
async function naive({ codes, questions, indices }: Bank): Promise<Float32Array> {
  const N = indices.length / T;
  const bank = new Float32Array(indices.length * D);
  for (const [at, index] of indices.entries()) bank.set(codes.subarray(index * D, (index + 1) * D), at * D);
  const { latents } = await (await compiled()).naive.run({
    questions: float32Host([1, Q, T, D], questions),
    bank: float32Host([1, N, T, D], bank),
    bias: float32Host([1, Q, N], new Float32Array(Q * N)),
  });
  return latents.data as Float32Array;
}

/** `used`: indices are below it, so that some codes are never chosen and few entries differ. */
function bankOf(random: Random, { K, N, used, scale }: Record<"K" | "N" | "used" | "scale", number>): Bank {
  return {
    codes: random.fillNormal(new Float32Array(K * D), 0, scale),
    questions: random.fillNormal(new Float32Array(Q * T * D), 0, 1),
    indices: Array.from({ length: N * T }, () => random.integer(Math.min(used, K))),
  };
}

const banks = fc.record({
  K: fc.integer({ min: 2, max: 40 }),
  N: fc.integer({ min: 1, max: 300 }),
  used: fc.integer({ min: 1, max: 40 }),
  scale: fc.constantFrom(0.1, 1, 3),
  seed: fc.nat(1000),
});

describe("the fast read", () => {
  it("is attention over all entries", async () => {
    await fc.assert(
      fc.asyncProperty(banks, async ({ seed, ...sizes }) => {
        const bank = bankOf(randomStream(seed, "bank"), sizes);
        const want = await naive(bank);
        // Relative to the size of the latents: single numbers may be near 0
        const size = Math.sqrt(want.reduce((sum, value) => sum + value * value, 0) / want.length);
        expectClose("latents", await fast(bank), want, { absolute: 1e-5 * size, relative: 1e-5 });
      }),
      { numRuns: 60, seed: 5 },
    );
  });

  it("tells apart in which slot a code stands", async () => {
    const bank = bankOf(randomStream(7, "bank"), { K: 6, N: 1, used: 6, scale: 1 });
    const [a, b] = [await fast({ ...bank, indices: [0, 1, 2] }), await fast({ ...bank, indices: [2, 1, 0] })];
    expect(Math.max(...a.map((value, i) => Math.abs(value - b[i])))).toBeGreaterThan(1e-2);
  });

  it("is the same for a bank and for a million copies of it", async () => {
    const bank = bankOf(randomStream(8, "bank"), { K: 16, N: 50, used: 12, scale: 1 });
    const once = await fast(bank);
    for (const times of [2, 1e6]) expectClose(`${times} times`, await fast(bank, times), once, CLOSE);
  });
});
