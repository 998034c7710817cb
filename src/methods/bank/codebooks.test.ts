/** The care of codebooks, worked out by hand: vectors 0, 1, 10 and 11, which two codes serve at 0.5 and 10.5. */
import { describe, expect, it } from "vitest";
import { nearest } from "../../memory/codebook.ts";
import type { Objective } from "../objective.ts";
import { type CareOptions, useOf, usesOf, withCare } from "./codebooks.ts";
import { leftover } from "./nearest.ts";
import type { EpisodeBatch } from "./objective.ts";

const vectors = Float32Array.of(0, 1, 10, 11);
const sorted = (codes: Float32Array): number[] => [...codes].sort((a, b) => a - b);

function setup(more: Partial<CareOptions> = {}) {
  const book = () => ({ codes: new Float32Array(2), width: 1, counts: new Float32Array(2) });
  const draws: number[] = [];
  const options: CareOptions = {
    slotsOf: async (_, draw) => {
      draws.push(draw);
      return vectors;
    },
    nearest: async (...asked) => nearest(...asked),
    single: book(),
    residual: [book(), book()],
    from: 3,
    every: 2,
    start: "data",
    reset: true,
    decay: 0.5,
    learnsByAverage: false,
    seed: 1,
    ...more,
  };
  const steps: number[] = [];
  const objective: Objective<EpisodeBatch> = {
    gradients: {},
    clear: () => undefined,
    accumulate: async (_batch, _total, step) => steps.push(step),
    dispose: async () => undefined,
  };
  const cared = withCare(objective, options);
  const { single, residual } = options;
  return {
    options,
    draws,
    steps,
    single: single.codes,
    first: residual[0].codes,
    second: residual[1].codes,
    async step(step: number, batches = 1) {
      for (let i = 0; i < batches; i++) await cared.accumulate({} as EpisodeBatch, 1, step);
    },
  };
}

describe("the care of codebooks", () => {
  it("makes them from data at their first step: each depth from what those before it leave", async () => {
    const { step, draws, steps, single, first, second } = setup();
    await step(0);
    await step(2);
    expect([...single, ...first, ...second]).toEqual([0, 0, 0, 0, 0, 0]);
    await step(3, 2);
    expect(sorted(single)).toEqual([0.5, 10.5]);
    expect(sorted(first)).toEqual([0.5, 10.5]);
    expect(sorted(second)).toEqual([-0.5, 0.5]);
    // Once, however many batches the step has, and the objective sees them all
    expect(draws).toEqual([3]);
    expect(steps).toEqual([0, 2, 3, 3]);
    await step(4);
    await step(5);
    expect(draws).toEqual([3, 5]);
  });

  it("tells what each look has seen, of each book", async () => {
    const looked: unknown[] = [];
    const { step, single } = setup({ reset: false, onLook: (...told) => looked.push(told) });
    await step(3);
    const even = { error: 0.25, used: 1, perplexity: expect.closeTo(2, 12) };
    expect(looked).toEqual([[3, { single: even, residual: [even, { ...even, error: 0 }] }]]);
    // From here on one code has everything: half of what counted for the other fades away at each look
    single.set([0.5, 1000]);
    for (let i = 0; i < 12; i++) await step(5 + 2 * i);
    const [at, { single: last }] = looked.at(-1) as [number, { single: Record<string, number> }];
    expect([at, last.error, last.used]).toEqual([27, (0.25 + 0.25 + 90.25 + 110.25) / 4, 0.5]);
    expect(last.perplexity).toBeCloseTo(1, 2);
  });

  it("begins at random where that is asked for, and with reset comes to the data all the same", async () => {
    const far = { codes: new Float32Array(2), width: 1, counts: new Float32Array(2) };
    const { step } = setup({ start: "random", single: far, slotsOf: async () => Float32Array.of(9, 10, 11, 12) });
    await step(3);
    for (const code of far.codes) expect(Math.abs(code)).toBeLessThanOrEqual(1 / 2);
    // The larger one has everything; the other goes where the data is
    const before = [...far.codes];
    await step(5);
    expect(Math.max(...far.codes)).toBeGreaterThan(5);
    expect(before).toContain(Math.min(...far.codes));
    expect(before).not.toContain(Math.max(...far.codes));
  });

  it("puts unused codes where the data is worst off, and leaves those in use", async () => {
    const { step, single, first, second } = setup();
    single.set([0.5, 1000]);
    first.set([0.5, 10.5]);
    second.set([-0.5, 0.5]);
    await step(5);
    expect(single[0]).toBe(0.5);
    // At 11, which was 10.5 off, but for noise
    expect(Math.abs(single[1] - 11)).toBeLessThan(0.2 * 10.5);
    expect([...first, ...second]).toEqual([0.5, 10.5, -0.5, 0.5]);
  });

  it("leaves a collapse as it is without reset, and says so", async () => {
    const { step, options, single, first, second } = setup({ reset: false });
    single.set([0.5, 1000]);
    first.set([0.5, 10.5]);
    second.set([0, 3]);
    await step(5);
    expect([...single, ...first, ...second]).toEqual([0.5, 1000, 0.5, 10.5, 0, 3]);
    const { single: use, residual } = await usesOf(options, -2);
    // Distances 0.5, 0.5, 9.5 and 10.5
    expect(use).toMatchObject({ dead: 1, perplexity: 1, error: (0.25 + 0.25 + 90.25 + 110.25) / 4 });
    expect(residual[0]).toMatchObject({ dead: 0, error: 0.25 });
    expect(residual[0].perplexity).toBeCloseTo(2, 12);
    expect(residual[1]).toMatchObject({ dead: 1, perplexity: 1, error: 0.25 });
  });

  it("moves codes towards the mean of their vectors where they learn by averages", async () => {
    const counts = Float32Array.of(2, 4);
    const single = { codes: Float32Array.of(0, 10), width: 1, counts };
    const { step } = setup({ learnsByAverage: true, single });
    await step(5);
    // Half of what counted before, at the old place, and half of the two that chose the code now
    expect(single.codes[0]).toBeCloseTo(0.5 / 2, 4);
    expect(single.codes[1]).toBeCloseTo((0.5 * 4 * 10 + 0.5 * 21) / (0.5 * 4 + 0.5 * 2), 4);
    expect([...counts]).toEqual([2, 3]);
  });

  it("leaves codes that nothing chose where they are while others follow the data", async () => {
    const { step, single } = setup({ learnsByAverage: true, reset: false });
    single.set([5.5, 1000]);
    await step(5);
    expect(single[0]).toBeCloseTo(5.5, 4);
    expect(single[1]).toBe(1000);
  });

  it("calls a code dead when it was not chosen for long, not after one look", async () => {
    const single = { codes: Float32Array.of(0.5, 1000), width: 1, counts: Float32Array.of(4, 4) };
    const { step } = setup({ single });
    let looks = 0;
    for (; single.codes[1] === 1000; looks++) await step(5 + 2 * looks);
    // 4 / 2^n against 0.002 of the mean of it and of what nears 4
    expect(looks).toBe(10);
    expect(single.counts[1]).toBeGreaterThan(1);
  });

  it("makes the optimizer forget codes that were put elsewhere, and no others", async () => {
    const moments = [Float32Array.of(1, 2), Float32Array.of(3, 4)];
    const single = {
      codes: Float32Array.of(0.5, 1000),
      width: 1,
      counts: Float32Array.of(4, 0),
      moments: () => moments,
    };
    const { step } = setup({ single });
    await step(5);
    expect(single.codes[0]).toBe(0.5);
    expect(single.codes[1]).toBeLessThan(20);
    expect(moments.map((each) => [...each])).toEqual([
      [1, 0],
      [3, 0],
    ]);
  });

  it("counts and leaves over by whole vectors", async () => {
    const found: CareOptions["nearest"] = async (...asked) => nearest(...asked);
    const pairs = Float32Array.of(0, 0, 4, 5, 1, 0);
    const book = { codes: Float32Array.of(0, 0, 4, 4, 9, 9), width: 2 };
    expect([...leftover(pairs, [0, 1, 0], book)]).toEqual([0, 0, 0, 1, 1, 0]);
    const { counts, dead, error } = await useOf(pairs, book, found);
    expect([[...counts], dead]).toEqual([[2, 1, 0], 1]);
    expect(error).toBeCloseTo(2 / 6, 12);
  });
});
