/** Reading over several memories: projections onto what each level holds. */
import { expect, test } from "vitest";
import { randomStream } from "../tensor/random.ts";
import { type Matrix, norm, zeros } from "./matrix.ts";
import { readRecursively } from "./recursive.ts";

const random = randomStream(1, "recursive");
const episodeOf = (rows: number, columns: number): Matrix => {
  const z = zeros(rows, columns);
  for (let i = 0; i < z.data.length; i++) z.data[i] = random.normal();
  return z;
};
const rowOf = ({ columns, data }: Matrix, row: number): Float64Array => data.slice(row * columns, (row + 1) * columns);

test("one memory: Algorithm 1, worked by hand", () => {
  // Onto the plane of the first two axes
  const plane = { rows: 2, columns: 3, data: Float64Array.from([1, 0, 0, 1, 1, 0]) };
  const { read, levels } = readRecursively([3, 4, 5], [plane]);
  expect(levels).toBe(1);
  [3, 4, 0].forEach((value, c) => expect(read[c]).toBeCloseTo(value, 12));
});

test("what was written is read back through all levels", () => {
  const episodes = Array.from({ length: 40 }, () => episodeOf(3, 300));
  for (const [piece, row] of [
    [0, 0],
    [17, 2],
    [39, 1],
  ]) {
    const written = rowOf(episodes[piece], row);
    const { read, levels } = readRecursively(written, episodes, { fanIn: 4 });
    expect(levels).toBe(4); // 40, 10, 3, 1
    // Its own memory gives it back whole, so the next level holds it, and so on
    for (let c = 0; c < 300; c++) expect(read[c]).toBeCloseTo(written[c], 9);
  }
});

test("what was never written is read faintly, and brought to a length where asked", () => {
  const episodes = Array.from({ length: 8 }, () => episodeOf(2, 400));
  const question = rowOf(episodeOf(1, 400), 0);
  const { read } = readRecursively(question, episodes);
  expect(norm(read)).toBeLessThan(0.5 * norm(question));
  expect(norm(readRecursively(question, episodes, { length: 20 }).read)).toBeCloseTo(20, 9);
});

test("refuses nothing and other widths", () => {
  expect(() => readRecursively([1, 2], [])).toThrow(/expected episodes/);
  expect(() => readRecursively([1, 2], [zeros(1, 3)])).toThrow(/latents of 2 numbers, got 3/);
});
