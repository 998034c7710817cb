/** Coding by the runtime against the quantisers' own search, and against all sums of codes there are. */
import { describe, expect, it } from "vitest";
import { workbench } from "../../../tests/support/workbench.ts";
import type { Codebook } from "../../memory/codebook.ts";
import { createQuantizer } from "../../memory/quantizers.ts";
import { randomStream } from "../../tensor/random.ts";
import { createCoder } from "./coder.ts";

const { runtime } = workbench("bank-coder");

const random = randomStream(2, "coder");
const normal = (length: number): Float32Array => Float32Array.from({ length }, () => random.normal());
const residual: Codebook = { kind: "residual", tokens: 4, width: 3, codes: 5, books: 3, data: normal(45) };
const token: Codebook = { kind: "token", tokens: 2, width: 6, codes: 8, books: 1, data: normal(48) };
const sum = (values: ArrayLike<number>): number => Array.from(values).reduce((a, b) => a + b, 0);

describe("coding", () => {
  it.each([
    [residual, 1],
    [token, 1],
    [token, 4],
  ])("codes are the nearest of each book", async (codebook, beams) => {
    const { encode, dispose } = createCoder(runtime, { beams });
    const slots = normal(12 * 25);
    const [got, want] = [await encode(codebook, slots), createQuantizer(codebook).encode(slots)];
    expect(got.indices).toEqual(want.indices);
    expect(got.errors).toHaveLength(want.errors.length);
    for (const [at, error] of got.errors.entries()) expect(error).toBeCloseTo(want.errors[at], 5);
    await dispose();
  });

  it("with as many beams as there are sums finds the best of all, and with fewer is between", async () => {
    const { codes, width, data } = residual;
    const slots = normal(12 * 10);
    const errors: number[] = [];
    for (const beams of [1, 3, 64]) {
      const { encode, dispose } = createCoder(runtime, { beams });
      const found = await encode(residual, slots);
      const decoded = createQuantizer(residual).decode(found.indices);
      // What is said of the error is what decoding gives
      for (let n = 0; n < found.errors.length; n++) {
        let error = 0;
        for (let i = n * width; i < (n + 1) * width; i++) error += (slots[i] - decoded[i]) ** 2;
        expect(found.errors[n]).toBeCloseTo(error, 4);
      }
      errors.push(sum(found.errors));
      await dispose();
    }
    let best = 0;
    for (let n = 0; n < slots.length / width; n++) {
      let least = Number.POSITIVE_INFINITY;
      for (let sumOf = 0; sumOf < codes ** 3; sumOf++) {
        const chosen = [sumOf % codes, Math.floor(sumOf / codes) % codes, Math.floor(sumOf / codes ** 2)];
        let error = 0;
        for (let i = 0; i < width; i++) {
          const said = chosen.reduce((total, code, book) => total + data[(book * codes + code) * width + i], 0);
          error += (slots[n * width + i] - said) ** 2;
        }
        least = Math.min(least, error);
      }
      best += least;
    }
    expect(errors[2]).toBeCloseTo(best, 3);
    expect(errors[1]).toBeLessThan(errors[0]);
    expect(errors[1]).toBeGreaterThanOrEqual(best - 1e-4);
  });
});
