/** Nearest codes by matrix products against the search in doubles. */
import { describe, expect, it } from "vitest";
import { workbench } from "../../../tests/support/workbench.ts";
import { nearest as searched } from "../../memory/codebook.ts";
import { randomStream } from "../../tensor/random.ts";
import { createNearest } from "./nearest.ts";

const { runtime } = workbench("bank-nearest");

describe("nearest codes", () => {
  it.each([
    [5000, 3, 7],
    [40, 16, 512],
    [1, 1, 2],
  ])("of %i vectors of %i numbers among %i codes are those that a search finds", async (N, width, K) => {
    const random = randomStream(1, "nearest", N);
    const normal = (length: number): Float32Array => Float32Array.from({ length }, () => random.normal());
    const [vectors, codes] = [normal(N * width), normal(K * width)];
    const { nearest, dispose } = createNearest(runtime);
    const [got, want] = [await nearest(vectors, codes, width), searched(vectors, codes, width)];
    expect(got.errors).toHaveLength(N);
    // On a tie to the last bits of float32 either code will do
    for (const [n, error] of got.errors.entries()) expect(Math.abs(error - want.errors[n])).toBeLessThan(1e-5);
    const other = got.indices.filter((index, n) => index !== want.indices[n]).length;
    expect(other).toBeLessThan(3);
    await dispose();
  });
});
