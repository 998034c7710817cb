/** The index against all inner products, sorted: for every format, after adding and removing, with many ties. */
import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { expectClose } from "../../tests/support/close.ts";
import { randomStream } from "../tensor/random.ts";
import { type KeyFormat, storedKey } from "./bank-entry.ts";
import { createKeyIndex } from "./key-index.ts";

const inner = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
};

function bruteForce(keys: ReadonlyMap<number, Float32Array>, query: ArrayLike<number>, k: number) {
  const all = [...keys].map(([number, key]) => ({ number, score: inner(query, key) }));
  return all.sort((a, b) => b.score - a.score || a.number - b.number).slice(0, k);
}

const formats: KeyFormat[] = [4, 8, 16, 32].map((bits) => ({ width: 7, bits: bits as KeyFormat["bits"] }));

test.each(formats)("$bits bits: the exact order where sums are exact, ties by number", (format) => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ number: fc.nat(60), key: fc.nat(12) }) },
    { weight: 1, arbitrary: fc.record({ number: fc.nat(60), remove: fc.constant(true) }) },
  );
  // Whole numbers up to the largest step survive every rounding, and few different ones make ties
  const most = format.bits === 4 ? 7 : 127;
  const keyOf = (seed: number): Float32Array => {
    const random = randomStream(seed, "key");
    return Float32Array.from({ length: 7 }, (_, i) => (i === seed % 7 ? most : random.integer(2 * most + 1) - most));
  };
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), fc.nat(99), fc.integer({ min: 1, max: 70 }), (steps, seed, k) => {
      const index = createKeyIndex(format);
      const model = new Map<number, Float32Array>();
      for (const one of steps) {
        if ("remove" in one) {
          if (model.delete(one.number)) index.remove(one.number);
          else expect(() => index.remove(one.number)).toThrow(/^keyIndex.remove: expected a number that is in, got/);
        } else if (!model.has(one.number)) {
          model.set(one.number, keyOf(one.key));
          index.add(one.number, keyOf(one.key));
        }
      }
      const query = Array.from({ length: 7 }, (_, i) => ((seed * (i + 3)) % 11) - 5);
      const { numbers, scores } = index.topK(query, k);
      const want = bruteForce(model, query, k);
      expect(numbers).toEqual(want.map(({ number }) => number));
      expect(scores).toEqual(want.map(({ score }) => score));
      expect(index.count()).toBe(model.size);
    }),
    { numRuns: 100, seed: 1 },
  );
});

test.each(formats)("$bits bits: over several blocks, the products with the keys as stored", ({ bits }) => {
  const [N, width] = [9000, 24];
  const format: KeyFormat = { width, bits };
  const index = createKeyIndex(format);
  const random = randomStream(2, "keys");
  const model = new Map<number, Float32Array>();
  for (let number = 0; number < N; number++) {
    const key = random.fillNormal(new Float32Array(width), 0, 10 ** (random.integer(5) - 2));
    index.add(number, key);
    model.set(number, storedKey(key, format));
  }
  const most = index.bytes();
  for (let number = 0; number < N; number += 2) {
    index.remove(number);
    model.delete(number);
  }
  for (const k of [1, 10, 300]) {
    const query = random.fillNormal(new Float32Array(width));
    const { numbers, scores } = index.topK(query, k);
    const want = bruteForce(model, query, k);
    expect(numbers).toEqual(want.map(({ number }) => number));
    const length = Math.sqrt(inner(query, query)) * 2000;
    expectClose(
      "scores",
      scores,
      want.map(({ score }) => score),
      { absolute: 1e-14 * length, relative: 0 },
    );
  }
  for (const number of model.keys()) index.remove(number);
  expect(index.topK(new Float32Array(width), 3)).toEqual({ numbers: [], scores: [] });
  expect(index.bytes()).toBeLessThan(most / 2);
});

test("without WebAssembly the same keys are found", () => {
  const [N, width] = [9000, 5];
  const fill = () => {
    const [index, random] = [createKeyIndex({ width, bits: 8 }), randomStream(3, "keys")];
    for (let number = 0; number < N; number++) index.add(number, random.fillNormal(new Float32Array(width)));
    for (let number = 0; number < N; number += 3) index.remove(number);
    return index.topK(random.fillNormal(new Float32Array(width)), 20);
  };
  const want = fill();
  vi.stubGlobal("WebAssembly", undefined);
  try {
    expect(fill()).toEqual(want);
  } finally {
    vi.unstubAllGlobals();
  }
});

test("bad input is one line", () => {
  const index = createKeyIndex({ width: 3, bits: 8 });
  index.add(4, Float32Array.of(1, 0, 0));
  expect(index.has(4)).toBe(true);
  expect(() => index.add(4, Float32Array.of(1, 0, 0))).toThrow(
    /^keyIndex.add: expected a number that is not in, got 4/,
  );
  expect(() => index.add(5, Float32Array.of(1, 0))).toThrow(/^bank: expected a key of 3 numbers, got 2/);
  expect(() => index.topK([1, 2], 1)).toThrow(/^keyIndex.topK: expected rows of 3 numbers/);
  expect(() => index.topK([1, 2, Number.NaN], 1)).toThrow(/^keyIndex.topK: expected finite numbers/);
  expect(() => index.topK([1, 2, 3], 0)).toThrow(/^keyIndex.topK: expected one query of 3 numbers and k from 1/);
  expect(() => createKeyIndex({ width: 0, bits: 8 })).toThrow(/^createKeyIndex: expected keys of 1 number or more/);
});
