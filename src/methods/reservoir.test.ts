/** Algorithm R: every item is kept with equal probability (chi-square), and a reservoir continues exactly. */
import { describe, expect, it } from "vitest";
import { emptyReservoir, offer } from "./reservoir.ts";

const numbers = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

describe("offer", () => {
  it("keeps everything while there is room, then always `capacity` items", () => {
    const room = { capacity: 5, seed: 1 };
    expect(offer(emptyReservoir, numbers(0, 4), room)).toEqual({ items: [0, 1, 2, 3], seen: 4 });
    const full = offer(emptyReservoir, numbers(0, 100), room);
    expect(full.items).toHaveLength(5);
    expect(new Set(full.items).size).toBe(5);
    expect(full.seen).toBe(100);
  });

  it("is uniform over the stream, in every place", () => {
    const [capacity, stream, trials] = [6, 30, 4000];
    const kept = new Float64Array(stream);
    const first = new Float64Array(stream);
    for (let seed = 0; seed < trials; seed++) {
      const { items } = offer(emptyReservoir, numbers(0, stream), { capacity, seed });
      for (const item of items) kept[item]++;
      first[items[capacity - 1]]++;
    }
    const chiSquare = (counts: Float64Array, expected: number): number =>
      counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    // Kept or not: variance p (1 - p), 29 degrees of freedom; the quantile at 0.9999 is 66.2
    const p = capacity / stream;
    expect(chiSquare(kept, trials * p) / (1 - p)).toBeLessThan(66.2);
    // The last place: items before its own number cannot stand in it
    const possible = first.subarray(capacity - 1);
    expect(first.subarray(0, capacity - 1).every((count) => count === 0)).toBe(true);
    // Item 5 stays with probability prod (1 - 1/t) = 6/30, each later one has 1/30
    const expected = (i: number): number => (i === 0 ? (trials * capacity) / stream : trials / stream);
    const distance = possible.reduce((sum, count, i) => sum + (count - expected(i)) ** 2 / expected(i), 0);
    // 24 degrees of freedom: 58.6 at 0.9999
    expect(distance).toBeLessThan(58.6);
  });

  it("continues as it would have without a stop, and leaves the old reservoir as it is", () => {
    const options = { capacity: 7, seed: 9 };
    const whole = offer(emptyReservoir, numbers(0, 60), options);
    const half = offer(emptyReservoir, numbers(0, 23), options);
    const copy = [...half.items];
    expect(offer(half, numbers(23, 60), options)).toEqual(whole);
    expect(half.items).toEqual(copy);
    expect(offer(emptyReservoir, numbers(0, 60), { capacity: 7, seed: 10 })).not.toEqual(whole);
  });

  it("refuses no room", () => {
    expect(() => offer(emptyReservoir, [1], { capacity: 0, seed: 1 })).toThrow("capacity of at least 1, got 0");
  });
});
