import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { randomStream } from "../tensor/random.ts";
import { adamFactors, adamRun } from "./adam-kernel.ts";
import { clipScale, globalNorm } from "./clip.ts";
import { isDecayed } from "./names.ts";
import { adam, adamw, sgd, withRates } from "./optim.ts";
import type { Optimizer } from "./optim.ts";
import { cosine } from "./schedule.ts";
import { rowAdam } from "./sparse-optim.ts";

interface DenseCase {
  name: string;
  optimizer: "sgd" | "adam" | "adamw";
  options: { momentum?: number; nesterov?: boolean; weightDecay?: number; betas?: [number, number]; eps?: number };
  clip: number | null;
  schedule: { warmup: number; floor: number; steps: number } | null;
  learningRates: number[];
  norms: number[] | null;
}

const folder = new URL("../../tests/fixtures/", import.meta.url);
const fixture = JSON.parse(readFileSync(new URL("optim.json", folder), "utf8")) as {
  parameters: string[];
  steps: number;
  dense: DenseCase[];
  sparse: { options: { betas: [number, number]; eps: number }; learningRates: number[] };
};

/** The tensors of the fixture, read by hand: this floor knows no safetensors. */
function readTensors(): { [name: string]: { shape: number[]; bytes: ArrayBuffer } } {
  const file = readFileSync(new URL("optim.safetensors", folder));
  const headerLength = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString("utf8", 8, 8 + headerLength)) as {
    [name: string]: { shape: number[]; data_offsets: [number, number] };
  };
  const entries = Object.entries(header).filter(([name]) => name !== "__metadata__");
  return Object.fromEntries(
    entries.map(
      ([
        name,
        {
          shape,
          data_offsets: [from, to],
        },
      ]) => {
        const start = file.byteOffset + 8 + headerLength;
        return [name, { shape, bytes: file.buffer.slice(start + from, start + to) as ArrayBuffer }];
      },
    ),
  );
}
const tensors = readTensors();
/** A copy: updates work in place. */
const floats = (name: string): Float32Array => new Float32Array(tensors[name].bytes.slice(0));
/** Slice `step` along the first axis. */
const atStep = (values: Float32Array, step: number, steps = fixture.steps): Float32Array =>
  values.slice((step * values.length) / steps, ((step + 1) * values.length) / steps);

function expectClose(got: Float32Array, want: Float32Array, tolerance: number, what: string): void {
  expect(got.length).toBe(want.length);
  const errors = got.map((x, i) => Math.abs(x - want[i]) / Math.max(1, Math.abs(want[i])));
  const worst = errors.findIndex((error) => !(error <= tolerance));
  expect(worst, `${what}[${worst}]: got ${got[worst]}, want ${want[worst]}`).toBe(-1);
}

function optimizerOf({ optimizer, options: { betas, ...rest } }: DenseCase): Optimizer {
  const moments = betas === undefined ? {} : { b1: betas[0], b2: betas[1] };
  if (optimizer === "sgd") return sgd(rest);
  return optimizer === "adam" ? adam({ ...moments, ...rest }) : adamw({ ...moments, ...rest });
}

describe("ten steps equal PyTorch's", () => {
  it.each(fixture.dense)("$name", (c) => {
    const optimizer = optimizerOf(c);
    expect(optimizer.name).toBe(c.optimizer);
    const params = Object.fromEntries(fixture.parameters.map((name) => [name, floats(`initial.${name}`)]));
    const state = optimizer.init(params);
    for (let step = 0; step < fixture.steps; step++) {
      const grads = Object.fromEntries(
        fixture.parameters.map((name) => [name, atStep(floats(`gradient.${name}`), step)]),
      );
      let scale = 1;
      if (c.clip !== null && c.norms !== null) {
        const norm = globalNorm(grads);
        expect(Math.abs(norm - c.norms[step]) / c.norms[step]).toBeLessThan(1e-12);
        scale = clipScale(norm, c.clip);
      }
      const rate = c.learningRates[step];
      if (c.schedule !== null) {
        const { warmup, floor, steps } = c.schedule;
        const peak = c.learningRates[warmup];
        expect(peak * cosine(step, { warmupSteps: warmup, totalSteps: steps, floor })).toBeCloseTo(rate, 12);
      }
      optimizer.step(params, grads, state, rate, scale);
      // The reference is computed in double precision: ten float32 roundings stay below 1e-6.
      for (const name of fixture.parameters) {
        expectClose(params[name], atStep(floats(`${c.name}.${name}`), step), 1e-6, `${name} step ${step}`);
      }
    }
    expect(state.step).toBe(fixture.steps);
  });

  it("SparseAdam, rows named twice included", () => {
    const { options, learningRates } = fixture.sparse;
    const [, width] = tensors["sparse.initial"].shape;
    const table = floats("sparse.initial");
    const optimizer = rowAdam({ b1: options.betas[0], b2: options.betas[1], eps: options.eps });
    const state = optimizer.init(table.length / width, width);
    const allRows = new Int32Array(tensors["sparse.rows"].bytes);
    const perStep = allRows.length / fixture.steps;
    for (let step = 0; step < fixture.steps; step++) {
      const rows = allRows.slice(step * perStep, (step + 1) * perStep);
      optimizer.stepRows(table, width, rows, atStep(floats("sparse.gradient"), step), state, learningRates[step]);
      expectClose(table, atStep(floats("sparse.table"), step), 1e-6, `table step ${step}`);
    }
  });
});

describe("adamw", () => {
  it("agrees between its two kernels at every length, block edges included", () => {
    const random = randomStream(7, "kernels");
    for (const length of [1, 2, 3, 4, 5, 63, 16383, 16384, 16385, 40001]) {
      const params = { w: random.fillNormal(new Float32Array(length)) };
      const plain = params.w.slice();
      const m = new Float32Array(length);
      const v = new Float32Array(length);
      const optimizer = adamw({ weightDecay: 0.1 });
      const state = optimizer.init(params);
      for (let step = 1; step <= 3; step++) {
        const g = random.fillNormal(new Float32Array(length));
        optimizer.step(params, { w: g }, state, 0.01, 0.5);
        adamRun(plain, 0, g, 0, m, 0, v, 0, length, adamFactors({}, step, 0.01, 0.1, 0.5));
      }
      expectClose(params.w, plain, 5e-7, `length ${length}`);
      expectClose(state.tensors["w.exp_avg"], m, 5e-7, `first moment, length ${length}`);
      expectClose(state.tensors["w.exp_avg_sq"], v, 5e-7, `second moment, length ${length}`);
    }
  });

  it("moves every element by the learning rate in its first step (closed form)", () => {
    const params = { w: Float32Array.of(1, 1, 1) };
    const optimizer = adamw({ weightDecay: 0 });
    optimizer.step(params, { w: Float32Array.of(3, -0.002, 40) }, optimizer.init(params), 0.1);
    expectClose(params.w, Float32Array.of(0.9, 1.1, 0.9), 1e-5, "w");
  });

  it("decays what the filter names and leaves the rest", () => {
    const params = {
      "fc.weight": Float32Array.of(2),
      "fc.bias": Float32Array.of(2),
      "ln_1.weight": Float32Array.of(2),
    };
    const grads = Object.fromEntries(Object.keys(params).map((name) => [name, Float32Array.of(0)]));
    const optimizer = adamw({ weightDecay: 0.5, decayFilter: isDecayed });
    optimizer.step(params, grads, optimizer.init(params), 0.1);
    expect(params["fc.weight"][0]).toBeCloseTo(1.9, 6);
    expect(params["fc.bias"][0]).toBe(2);
    expect(params["ln_1.weight"][0]).toBe(2);
  });

  it("continues from a copied state to the same bits", () => {
    const random = randomStream(3, "resume");
    const gradients = Array.from({ length: 6 }, () => ({ w: random.fillNormal(new Float32Array(37)) }));
    const optimizer = adamw();
    const whole = { w: random.fillNormal(new Float32Array(37)) };
    const halves = { w: whole.w.slice() };
    const state = optimizer.init(whole);
    for (const g of gradients) optimizer.step(whole, g, state, 0.01);
    const first = optimizer.init(halves);
    for (const g of gradients.slice(0, 3)) optimizer.step(halves, g, first, 0.01);
    const saved = { step: first.step, tensors: structuredClone(first.tensors) };
    for (const g of gradients.slice(3)) adamw().step(halves, g, saved, 0.01);
    expect(halves.w).toEqual(whole.w);
  });
});

describe("any optimizer", () => {
  it.each([sgd({ momentum: 0.9 }), adam(), adamw({ weightDecay: 0 })])(
    "$name finds the minimum of a quadratic",
    (optimizer) => {
      const target = Float32Array.of(3, -1, 0.5, 2, -4);
      const params = { x: new Float32Array(5) };
      const state = optimizer.init(params);
      for (let i = 0; i < 800; i++) {
        const rate = 0.05 * (1 - i / 800);
        optimizer.step(params, { x: params.x.map((x, k) => x - target[k]) }, state, rate);
      }
      expectClose(params.x, target, 5e-3, "x");
    },
  );

  it("leaves a parameter without a gradient alone", () => {
    const params = { a: Float32Array.of(1, 2), b: Float32Array.of(3) };
    const optimizer = adamw({ weightDecay: 0.5 });
    const state = optimizer.init(params);
    optimizer.step(params, { a: Float32Array.of(1, 1) }, state, 0.1);
    expect(params.b[0]).toBe(3);
    expect(state.tensors["b.exp_avg"][0]).toBe(0);
    expect(params.a[0]).toBeLessThan(1);
  });

  it("refuses gradients that do not fit", () => {
    const params = { a: Float32Array.of(1, 2) };
    const optimizer = sgd();
    const state = optimizer.init(params);
    expect(() => optimizer.step(params, { b: Float32Array.of(1) }, state, 0.1)).toThrow("no array named b");
    expect(() => optimizer.step(params, { a: Float32Array.of(1) }, state, 0.1)).toThrow("a has 2 elements where 1");
  });
});

describe("clipping", () => {
  it("measures 3-4-5 over two tensors and scales down only what is too long", () => {
    const grads = { a: Float32Array.of(3, 0, 0, 0, 0), b: Float32Array.of(4) };
    expect(globalNorm(grads)).toBe(5);
    expect(clipScale(5, 1)).toBeCloseTo(0.2, 6);
    expect(clipScale(0.5, 1)).toBe(1);
    expect(clipScale(0, 1)).toBe(1);
    expect(globalNorm({ a: Float32Array.of(Number.NaN) })).toBeNaN();
  });

  it("a scaled step equals a step with scaled gradients", () => {
    fc.assert(
      fc.property(fc.array(fc.float({ min: -8, max: 8, noNaN: true }), { minLength: 1, maxLength: 9 }), (values) => {
        const g = Float32Array.from(values);
        for (const optimizer of [sgd({ momentum: 0.5, weightDecay: 0.1 }), adamw({ eps: 1e-3 })]) {
          const one = { w: new Float32Array(g.length).fill(1) };
          const two = { w: new Float32Array(g.length).fill(1) };
          optimizer.step(one, { w: g }, optimizer.init(one), 0.1, 0.25); // a power of two: exact in float32
          optimizer.step(two, { w: g.map((x) => x * 0.25) }, optimizer.init(two), 0.1);
          expectClose(one.w, two.w, 2e-7, optimizer.name);
        }
      }),
    );
  });
});

describe("rates of their own", () => {
  it("are those of optimizers apart, in one state", () => {
    const make = () => ({ a: Float32Array.of(1, -2), b: Float32Array.of(3), c: Float32Array.of(0.5) });
    const [together, apart] = [make(), make()];
    const both = withRates(adamw(), (name) => (name === "b" ? 10 : 1));
    const state = both.init(together);
    const states = Object.fromEntries(
      Object.entries(apart).map(([name, value]) => [name, adamw().init({ [name]: value })]),
    );
    const random = randomStream(1, "rates");
    for (let step = 0; step < 5; step++) {
      const grads = { a: Float32Array.of(random.normal(), random.normal()), b: Float32Array.of(random.normal()) };
      both.step(together, grads, state, 1e-2, 0.5);
      for (const [name, rate] of [
        ["a", 1e-2],
        ["b", 1e-1],
      ] as const)
        adamw().step({ [name]: apart[name] }, { [name]: grads[name] }, states[name], rate, 0.5);
    }
    expect(together).toEqual(apart);
    expect(together.c).toEqual(Float32Array.of(0.5));
    expect(state.step).toBe(5);
    expect(state.tensors["b.exp_avg_sq"]).toEqual(states.b.tensors["b.exp_avg_sq"]);
  });
});
