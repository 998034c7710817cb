import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { expectClose } from "../../tests/support/close.ts";
import { randomStream } from "../tensor/random.ts";
import { createEpisodes, type Episodes, type EpisodesOptions } from "./episodes.ts";
import { createEpisodicMemory } from "./episodic.ts";

const K = 8;
const C = 10;
const options: EpisodesOptions = { slots: K, width: C, ridge: 1e-8 };

/** Key of length one and a value, as an encoder gives them. */
function fact(seed: number): { key: Float32Array; value: Float32Array } {
  const random = randomStream(seed, "fact");
  const key = random.fillNormal(new Float32Array(K));
  const length = Math.hypot(...key);
  return { key: key.map((x) => x / length), value: random.fillNormal(new Float32Array(C)) };
}

function storeWith(n: number, more: Partial<EpisodesOptions> = {}): Episodes {
  const store = createEpisodes({ ...options, ...more });
  for (let i = 1; i <= n; i++) store.write(fact(i).key, fact(i).value);
  return store;
}

const joined = (rows: readonly Float32Array[]): Float32Array => Float32Array.from(rows.flatMap((row) => [...row]));

describe("several memories", () => {
  it("recall every fact past the capacity of one, each from its own", () => {
    const store = storeWith(50); // six to a memory
    expect(store.memories().map((memory) => memory.count())).toEqual([6, 6, 6, 6, 6, 6, 6, 6, 2]);
    for (let i = 1; i <= 50; i++) {
      const reading = store.read(fact(i).key);
      expect(reading).toMatchObject({ fact: i, memory: Math.floor((i - 1) / 6) });
      expect(reading?.similarity).toBeCloseTo(1, 6);
      // Six random keys of eight numbers can lie close together; the ridge then costs digits.
      expectClose(`fact ${i}`, reading?.value ?? [], fact(i).value, { absolute: 1e-2, relative: 0 });
    }
    expect(createEpisodes(options).read(fact(1).key)).toBeUndefined();
  });

  it("find the fact of a question that is near its key, among thousands", () => {
    const [wide, n] = [32, 3000];
    const store = createEpisodes({ slots: 4, width: 4, routeWidth: wide, limit: 1000 });
    const random = randomStream(1);
    const routes = random.fillNormal(new Float32Array(n * wide));
    const keys = Float32Array.from({ length: n * 4 }, (_, i) => +(i % 4 === 0));
    store.write(keys, random.fillNormal(new Float32Array(n * 4)), { routes });
    let right = 0;
    for (let row = 0; row < n; row += 100) {
      const route = routes.slice(row * wide, (row + 1) * wide).map((x) => x + 0.3 * random.normal());
      // The oracle: cosines with all of them.
      let [best, nearest] = [-2, -1];
      for (let other = 0; other < n; other++) {
        const theirs = routes.subarray(other * wide, (other + 1) * wide);
        const product = route.reduce((sum, x, j) => sum + x * theirs[j], 0);
        const cosine = product / Math.hypot(...route) / Math.hypot(...theirs);
        if (cosine > best) [best, nearest] = [cosine, other];
      }
      right += +(store.read([1, 0, 0, 0], { route })?.fact === nearest + 1);
    }
    expect(right).toBe(30);
  });

  it("equal the ledger's live facts after any writes and forgets", () => {
    const history = fc.array(fc.record({ forget: fc.boolean(), pick: fc.nat(1000) }), { maxLength: 60 });
    fc.assert(
      fc.property(history, (steps) => {
        const store = createEpisodes(options);
        const ledger: { fact: number; memory: number; seed: number }[] = [];
        steps.forEach(({ forget, pick }, step) => {
          if (forget && ledger.length > 0) {
            const [gone] = ledger.splice(pick % ledger.length, 1);
            expect(store.forget(gone.fact, fact(gone.seed).key, fact(gone.seed).value)).toBe(gone.memory);
          } else {
            const [place] = store.write(fact(step).key, fact(step).value);
            ledger.push({ ...place, seed: step });
          }
        });
        expect(store.memories().every((memory) => memory.count() <= 6)).toBe(true);
        const replay = createEpisodes(options);
        const facts = ledger.map(({ seed }) => fact(seed));
        replay.write(joined(facts.map(({ key }) => key)), joined(facts.map(({ value }) => value)), {
          facts: ledger.map((row) => row.fact),
          memories: ledger.map((row) => row.memory),
        });
        expect(replay.equals(store)).toBe(true);
        const copy = createEpisodes(options);
        copy.restore(store.state());
        expect(copy.equals(store)).toBe(true);
        for (const { seed } of ledger) {
          expect(copy.read(fact(seed).key)?.fact).toBe(store.read(fact(seed).key)?.fact);
        }
      }),
      { numRuns: 40, seed: 4 },
    );
  });

  it("take a batch as they take one fact after another", () => {
    const facts = Array.from({ length: 20 }, (_, i) => fact(i + 1));
    const store = createEpisodes(options);
    const places = store.write(joined(facts.map(({ key }) => key)), joined(facts.map(({ value }) => value)));
    expect(places.map(({ fact: number }) => number)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
    expect(store.equals(storeWith(20))).toBe(true);
    expect(store.equals(storeWith(19))).toBe(false);
  });

  it("fill the room that a forgotten fact leaves", () => {
    const store = storeWith(13);
    expect(store.forget(2, fact(2).key, fact(2).value)).toBe(0);
    expect(store.write(fact(99).key, fact(99).value)).toEqual([{ fact: 14, memory: 0 }]);
    expect(store.memoryOf(14)).toBe(0);
    expect(store.memoryOf(2)).toBeUndefined();
    expect(store.count()).toBe(13);
    const plain = createEpisodicMemory(options);
    for (const i of [1, 3, 4, 5, 6, 99]) plain.write(fact(i).key, fact(i).value);
    expect(store.memories()[0].equals(plain)).toBe(true);
  });

  it("refuse what does not fit and stay as they are", () => {
    const store = storeWith(8, { growth: false });
    const { key, value } = fact(100);
    const huge = joined([key.map((x) => x * 1000)]);
    const growing = storeWith(5);
    const two = joined([key, key]);
    const values = joined([value, value]);
    for (const [act, message] of [
      [() => store.write(key, value), /^episodes.write: expected room for 1 more facts, got 0 of 8 free and growth/],
      [() => store.forget(9, key, value), /^episodes.forget: expected a fact that is in, got 9;/],
      [() => store.forget(1, fact(1).key, value), /^episodes.forget: expected key and value of fact 1 as written/],
      [() => growing.write(key, value, { facts: [3] }), /expected a whole number no other fact has, got 3/],
      [() => growing.write(two, values, { facts: [9, 9] }), /expected a whole number no other fact has, got 9/],
      [() => growing.write(two, values, { memories: [0, 0] }), /expected at most 6 facts in memory 0, got one more/],
      [() => growing.write(two, value), /expected a value, a route and a number for each of 2 keys, got 1 values/],
      [() => growing.write(joined([key, huge]), values), /expected keys and values whose sums stay exact/],
      [() => growing.read(two), /^episodes.read: expected one key of 8 numbers and one route of 8, got 2 and 2/],
    ] as const) {
      expect(act).toThrow(message);
      expect(store.equals(storeWith(8, { growth: false }))).toBe(true);
      expect(growing.equals(storeWith(5))).toBe(true);
    }
    expect(() => createEpisodes({ ...options, limit: 0 })).toThrow(/expected whole limit and routeWidth/);
    expect(() => createEpisodes({ ...options, limit: 5 }).restore(growing.state())).toThrow(/with limit 5, got 6/);
    const { tensors, json } = growing.state();
    expect(() => growing.restore({ tensors, json: { ...json, counts: [4] } })).toThrow(/memories that hold 5 facts/);
  });
});
