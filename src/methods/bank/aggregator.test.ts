/** The aggregator against attention written out in doubles; documents have no order, and those set far back are not there. */
import { afterAll, describe, expect, it } from "vitest";
import { tinyBank, tinyNetworks } from "../../../tests/support/bank-module.ts";
import { expectClose } from "../../../tests/support/close.ts";
import { createRuntime } from "../../runtime/runtime.ts";
import { float32Host } from "../../tensor/dtype.ts";
import { input } from "../../tensor/functions.ts";
import { randomStream } from "../../tensor/random.ts";
import { aggregated } from "./aggregator.ts";
import { ROOT } from "./shape.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());

const geometry = { layers: 1, width: 8, vocabulary: 10, context: 16, heads: 2, kvHeads: 2, headDim: 4 };
const { weights, params } = tinyNetworks(geometry);
const { slots: T, width: D, blocks, blockHeads, blockInner } = tinyBank;
const SIZE = T * D;
const CLOSE = { absolute: 1e-5, relative: 1e-5 };

let made: ReturnType<typeof compile> | undefined;
const compile = () =>
  runtime.compile(
    {
      ...aggregated(params, tinyBank, input("questions", "float32", ["G", "Q", T, D]), {
        slots: input("bank", "float32", ["G", "N", T, D]),
        bias: input("bias", "float32", ["G", "Q", "N"]),
      }),
    },
    weights,
  );

interface Read {
  readonly latents: Float32Array;
  readonly weights: Float32Array;
}

async function read(
  [G, Q, N]: readonly number[],
  { questions, bank, bias }: Record<string, Float32Array>,
): Promise<Read> {
  const program = await (made ??= compile());
  const found = await program.run({
    questions: float32Host([G, Q, T, D], questions),
    bank: float32Host([G, N, T, D], bank),
    bias: float32Host([G, Q, N], bias),
  });
  return { latents: found.latents.data as Float32Array, weights: found.weights.data as Float32Array };
}

function drawn([G, Q, N]: readonly number[], seed: number) {
  const of = (name: string, length: number, deviation: number): Float32Array =>
    randomStream(seed, name).fillNormal(new Float32Array(length), 0, deviation);
  return {
    questions: of("questions", G * Q * SIZE, 1),
    bank: of("bank", G * N * SIZE, 1),
    bias: of("bias", G * Q * N, 2),
  };
}

const part = (x: Float32Array, at: number, size: number): Float32Array => x.subarray(at * size, (at + 1) * size);

/** One question [T, D] over a bank [N, T, D], in doubles, number by number. */
function byHand(question: Float32Array, bank: Float32Array, bias: Float32Array) {
  const own = (name: string): number[] => [...(weights[`${ROOT}.${name}`].data as Float32Array)];
  const times = (x: readonly number[], w: readonly number[]): number[] =>
    Array.from({ length: w.length / x.length }, (_, o) =>
      x.reduce((sum, value, i) => sum + value * w[o * x.length + i], 0),
    );
  const norm = (x: readonly number[], weight: readonly number[]): number[] => {
    const size = Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) / x.length + 1e-6);
    return x.map((value, i) => (value / size) * weight[i]);
  };
  const plus = (a: readonly number[], b: readonly number[]): number[] => a.map((value, i) => value + b[i]);
  const row = (x: ArrayLike<number>, t: number): number[] => Array.from({ length: D }, (_, d) => x[t * D + d]);
  const gelu = (x: number): number => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
  const N = bias.length;
  const H = D / blockHeads;
  const seen = Array.from({ length: N }, () => 0);
  let x = Array.from({ length: T }, (_, t) => row(question, t));
  for (let block = 0; block < blocks; block++) {
    const at = (name: string): number[] => own(`blocks.${block}.${name}`);
    const keys: number[][] = [];
    const values: number[][] = [];
    for (let s = 0; s < N * T; s++) {
      const slot = row(bank, s);
      const key = times(norm(slot, at("attention.context_norm.weight")), at("attention.key.weight"));
      keys.push(plus(key, row(at("attention.asked.weight"), s % T)));
      values.push(times(slot, at("attention.value.weight")));
    }
    x = x.map((state, t) => {
      const q = times(norm(state, at("attention.norm.weight")), at("attention.query.weight"));
      const asking = plus(q, row(at("attention.asking.weight"), t));
      const output = Array.from({ length: D }, () => 0);
      for (let head = 0; head < blockHeads; head++) {
        const numbers = Array.from({ length: H }, (_, h) => head * H + h);
        const scores = keys.map(
          (key, s) => numbers.reduce((sum, i) => sum + asking[i] * key[i], 0) / Math.sqrt(H) + bias[Math.floor(s / T)],
        );
        const most = Math.max(...scores);
        const parts = scores.map((score) => Math.exp(score - most));
        const total = parts.reduce((a, b) => a + b);
        for (const [s, mass] of parts.entries()) {
          seen[Math.floor(s / T)] += mass / total / (T * blockHeads * blocks);
          for (const i of numbers) output[i] += (mass / total) * values[s][i];
        }
      }
      const read = plus(state, times(output, at("attention.output.weight")));
      const inner = times(norm(read, at("mlp.norm.weight")), at("mlp.up.weight")).map(gelu);
      expect(inner.length).toBe(blockInner);
      return plus(read, times(inner, at("mlp.down.weight")));
    });
  }
  return { latents: x.flat(), weights: seen };
}

describe("aggregated", () => {
  it("is the blocks written out, for several groups and questions and for each alone", async () => {
    const sizes = [2, 3, 4];
    const given = drawn(sizes, 1);
    const all = await read(sizes, given);
    for (let g = 0; g < 2; g++) {
      for (let q = 0; q < 3; q++) {
        const at = 3 * g + q;
        const [question, bank, bias] = [
          part(given.questions, at, SIZE),
          part(given.bank, g, 4 * SIZE),
          part(given.bias, at, 4),
        ];
        const want = byHand(question, bank, bias);
        const alone = await read([1, 1, 4], { questions: question, bank, bias });
        for (const [who, latents, seen] of [
          ["together", part(all.latents, at, SIZE), part(all.weights, at, 4)],
          ["alone", alone.latents, alone.weights],
        ] as const) {
          expectClose(`latents ${at} ${who}`, latents, want.latents, CLOSE);
          expectClose(`weights ${at} ${who}`, seen, want.weights, CLOSE);
          expect(seen.reduce((a, b) => a + b)).toBeCloseTo(1, 5);
        }
      }
    }
  });

  it("knows no order of documents: their weights go with them", async () => {
    const N = 9;
    const given = drawn([1, 2, N], 2);
    const order = [...randomStream(3, "order").permutation(N)];
    const bank = Float32Array.from(order.flatMap((n) => [...part(given.bank, n, SIZE)]));
    const bias = Float32Array.from([0, 1].flatMap((q) => order.map((n) => given.bias[q * N + n])));
    const [straight, mixed] = [await read([1, 2, N], given), await read([1, 2, N], { ...given, bank, bias })];
    expectClose("latents", mixed.latents, straight.latents, CLOSE);
    const moved = [0, 1].flatMap((q) => order.map((n) => straight.weights[q * N + n]));
    expectClose("weights", mixed.weights, moved, CLOSE);
  });

  it("does not see a document that is set far back, whatever its numbers", async () => {
    const N = 5;
    const given = drawn([1, 2, N], 4);
    const hidden = 1;
    const kept = [0, 2, 3, 4];
    const bias = given.bias.map((value, at) => (at % N === hidden ? -1e9 : value));
    const want = await read([1, 2, N - 1], {
      ...given,
      bank: Float32Array.from(kept.flatMap((n) => [...part(given.bank, n, SIZE)])),
      bias: Float32Array.from([0, 1].flatMap((q) => kept.map((n) => bias[q * N + n]))),
    });
    for (const scale of [1, 100]) {
      const bank = given.bank.map((value, at) => (Math.floor(at / SIZE) === hidden ? scale * value : value));
      const got = await read([1, 2, N], { ...given, bank, bias });
      expectClose("latents", got.latents, want.latents, CLOSE);
      for (const q of [0, 1]) {
        expect(got.weights[q * N + hidden]).toBe(0);
        expectClose(
          "weights",
          kept.map((n) => got.weights[q * N + n]),
          part(want.weights, q, N - 1),
          CLOSE,
        );
      }
    }
  });
});
