/** Nearest codes by matrix products against the search in doubles. */
import { describe, expect, it } from "vitest";
import { workbench } from "../../../tests/support/workbench.ts";
import { type Codebook, nearest as searched } from "../../memory/codebook.ts";
import { createQuantizer } from "../../memory/quantizers.ts";
import { randomStream } from "../../tensor/random.ts";
import { createCoder } from "./coder.ts";
import { createNearest, followed, followingCodebook } from "./nearest.ts";

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

it("is compiled again after a failure", async () => {
  let failures = 1;
  const compile: typeof runtime.compile = async (...asked) => {
    if (failures-- > 0) throw new Error("no room");
    return runtime.compile(...asked);
  };
  for (const search of [
    async () => {
      const { nearest, dispose } = createNearest({ ...runtime, compile });
      return {
        find: async () => [...(await nearest(Float32Array.of(1, 9), Float32Array.of(0, 8), 1)).indices],
        dispose,
      };
    },
    async () => {
      const { encode, dispose } = createCoder({ ...runtime, compile });
      const book: Codebook = { kind: "token", tokens: 2, width: 1, codes: 2, books: 1, data: Float32Array.of(0, 8) };
      return { find: async () => [...(await encode(book, Float32Array.of(1, 9))).indices], dispose };
    },
  ]) {
    failures = 1;
    const { find, dispose } = await search();
    await expect(find()).rejects.toThrow("no room");
    expect(await find()).toEqual([0, 1]);
    await dispose();
  }
});

describe("codebooks", () => {
  it("follow vectors by k-means: 0 and 1, 10 and 11", async () => {
    const { nearest, dispose } = createNearest(runtime);
    const codes = Float32Array.of(3, 9, 1000);
    const vectors = Float32Array.of(0, 1, 10, 11);
    const { counts } = await followed(vectors, { codes, width: 1 }, nearest, 3);
    expect([...codes]).toEqual([0.5, 10.5, 1000]);
    expect([...counts]).toEqual([2, 2, 0]);
    const pairs: Codebook = {
      kind: "residual",
      tokens: 1,
      width: 1,
      codes: 2,
      books: 2,
      data: Float32Array.of(3, 9, -2, 2),
    };
    const moved = await followingCodebook(pairs, vectors, nearest);
    expect([...moved.data]).toEqual([0.5, 10.5, -0.5, 0.5]);
    expect([...pairs.data]).toEqual([3, 9, -2, 2]);
    expect([...createQuantizer(moved).encode(vectors).errors]).toEqual([0, 0, 0, 0]);
    await dispose();
  });
});
