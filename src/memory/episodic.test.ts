import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { expectClose } from "../../tests/support/close.ts";
import { randomStream } from "../tensor/random.ts";
import { referenceAddressing } from "./addressing.ts";
import { createEpisodicMemory, type EpisodicMemory, readRepeatedly } from "./episodic.ts";
import { roundedRows } from "./statistics.ts";

const K = 6;
const C = 9;

type Fact = { key: number[]; value: number[] };

/** A fact of its own: rounded, so that an oracle works on the very numbers that the memory keeps. */
function fact(seed: number, slots = K, width = C): Fact {
  const random = randomStream(seed, "fact");
  const raw = Array.from({ length: slots }, () => random.normal());
  const length = Math.hypot(...raw);
  const key = roundedRows(
    raw.map((x) => x / length),
    slots,
    "test",
  );
  const value = roundedRows(
    Array.from({ length: width }, () => random.normal()),
    width,
    "test",
  );
  return { key: [...key.data], value: [...value.data] };
}

/** Solves A X = B by elimination with row pivots, written out again for the test. */
function solve(a: number[][], b: number[][]): number[][] {
  const n = a.length;
  const m = a.map((row, i) => [...row, ...b[i]]);
  for (let k = 0; k < n; k++) {
    let pivot = k;
    for (let i = k; i < n; i++) if (Math.abs(m[i][k]) > Math.abs(m[pivot][k])) pivot = i;
    [m[k], m[pivot]] = [m[pivot], m[k]];
    for (let i = 0; i < n; i++) {
      if (i === k) continue;
      const factor = m[i][k] / m[k][k];
      for (let j = k; j < m[i].length; j++) m[i][j] -= factor * m[k][j];
    }
  }
  return m.map((row, i) => row.slice(n).map((x) => x / row[i]));
}

/** argmin_M Σ |z - w M|² + λ |M|² over all facts at once. */
function batch(facts: Fact[], ridge: number, slots = K, width = C): number[] {
  const c = Array.from({ length: slots }, (_, i) =>
    Array.from(
      { length: slots },
      (_, j) => (i === j ? ridge : 0) + facts.reduce((sum, f) => sum + f.key[i] * f.key[j], 0),
    ),
  );
  const s = Array.from({ length: slots }, (_, i) =>
    Array.from({ length: width }, (_, j) => facts.reduce((sum, f) => sum + f.key[i] * f.value[j], 0)),
  );
  return solve(c, s).flat();
}

const times = (w: number[], m: number[], width = C): number[] =>
  Array.from({ length: width }, (_, j) => w.reduce((sum, x, k) => sum + x * m[k * width + j], 0));

const memoryWith = (facts: Fact[], ridge = 1e-4): EpisodicMemory => {
  const memory = createEpisodicMemory({ slots: K, width: C, ridge });
  for (const { key, value } of facts) memory.write(key, value);
  return memory;
};

describe("episodic memory", () => {
  it("after any writes and forgets equals the batch least squares of what remains", () => {
    // 0 .. 3 K facts come, in any order with what goes: fewer than, as many as and more than slots.
    const history = fc.array(fc.record({ forget: fc.boolean(), pick: fc.nat(1000) }), { maxLength: 60 });
    fc.assert(
      fc.property(history, fc.constantFrom(1e-1, 1e-4), fc.integer({ min: 1, max: 18 }), (steps, ridge, most) => {
        const memory = createEpisodicMemory({ slots: K, width: C, ridge });
        const live: Fact[] = [];
        steps.forEach(({ forget, pick }, step) => {
          if (live.length > 0 && (forget || live.length >= most)) {
            const [gone] = live.splice(pick % live.length, 1);
            memory.forget(gone.key, gone.value);
          } else {
            live.push(fact(pick * 100 + step));
            memory.write(live[live.length - 1].key, live[live.length - 1].value);
          }
        });
        const wanted = batch(live, ridge);
        expect(memory.count()).toBe(live.length);
        expectClose("M", memory.matrix().data, wanted, { absolute: 1e-8, relative: 1e-8 });
        for (const { key } of live) {
          expectClose("read", memory.read(key), times(key, wanted), { absolute: 1e-8, relative: 1e-8 });
        }
        expect(memory.equals(memoryWith(live.toReversed(), ridge))).toBe(true);
      }),
      { numRuns: 60, seed: 4 },
    );
  });

  it("has the same bits written one by one, at once, or with others that came and went", () => {
    const facts = [1, 2, 3, 4].map((seed) => fact(seed));
    const once = createEpisodicMemory({ slots: K, width: C });
    once.write(
      facts.flatMap(({ key }) => key),
      facts.flatMap(({ value }) => value),
    );
    const other = memoryWith([fact(9), ...facts]);
    other.forget(fact(9).key, fact(9).value);
    expect(once.equals(memoryWith(facts))).toBe(true);
    expect(once.equals(other)).toBe(true);
    expect(once.equals(memoryWith(facts.slice(1)))).toBe(false);
    expectClose("read", once.read(facts[0].key), other.read(facts[0].key), { absolute: 1e-12, relative: 0 });
  });

  it.each([3, 6, 18])("forgets one of %i facts as if it had never been written", (n) => {
    const facts = Array.from({ length: n }, (_, i) => fact(i));
    // λ = 1e-2 and keys of length one: a condition number below 1e3.
    const memory = memoryWith(facts, 1e-2);
    const never = memoryWith(facts.slice(1), 1e-2);
    memory.forget(facts[0].key, facts[0].value);
    expect(never.monitor().condition).toBeLessThan(1e3);
    expectClose("M", memory.matrix().data, never.matrix().data, { absolute: 0, relative: 0 });
    expectClose("read", memory.read(facts[0].key), never.read(facts[0].key), { absolute: 1e-12, relative: 0 });
  });

  it("substitutes a fact exactly: forgotten, and 'unknown' written under its key", () => {
    const facts = Array.from({ length: 5 }, (_, i) => fact(i));
    const unknown = fact(77).value;
    const memory = memoryWith(facts, 1e-8);
    memory.forget(facts[2].key, facts[2].value);
    memory.write(facts[2].key, unknown);
    expectClose("unknown", memory.read(facts[2].key), unknown, { absolute: 1e-5, relative: 0 });
    for (const i of [0, 1, 3, 4]) {
      expectClose("retained", memory.read(facts[i].key), facts[i].value, { absolute: 1e-5, relative: 0 });
    }
    const other = [...facts.slice(0, 2), ...facts.slice(3), { ...facts[2], value: unknown }];
    expect(memory.equals(memoryWith(other, 1e-8))).toBe(true);
  });

  it("recalls up to as many facts as slots, and no more", () => {
    const error = (n: number): number => {
      const facts = Array.from({ length: n }, (_, i) => fact(i));
      const memory = memoryWith(facts, 1e-8);
      const errors = facts.map(({ key, value }) => {
        const read = memory.read(key);
        return Math.hypot(...value.map((z, j) => z - read[j])) / Math.hypot(...value);
      });
      return errors.reduce((a, b) => a + b, 0) / n;
    };
    expect(error(K - 1)).toBeLessThan(1e-4);
    expect(error(K)).toBeLessThan(1e-4);
    expect(error(K + 3)).toBeGreaterThan(0.2);
    expect(error(4 * K)).toBeGreaterThan(0.6);
  });

  it("tells how full it is", () => {
    const facts = [fact(1), fact(2), fact(3), fact(3)]; // the last two share a direction
    const { count, rank, left, full, condition } = memoryWith(facts, 1e-6).monitor();
    expect([count, left, full]).toEqual([4, 3, false]);
    expect(rank).toBeCloseTo(3, 3);
    expect(condition).toBeGreaterThan(1e6);
    expect(condition).toBeLessThan(4e6);
    expect(memoryWith([...facts, fact(4)]).monitor().full).toBe(true);
    expect(createEpisodicMemory({ slots: K, width: C }).monitor()).toMatchObject({ count: 0, rank: 0, left: K });
  });

  it("scales what is read, by a factor or to the length written", () => {
    const memory = memoryWith([fact(1)], 1);
    const half = memory.read(fact(1).key);
    const { value } = fact(1);
    expectClose(
      "ridge 1 halves",
      half,
      value.map((z) => z / 2),
      { absolute: 1e-5, relative: 0 },
    );
    expectClose("twice", memory.read(fact(1).key, { scale: 2 }), value, { absolute: 1e-5, relative: 0 });
    expectClose("written", memory.read(fact(1).key, { scale: "written" }), value, { absolute: 1e-5, relative: 0 });
  });

  it("generates w M, and reads with noise, from seeded numbers", () => {
    const memory = memoryWith([fact(1), fact(2)]);
    const random = randomStream(5);
    const weights = Array.from({ length: K }, () => random.normal());
    const m = [...memory.matrix().data];
    expectClose("generate", memory.generate(randomStream(5)), times(weights, m), { absolute: 1e-9, relative: 1e-9 });
    const noisy = fact(1).key.map((w, k) => w + 0.1 * weights[k]);
    const noise = { sigma: 0.1, random: randomStream(5) };
    expectClose("noisy", memory.read(fact(1).key, { noise }), times(noisy, m), { absolute: 1e-9, relative: 1e-9 });
  });

  it("reads again from what it read", () => {
    // Values are latents, so an answer can ask: fact 1 leads to fact 2.
    const reference = {
      rows: K,
      columns: C,
      data: Float64Array.from({ length: K * C }, (_, i) => +(i % (C + 1) === 0)),
    };
    const { keys } = referenceAddressing(reference);
    const unit = (k: number): number[] => Array.from({ length: C }, (_, j) => +(j === k));
    const memory = createEpisodicMemory({ slots: K, width: C, ridge: 1e-9 });
    memory.write(keys(unit(0)), unit(1));
    memory.write(keys(unit(1)), unit(2));
    const near = { absolute: 1e-6, relative: 0 };
    expectClose("once", readRepeatedly(memory, keys, unit(0)), unit(1), near);
    expectClose("twice", readRepeatedly(memory, keys, unit(0), { iterations: 2 }), unit(2), near);
  });

  it("saves and restores its bits", () => {
    const memory = memoryWith([fact(1), fact(2), fact(3)]);
    const copy = createEpisodicMemory({ slots: K, width: C });
    copy.restore(memory.state());
    expect(copy.equals(memory)).toBe(true);
    copy.forget(fact(2).key, fact(2).value);
    expect(copy.equals(memoryWith([fact(1), fact(3)]))).toBe(true);
    expect(memory.count()).toBe(3);
    expect(memory.bytes()).toBeGreaterThan(8 * (21 + K * C));
  });

  it("refuses a damaged or foreign state and stays as it is", () => {
    const memory = memoryWith([fact(1)]);
    const { tensors, json } = memory.state();
    const foreign = createEpisodicMemory({ slots: 5, width: C }).state();
    const odd = { ...tensors.c, data: BigInt64Array.from(tensors.c.data as BigInt64Array, (bits) => bits + 1n) };
    const nan = new BigInt64Array(new Float64Array(K * C).fill(Number.NaN).buffer);
    for (const [state, message] of [
      [foreign, /^episodic.restore: expected a memory with slots 6, got 5;/],
      [{ tensors: { ...tensors, c: odd }, json }, /^episodic.restore: expected sums of rounded facts/],
      [{ tensors: { ...tensors, s: { ...tensors.s, data: nan } }, json }, /^memory.restore: expected finite numbers/],
      [{ tensors: { c: tensors.c }, json }, /^memory.restore: expected s as int64 \[6, 9\], got nothing/],
      [{ tensors, json: { ...json, count: "1" } }, /^memory.restore: expected count as a number/],
    ] as const) {
      expect(() => memory.restore(state)).toThrow(message);
      expect(memory.equals(memoryWith([fact(1)]))).toBe(true);
    }
  });

  it("refuses bad facts and stays as it is", () => {
    const memory = memoryWith([fact(1), fact(2)]);
    const { key, value } = fact(3);
    const bad = (x: number): number[] => key.map((w, k) => (k === 2 ? x : w));
    const zero = new Float32Array(K);
    for (const [act, message] of [
      [() => memory.write(bad(Number.NaN), value), /^episodic.write keys: expected finite numbers, got NaN in row 0/],
      [() => memory.write(key, value.slice(1)), /^episodic.write values: expected rows of 9 numbers, got 8/],
      [() => memory.write([...key, ...key], value), /^episodic.write: expected a value for each key, got 2 keys, 1 va/],
      [() => memory.write(zero, value), /^episodic.write: expected keys of a length near one, got zeros/],
      [() => memory.write(bad(100), value), /^episodic.write: expected keys and values whose sums stay exact/],
      [() => memory.forget(key, value), /^episodic.forget: expected a fact that is in the memory, got a key that none/],
      [() => memory.forget([...fact(1).key, ...key], [...value, ...value]), /^episodic.forget: .*none was written/],
      [() => memory.forget([...key, ...key, ...key], [...value, ...value, ...value]), /3 facts to forget of 2/],
    ] as const) {
      expect(act).toThrow(message);
      expect(memory.equals(memoryWith([fact(1), fact(2)]))).toBe(true);
    }
    const one = memoryWith([fact(1)]);
    expect(() => one.forget(fact(1).key, value)).toThrow(/got another key or value than the one written/);
    expect(one.equals(memoryWith([fact(1)]))).toBe(true);
    expect(() => createEpisodicMemory({ slots: 10, width: 9 })).toThrow(/expected a width of at least 10/);
    expect(() => createEpisodicMemory({ slots: 4, width: 9, ridge: 0 })).toThrow(/expected a ridge above 0/);
    const thin = createEpisodicMemory({ slots: K, width: C, ridge: 1e-14 });
    expect(() => thin.write(key, value)).toThrow(/expected a ridge above/);
  });

  it("makes its inverse anew where updates would lose digits, and reads as before", () => {
    const facts = Array.from({ length: K }, (_, i) => fact(i));
    const memory = memoryWith(facts, 1e-10); // taking a fact out leaves a pivot near 1e-10
    const before = memory.monitor().rebuilds;
    memory.forget(facts[0].key, facts[0].value);
    expectClose("read", memory.read(facts[1].key), facts[1].value, { absolute: 1e-5, relative: 0 });
    expect(memory.monitor().rebuilds).toBeGreaterThan(before);
    const gentle = memoryWith(facts);
    gentle.forget(facts[0].key, facts[0].value);
    expect(gentle.monitor().rebuilds).toBe(0);
  });
});
