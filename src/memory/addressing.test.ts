import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { expectClose } from "../../tests/support/close.ts";
import { randomStream } from "../tensor/random.ts";
import {
  episodeReference,
  gaussianAddressing,
  memoryAddressing,
  randomReference,
  referenceAddressing,
} from "./addressing.ts";
import { createEpisodicMemory } from "./episodic.ts";
import { product } from "./matrix.ts";
import { pseudoInverse } from "./pseudo-inverse.ts";

const K = 4;
const C = 6;
const latents = (n: number, seed: number): Float64Array => {
  const random = randomStream(seed, "latents");
  return Float64Array.from({ length: n * C }, () => random.normal());
};
const near = { absolute: 1e-10, relative: 1e-10 };

describe("addressing", () => {
  it("by a reference gives the directions of z R⁺", () => {
    const reference = randomReference(K, C, randomStream(1));
    const z = latents(3, 2);
    const whole = product({ rows: 3, columns: C, data: z }, pseudoInverse(reference));
    const raw = referenceAddressing(reference, { normalise: false });
    expect([raw.slots, raw.width]).toEqual([K, C]);
    expectClose("z R⁺", raw.keys(z), whole.data, near);
    const keys = referenceAddressing(reference).keys(z);
    for (let row = 0; row < 3; row++) {
      const length = Math.hypot(...whole.data.subarray(row * K, (row + 1) * K));
      const unit = whole.data.subarray(row * K, (row + 1) * K).map((x) => x / length);
      expectClose("of length one", keys.subarray(row * K, (row + 1) * K), unit, near);
    }
    expectClose("row 2 of R has key e2", raw.keys(reference.data.subarray(2 * C, 3 * C)), [0, 0, 1, 0], near);
    expectClose("zeros", referenceAddressing(reference).keys(new Float64Array(C)), [0, 0, 0, 0], near);
  });

  it("by the memory itself reads the projection onto what was written", () => {
    const memory = createEpisodicMemory({ slots: K, width: C, ridge: 1e-9 });
    const written = latents(2, 3);
    memory.write(referenceAddressing(randomReference(K, C, randomStream(4))).keys(written), written);
    const m = memory.matrix();
    // Rounding leaves traces in the directions that nothing was written in; they are no part of the memory.
    const { keys } = memoryAddressing(m, { invert: (a) => pseudoInverse(a, { tolerance: 1e-5 }) });
    const z = { rows: 2, columns: C, data: written };
    const query = latents(1, 5);
    const projection = product(product({ rows: 1, columns: C, data: query }, pseudoInverse(z)), z);
    const read = product({ rows: 1, columns: K, data: keys(query) }, m);
    expectClose("projection", read.data, projection.data, { absolute: 1e-5, relative: 0 });
  });

  it("by a Gaussian kernel follows Eqs. 7 and 8", () => {
    const reference = randomReference(K, C, randomStream(6));
    const z = latents(1, 7);
    const squares = Array.from({ length: K }, (_, k) =>
      z.reduce((sum, x, j) => sum + (x - reference.data[k * C + j]) ** 2, 0),
    );
    const sigma = Math.min(...squares.map(Math.sqrt));
    for (const alpha of [0.5, 5]) {
      const raw = squares.map((square) => Math.exp(-square / (2 * alpha * sigma ** 2)));
      const sum = raw.reduce((a, b) => a + b, 0);
      expectClose(
        "w",
        gaussianAddressing(reference, { alpha }).keys(z),
        raw.map((x) => x / sum),
        near,
      );
    }
  });

  it("by a Gaussian kernel stays finite, and is the nearest row alone at the paper's alpha", () => {
    const reference = randomReference(K, C, randomStream(8));
    const { keys } = gaussianAddressing(reference);
    expectClose("on a row", keys(reference.data.subarray(C, 2 * C)), [0, 1, 0, 0], near);
    fc.assert(
      fc.property(fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: C, maxLength: C }), (z) => {
        const w = keys(z);
        expect(w.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 12);
        expect(w.every((x) => x >= 0 && x <= 1)).toBe(true);
      }),
      { seed: 4 },
    );
    expect(() => gaussianAddressing(reference, { alpha: 0 })).toThrow(/^gaussianAddressing: expected alpha above 0/);
    expect(() => keys([1, 2])).toThrow(/^addressing: expected rows of 6 numbers, got 2 numbers/);
  });

  it("makes references: the same from the same seed, or from an episode's different prompts", () => {
    expect(randomReference(K, C, randomStream(1)).data).toEqual(randomReference(K, C, randomStream(1)).data);
    const prompts = latents(2, 9).map((x) => 10 * x);
    const twice = Float64Array.from([...prompts.subarray(0, C), ...prompts.subarray(0, C), ...prompts.subarray(C)]);
    const { data } = episodeReference(twice, K, C, randomStream(2));
    expect(data.subarray(0, 2 * C)).toEqual(prompts);
    const scale = Math.hypot(...prompts) / Math.sqrt(2 * C);
    const random = randomReference(K, C, randomStream(2)).data.subarray(2 * C);
    expectClose(
      "rest",
      data.subarray(2 * C),
      random.map((x) => x * scale),
      near,
    );
    const many = latents(6, 3);
    expect(episodeReference(many, K, C, randomStream(2)).data).toEqual(many.subarray(0, K * C));
  });
});
