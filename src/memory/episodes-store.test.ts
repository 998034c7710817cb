import { expect, test } from "vitest";
import { UserError } from "../errors.ts";
import { randomStream } from "../tensor/random.ts";
import { createEpisodes } from "./episodes.ts";
import { createEpisodesStore, packFloats, unpackFloats } from "./episodes-store.ts";
import type { PlacedFact, StoredFact } from "./memory-store.ts";

const [K, C, routeWidth] = [4, 6, 3];

function fact(number: number): StoredFact {
  const random = randomStream(number, "fact");
  const floats = (n: number): Float32Array => random.fillNormal(new Float32Array(n));
  return { fact: number, key: packFloats(floats(K), floats(routeWidth)), value: packFloats(floats(C)) };
}

const create = () => {
  const episodes = createEpisodes({ slots: K, width: C, routeWidth });
  return { episodes, store: createEpisodesStore(episodes, { slots: K }) };
};

test("facts as bytes go in and out without a trace, and are found by their routing latent", () => {
  const { episodes, store } = create();
  const facts = [1, 2, 3, 4, 5, 6, 7].map(fact);
  const places = store.apply(facts);
  expect(places).toEqual([0, 0, 0, 1, 1, 1, 2]);
  const placed: PlacedFact[] = facts.map((one, i) => ({ ...one, placement: places[i] }));
  const floats = unpackFloats(facts[4].key);
  expect(episodes.read(floats.slice(0, K), { route: floats.slice(K) })).toMatchObject({ fact: 5, memory: 1 });

  store.remove([placed[6], placed[1]]);
  const other = create().store;
  other.replay([5, 0, 4, 3, 2].map((i) => placed[i]));
  expect(other.fingerprint()).toBe(store.fingerprint());
  const third = create().store;
  third.restore(store.snapshot());
  expect(third.fingerprint()).toBe(store.fingerprint());
  third.replay([placed[1]]);
  expect(third.fingerprint()).not.toBe(store.fingerprint());

  // All or nothing: the second is not in, so the first stays
  const before = store.fingerprint();
  expect(() => store.remove([placed[0], placed[6]])).toThrow(UserError);
  expect(() => store.apply([fact(8), { ...fact(9), key: new Uint8Array(7) }])).toThrow(
    /expected a key of 4 float32 numbers, got 7 bytes in fact 9/,
  );
  expect(store.fingerprint()).toBe(before);
  expect(store.apply([])).toEqual([]);
});
