/** Product keys against looking at all N slots, in values and gradients, with ties and without. */
import { afterAll, describe, expect, test } from "vitest";
import { createRuntime } from "../../src/runtime/runtime.ts";
import { float32Host, type HostTensor } from "../../src/tensor/dtype.ts";
import { input, mul, sum } from "../../src/tensor/functions.ts";
import { gradients, sparseGradients } from "../../src/tensor/grad.ts";
import { type Random, randomStream } from "../../src/tensor/random.ts";
import { lookUpSlots, readSlots, topSlots } from "../../src/nn/product-keys.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());

/** All sums of two half scores, best first; of equal ones the lowest slot. */
function bruteForce(first: ArrayLike<number>, second: ArrayLike<number>, k: number): { score: number; slot: number }[] {
  const n = first.length;
  const all = Array.from({ length: n * n }, (_, slot) => ({
    score: Math.fround(first[Math.floor(slot / n)] + second[slot % n]),
    slot,
  }));
  return all.sort((a, b) => b.score - a.score || a.slot - b.slot).slice(0, k);
}

/** Numbers whose sums are exact in float32, so that only true ties are ties: few values, or many. */
const kinds: readonly ((random: Random) => number)[] = [
  () => 0,
  (random) => random.integer(2),
  (random) => random.integer(5) - 2,
  (random) => (random.integer(2 ** 14) - 2 ** 13) / 1024,
];

describe("topSlots", () => {
  const sizes = [
    [1, 1],
    [3, 3],
    [4, 1],
    [5, 2],
    [8, 3],
    [12, 12],
    [16, 8],
    [23, 8],
  ] as const;
  const M = 1280;

  test.each(sizes)("of %i half keys the best %i, as brute force has them, ties too", async (n, k) => {
    const random = randomStream(0, "slots", n, k);
    const data = new Float32Array(2 * M * n);
    for (let m = 0; m < M; m++) {
      for (const half of [0, 1])
        for (let i = 0; i < n; i++) data[(half * M + m) * n + i] = kinds[(m + half * (m % 3)) % kinds.length](random);
    }
    const program = await runtime.compile({ ...topSlots(input("halves", "float32", [1, 2, M, n]), k) });
    const { scores, slots } = await program.run({ halves: float32Host([1, 2, M, n], data) });
    let wrong = 0;
    for (let m = 0; m < M; m++) {
      const row = (half: number): Float32Array => data.subarray((half * M + m) * n, (half * M + m + 1) * n);
      for (const [i, want] of bruteForce(row(0), row(1), k).entries())
        if (slots.data[m * k + i] !== want.slot || scores.data[m * k + i] !== want.score) wrong++;
    }
    expect(wrong).toBe(0); // 10,240 cases in all
  });

  test("scores of any numbers are the best ones, whatever rounding does to ties", async () => {
    const [n, k] = [32, 16];
    const data = new Float32Array(2 * M * n);
    randomStream(1, "slots").fillNormal(data, 0, 1);
    const program = await runtime.compile({ ...topSlots(input("halves", "float32", [1, 2, M, n]), k) });
    const { scores, slots } = await program.run({ halves: float32Host([1, 2, M, n], data) });
    for (let m = 0; m < M; m += 7) {
      const row = (half: number): Float32Array => data.subarray((half * M + m) * n, (half * M + m + 1) * n);
      const want = bruteForce(row(0), row(1), k).map(({ score }) => score);
      expect([...scores.data.subarray(m * k, (m + 1) * k)]).toEqual(want);
      const own = Array.from(slots.data.subarray(m * k, (m + 1) * k), Number);
      expect(own.map((slot) => Math.fround(row(0)[Math.floor(slot / n)] + row(1)[slot % n]))).toEqual(want);
    }
  });
});

const [M, H, n, D, K, W] = [5, 2, 4, 6, 3, 7];
const shapes = { queries: [M, H * D], keys: [H, 2, n, D / 2], values: [n * n, W], cotangent: [M, W] } as const;
type Numbers = Record<keyof typeof shapes, Float32Array>;

function numbers(seed: number): Numbers {
  const of = (name: keyof typeof shapes): Float32Array => {
    const data = new Float32Array(shapes[name].reduce((a, b) => a * b, 1));
    randomStream(seed, "keys", name).fillNormal(data, 0, 1);
    return data;
  };
  return { queries: of("queries"), keys: of("keys"), values: of("values"), cotangent: of("cotangent") };
}

const unit = (x: number[]): number[] => {
  const length = Math.hypot(...x);
  return x.map((value) => value / length);
};

/** The loss sum(cotangent * read), with loops over all slots, in doubles; and every slot read. */
function reference({ queries, keys, values, cotangent }: Numbers, temperature: number | undefined) {
  let loss = 0;
  const slots: number[][] = [];
  for (let m = 0; m < M; m++) {
    slots.push([]);
    for (let h = 0; h < H; h++) {
      const half = (s: number): number[] => {
        const q = [...queries.subarray(m * H * D + h * D + (s * D) / 2, m * H * D + h * D + ((s + 1) * D) / 2)];
        return Array.from({ length: n }, (_, i) => {
          const at = ((h * 2 + s) * n + i) * (D / 2);
          const key = [...keys.subarray(at, at + D / 2)];
          const [a, b] = temperature === undefined ? [q, key] : [unit(q), unit(key)];
          return (
            a.reduce((total, value, j) => total + value * b[j], 0) * (temperature === undefined ? 1 : temperature / 2)
          );
        });
      };
      const [first, second] = [half(0), half(1)];
      const all = Array.from({ length: n * n }, (_, slot) => ({
        slot,
        score: first[Math.floor(slot / n)] + second[slot % n],
      }));
      const best = all.sort((a, b) => b.score - a.score || a.slot - b.slot).slice(0, K);
      const total = best.reduce((t, { score }) => t + Math.exp(score), 0);
      for (const { slot, score } of best) {
        slots[m].push(slot);
        for (let w = 0; w < W; w++) loss += (Math.exp(score) / total) * values[slot * W + w] * cotangent[m * W + w];
      }
    }
  }
  return { loss, slots: slots.flat() };
}

describe.each([undefined, 9])("look-up with temperature %s", (temperature) => {
  const leaf = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, input(name, "float32", shape)]));
  const feeds = (given: Numbers): Record<string, HostTensor> =>
    Object.fromEntries(
      Object.entries(shapes).map(([name, shape]) => [name, float32Host(shape, given[name as keyof Numbers])]),
    );
  const reads = lookUpSlots(leaf.queries, leaf.keys, { knn: K, temperature });
  const loss = sum(mul(readSlots(leaf.values, reads), leaf.cotangent));
  const trained = ["queries", "keys", "values"] as const;

  test("slots, sums and gradients are those of loops over all slots", async () => {
    const given = numbers(3);
    const found = gradients(
      loss,
      trained.map((name) => leaf[name]),
    );
    const program = await runtime.compile({
      loss,
      slots: reads.slots,
      ...Object.fromEntries(found.map((g, i) => [trained[i], g])),
    });
    const got = await program.run(feeds(given));
    const want = reference(given, temperature);
    expect([...got.slots.data]).toEqual(want.slots);
    expect(Number(got.loss.data[0])).toBeCloseTo(want.loss, 4);
    for (const name of trained) {
      let compared = 0;
      const step = 2 ** -10;
      for (let i = 0; i < given[name].length; i++) {
        const at = (shift: number): number => {
          const moved = { ...given, [name]: given[name].slice() };
          moved[name][i] += shift;
          const { loss: value, slots } = reference(moved, temperature);
          // A difference across a change of slots says nothing
          return slots.join() === want.slots.join() ? value : Number.NaN;
        };
        const slope = (at(step) - at(-step)) / (2 * step);
        if (Number.isNaN(slope)) continue;
        compared++;
        expect(Math.abs(Number(got[name].data[i]) - slope), `${name} ${i}`).toBeLessThan(2e-3);
      }
      expect(compared, name).toBeGreaterThan(0.9 * given[name].length);
    }
  });

  test("the table's gradient can leave the graph as rows", async () => {
    const given = numbers(4);
    const [{ dense, rows }] = sparseGradients(loss, [leaf.values], new Set([leaf.values]));
    expect(dense).toBeUndefined();
    expect(rows).toHaveLength(1);
    const [whole] = gradients(loss, [leaf.values]);
    const program = await runtime.compile({ whole, indices: rows[0].indices, values: rows[0].values });
    const got = await program.run(feeds(given));
    expect(got.values.shape).toEqual([M * H * K, W]);
    const added = new Float64Array(n * n * W);
    got.indices.data.forEach((row: number | bigint, i: number) => {
      for (let w = 0; w < W; w++) added[Number(row) * W + w] += Number(got.values.data[i * W + w]);
    });
    for (const [i, value] of added.entries()) expect(value).toBeCloseTo(Number(got.whole.data[i]), 5);
  });
});
