import { expect, test } from "vitest";
import { readingBeside } from "./reading.ts";

const one = Float32Array.of(1, 0, 0, 1);
const two = Float32Array.of(0, 1, 1, 0);
const own = new Map([
  [3, one],
  [7, two],
]);
const latents = { of: (fact: number) => own.get(fact), all: () => [...own.values()] };

test("the memory needs nothing beside it", () => {
  expect(readingBeside("memory", { width: 4, latents })).toBeUndefined();
});

test("nearest gives the very latent; a fact that was not observed is refused", () => {
  const nearest = readingBeside("nearest", { width: 4, latents });
  expect(nearest?.usesLatents).toBe(false);
  expect(nearest?.read(7, one)).toBe(two);
  expect(() => nearest?.read(5, one)).toThrow("larimar: expected a fact that was observed for the reading nearest");
});

test("recursive: the question's part within the span of an episode, at the length of latents", () => {
  const recursive = readingBeside("recursive", { width: 4, latents });
  // Of (2, 0, 0, 0) the span of both latents holds (1, 0, 0, 1); its length is sqrt(2), wanted is sqrt(4)
  const read = Array.from(recursive?.read(3, Float32Array.of(2, 0, 0, 0)) ?? []);
  const length = Math.sqrt(2);
  for (const [i, value] of [length, 0, 0, length].entries()) expect(read[i]).toBeCloseTo(value, 10);
});
