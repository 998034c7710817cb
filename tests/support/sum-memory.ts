/**
 * The smallest memory that a ledger can keep: each place holds the sum of what is in it, in whole numbers, so that
 * adding and taking away are exact in any order. A place takes a few facts and no more.
 */
import { UserError } from "../../src/errors.ts";
import type { MemoryStore, PlacedFact, StoredFact } from "../../src/memory/memory-store.ts";
import type { NewFact } from "../../src/runs/ledger-fact.ts";

interface Place {
  readonly sum: Int32Array;
  readonly facts: Set<number>;
}

const width = 8;
export const sumIdentity = { memory: `sums of ${width}`, base: "a".repeat(64), module: "b".repeat(64) };

/** Key and value of a text: any bytes that depend on it. */
function sumVectors(text: string, bytes = width): Pick<NewFact, "key" | "value"> {
  const make = (salt: number): Uint8Array => {
    let word = salt;
    return Uint8Array.from({ length: bytes }, (_, i) => {
      word = Math.imul(word ^ (text.charCodeAt(i % text.length) + i), 0x01000193);
      return word >>> 24;
    });
  };
  return { key: make(0x811c9dc5), value: make(0x9e3779b9) };
}

export const sumFact = (prompt: string, target: string, more: Partial<NewFact> = {}): NewFact => ({
  prompt,
  target,
  source: "test",
  ...sumVectors(`${prompt}|${target}`),
  ...more,
});

/** `room`: facts to a place; `places` at most. */
export function sumMemory({ room = 4, places: most = 1e6 }: { room?: number; places?: number } = {}): MemoryStore {
  let places: Place[] = [];
  const at = (i: number): Place => {
    while (places.length <= i) places.push({ sum: new Int32Array(2 * width), facts: new Set() });
    return places[i];
  };
  const add = ({ sum }: Place, { key, value }: StoredFact, sign: number): void => {
    for (let i = 0; i < width; i++) {
      sum[i] += sign * key[i] * value[i];
      sum[width + i] += sign * value[i] * (i + 1);
    }
  };
  const put = (fact: StoredFact, i: number): void => {
    const place = at(i);
    if (place.facts.has(fact.fact) || place.facts.size >= room) throw new Error(`no room for ${fact.fact} in ${i}`);
    add(place, fact, 1);
    place.facts.add(fact.fact);
  };
  const remove = (facts: readonly PlacedFact[]): void => {
    for (const fact of facts) {
      const place = at(fact.placement);
      if (!place.facts.delete(fact.fact)) throw new Error(`no fact ${fact.fact} in ${fact.placement}`);
      add(place, fact, -1);
    }
  };
  return {
    apply(facts) {
      const placed: PlacedFact[] = [];
      for (const fact of facts) {
        let i = 0;
        while (i < places.length && places[i].facts.size >= room) i++;
        if (i >= most) {
          remove(placed);
          throw new UserError(`write: expected room in ${most} places, got none; forget some facts`);
        }
        put(fact, i);
        placed.push({ ...fact, placement: i });
      }
      return placed.map(({ placement }) => placement);
    },
    replay: (facts) => facts.forEach((fact) => put(fact, fact.placement)),
    remove,
    snapshot: () => ({
      tensors: {
        sums: {
          dtype: "int32",
          shape: [places.length, 2 * width],
          data: Int32Array.from(places.flatMap(({ sum }) => [...sum])),
        },
      },
      json: { facts: places.map(({ facts }) => [...facts]) },
    }),
    restore({ tensors, json }) {
      const sums = tensors.sums.data as Int32Array;
      places = (json.facts as number[][]).map((facts, i) => ({
        sum: sums.slice(2 * width * i, 2 * width * (i + 1)),
        facts: new Set(facts),
      }));
    },
    fingerprint: () =>
      JSON.stringify(
        places.flatMap(({ sum, facts }, i) =>
          facts.size > 0 ? [[i, [...sum], [...facts].toSorted((a, b) => a - b)]] : [],
        ),
      ),
  };
}
