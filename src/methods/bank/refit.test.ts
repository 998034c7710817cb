/** Refitting by hand: averages of codes and what chose them, dead codes, residual books in turn. */
import { expect, test } from "vitest";
import type { Codebook } from "../../memory/codebook.ts";
import { randomStream } from "../../tensor/random.ts";
import { refitCodebook } from "./refit.ts";

const random = () => randomStream(1, "refit");
const book = (kind: Codebook["kind"], books: number, ...data: number[]): Codebook => {
  return { kind, tokens: 1, width: 1, codes: 2, books, data: Float32Array.from(data) };
};
const slots = (...parts: (readonly [count: number, value: number])[]): Float32Array =>
  Float32Array.from(parts.flatMap(([count, value]) => Array.from({ length: count }, () => value)));

test("codes move half the way to the mean of what chose them, where all are met alike", async () => {
  const codebook = book("token", 1, 0, 10);
  await refitCodebook(codebook, slots([8, 2], [8, 12]), { counts: [3, 3], random: random() });
  // As many before as now: (8 x 0 + 8 x 2) / 16 and (8 x 10 + 8 x 12) / 16
  expect([...codebook.data]).toEqual([expect.closeTo(1, 4), expect.closeTo(11, 4)]);
});

test("a code that neither entries nor slots use goes where the error is largest; one that entries use stays", async () => {
  const dead = book("token", 1, 0, 10);
  await refitCodebook(dead, slots([16, 12]), { counts: [0, 5], random: random() });
  // (8 x 10 + 16 x 12) / 24, and near 12
  expect(dead.data[1]).toBeCloseTo(34 / 3, 4);
  expect(Math.abs(dead.data[0] - 12)).toBeLessThan(0.2);
  const used = book("token", 1, 0, 10);
  await refitCodebook(used, slots([16, 12]), { counts: [1, 5], random: random() });
  expect(used.data[0]).toBe(0);
  // Few slots say nothing about codes that they do not choose
  const few = book("token", 1, 0, 10);
  await refitCodebook(few, slots([4, 12]), { counts: [0, 0], random: random() });
  expect(few.data[0]).toBe(0);
});

test("a later book is fitted to what the ones before it leave now", async () => {
  const codebook = book("residual", 2, 0, 10, 0, 1);
  await refitCodebook(codebook, slots([8, 2], [8, 12]), { counts: [3, 3, 3, 3], random: random() });
  // The first book leaves 1 of each, which all choose the 1
  expect(Array.from(codebook.data).slice(2)).toEqual([0, expect.closeTo(1, 4)]);
});
