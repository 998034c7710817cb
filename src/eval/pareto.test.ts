import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hypervolume } from "./hypervolume.ts";
import { dominates, paretoFront } from "./pareto.ts";

const share = fc.integer({ min: 0, max: 12 }).map((n) => n / 12);
const clouds = fc.array(fc.tuple(share, share), { maxLength: 12 });

describe("the Pareto front", () => {
  test("by hand: what another point beats goes, equal points stay, by falling first coordinate", () => {
    const points = [
      [0.2, 0.9],
      [0.5, 0.5],
      [0.4, 0.5],
      [0.8, 0.1],
      [0.5, 0.5],
      [0.1, 0.1],
    ];
    expect(paretoFront(points)).toEqual([3, 1, 4, 0]);
    expect(paretoFront([])).toEqual([]);
    expect(
      paretoFront([
        [Number.NaN, 1],
        [0, 0],
        [Number.POSITIVE_INFINITY, 0],
      ]),
    ).toEqual([1]);
    expect(dominates([1, 1], [1, 1])).toBe(false);
    expect(() => dominates([1], [1, 2])).toThrow("internal");
  });

  test("property: nobody on it is dominated, everybody off it is dominated by one on it", () => {
    fc.assert(
      fc.property(clouds, (points) => {
        const front = paretoFront(points);
        const on = new Set(front);
        expect(on.size).toBe(front.length);
        points.forEach((point, i) => {
          const beaten = (among: readonly number[]) => among.some((j) => dominates(points[j], point));
          if (on.has(i)) expect(beaten(points.map((_, j) => j))).toBe(false);
          else expect(beaten(front)).toBe(true);
        });
      }),
    );
  });
});

describe("the hypervolume", () => {
  test("by hand", () => {
    expect(hypervolume([])).toBe(0);
    expect(hypervolume([[0.5, 0.8]])).toBeCloseTo(0.4, 12);
    // 0.8*0.1 + 0.5*(0.5-0.1) + 0.2*(0.9-0.5)
    expect(
      hypervolume([
        [0.2, 0.9],
        [0.5, 0.5],
        [0.8, 0.1],
        [0.4, 0.4],
      ]),
    ).toBeCloseTo(0.36, 12);
    expect(
      hypervolume([
        [0.5, -0.2],
        [-1, 3],
        [0, 1],
      ]),
    ).toBe(0);
    expect(hypervolume([[0.5, 0.5]], [-1, -1])).toBeCloseTo(2.25, 12);
    // More retention than after learning is possible (a topic got better later).
    expect(hypervolume([[0.5, 1.1]])).toBeCloseTo(0.55, 12);
  });

  test("property: equals the count of dominated squares on the grid of the coordinates", () => {
    fc.assert(
      fc.property(clouds, (points) => {
        let squares = 0;
        for (let i = 0; i < 12; i++)
          for (let j = 0; j < 12; j++) if (points.some(([x, y]) => x * 12 > i + 0.5 && y * 12 > j + 0.5)) squares++;
        expect(hypervolume(points)).toBeCloseTo(squares / 144, 10);
      }),
    );
  });

  test("property: order and dominated points do not matter, one more point never lowers it", () => {
    fc.assert(
      fc.property(clouds, share, share, (points, x, y) => {
        const area = hypervolume(points);
        expect(hypervolume([...points].reverse())).toBeCloseTo(area, 12);
        expect(hypervolume(paretoFront(points).map((i) => points[i]))).toBeCloseTo(area, 12);
        const more = hypervolume([...points, [x, y]]);
        expect(more).toBeGreaterThanOrEqual(area - 1e-12);
        expect(more).toBeLessThanOrEqual(area + x * y + 1e-12);
      }),
    );
  });
});
