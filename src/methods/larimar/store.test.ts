/** What Larimar keeps of its facts against what remains of them: any history, any addressing; and what a fact weighs. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { PlacedFact, StoredFact } from "../../memory/memory-store.ts";
import { randomStream } from "../../tensor/random.ts";
import { addressings } from "./addressing.ts";
import { createLarimarStore, type LarimarStore, type LarimarStoreOptions } from "./store.ts";

const sizes = { slots: 4, width: 6, textWidth: 5, ridge: 1e-4, growth: true };
const open = (more: Partial<LarimarStoreOptions> = {}): LarimarStore =>
  createLarimarStore({ ...sizes, addressing: "gaussian", ...more });

/** A fact with one or two texts. */
function factOf({ pack }: LarimarStore, number: number): StoredFact {
  const random = randomStream(number);
  const numbers = (n: number): Float32Array => random.fillNormal(new Float32Array(n));
  const texts = numbers((1 + (number % 2)) * sizes.textWidth);
  return { fact: number, ...pack({ prompt: numbers(sizes.width), value: numbers(sizes.width), texts }) };
}

describe.each(addressings)("addressing %s", (addressing) => {
  test("after any history the state is that of the facts that are left", () => {
    const history = fc.array(fc.record({ fact: fc.integer({ min: 1, max: 12 }), save: fc.boolean() }), {
      maxLength: 30,
    });
    fc.assert(
      fc.property(history, (steps) => {
        let store = open({ addressing });
        const held = new Map<number, PlacedFact>();
        for (const { fact: number, save } of steps) {
          const there = held.get(number);
          if (there) {
            store.remove([there]);
            held.delete(number);
          } else {
            const fact = factOf(store, number);
            held.set(number, { ...fact, placement: store.apply([fact])[0] });
          }
          if (!save) continue;
          const state = store.snapshot();
          store = open({ addressing });
          store.restore(state);
        }
        const other = open({ addressing });
        other.replay([...held.values()].reverse());
        expect(store.fingerprint()).toBe(other.fingerprint());
        expect(store.vectors.facts()).toEqual([...held.keys()].sort((a, b) => a - b));
      }),
      { numRuns: 40 },
    );
  });
});

test("a fact that can not be added changes nothing", () => {
  const store = open();
  const [one, two] = [factOf(store, 1), factOf(store, 2)];
  store.apply([one]);
  const before = store.fingerprint();
  expect(() => store.apply([two, one])).toThrow(/expected a whole number no other fact has/);
  const empty = { ...two, key: new Uint8Array(0) };
  expect(() => store.apply([empty])).toThrow(/larimar: expected a fact with a value of 24 bytes and texts of 10 each/);
  expect(() => store.apply([{ ...two, value: new Uint8Array(8) }])).toThrow(/use the module/);
  const zeros = { ...two, key: new Uint8Array(two.key.length) };
  expect(() => store.apply([zeros])).toThrow(/expected vectors with a direction/);
  const spoiled = open({ slots: 3 }).snapshot();
  expect(() => store.restore(spoiled)).toThrow(/expected memories with slots 4, got 3/);
  const { tensors, json } = store.snapshot();
  const empties = open().snapshot();
  const mixed = { tensors: { ...tensors, ...empties.tensors }, json: { ...json, episodes: empties.json.episodes } };
  expect(() => store.restore(mixed)).toThrow();
  expect(store.fingerprint()).toBe(before);
});

test("a full memory with growth off refuses what is too much, and stays as it is", () => {
  const store = open({ growth: false });
  store.apply([1, 2, 3, 4].map((number) => factOf(store, number)));
  const before = store.fingerprint();
  expect(() => store.apply([factOf(store, 5)])).toThrow(
    /expected room for 1 more facts, got 0 of 4 free and growth off/,
  );
  expect(store.fingerprint()).toBe(before);
});

test("a fact weighs 3,584 bytes with a second text, 512 slots, latents of 768 and texts of 128 numbers", () => {
  const store = open({ slots: 512, width: 768, textWidth: 128 });
  const ones = (n: number): Float32Array => new Float32Array(n).fill(1);
  const { key, value } = store.pack({ prompt: ones(768), value: ones(768), texts: ones(2 * 128) });
  expect([key.length, value.length]).toEqual([512, 3072]);
});
