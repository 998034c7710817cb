/** All three quantisers and the moving averages against PyTorch, as graphs with gradients and as plain numbers. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { expectClose } from "../../tests/support/close.ts";
import { openSafetensors } from "../checkpoint/safetensors.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { float32Host, type HostTensor } from "../tensor/dtype.ts";
import { add, input, mul, sum } from "../tensor/functions.ts";
import { gradients } from "../tensor/grad.ts";
import { randomStream } from "../tensor/random.ts";
import { type Codebook, nearest } from "./codebook.ts";
import { createCodebookAverage } from "./codebook-average.ts";
import { createQuantizer } from "./quantizers.ts";
import { encodeResidual, residualQuantize } from "./residual-quantizer.ts";
import { slotQuantize } from "./slot-quantizer.ts";
import { vectorQuantize } from "./vector-quantizer.ts";

const folder = new URL("../../tests/fixtures/", import.meta.url);
const fixture = JSON.parse(readFileSync(new URL("quantizer.json", folder), "utf8")) as {
  cases: string[];
  commitment: number;
  weight: number;
  average: { decay: number; smoothing: number; steps: number };
};
const stored: Record<string, HostTensor> = {};
const quantizers = { token: vectorQuantize, residual: residualQuantize, slot: slotQuantize };
const kindOf = (name: string): keyof typeof quantizers => name.split("-")[0] as keyof typeof quantizers;

const runtime = createRuntime({ threads: 1 });
beforeAll(async () => {
  const file = await openSafetensors(fileURLToPath(new URL("quantizer.safetensors", folder)));
  for (const name of file.tensors.keys()) stored[name] = await file.read(name);
  await file.close();
});
afterAll(() => runtime.dispose());

const floats = (name: string): Float32Array => stored[name].data as Float32Array;
/** float32 sums of some ten products near one. */
const close = { absolute: 1e-6, relative: 1e-6 };

describe.each(fixture.cases)("%s equals PyTorch's", (name) => {
  const of = (key: string): HostTensor<"float32"> => stored[`${name}.${key}`] as HostTensor<"float32">;

  test("codes, losses and gradients", async () => {
    const [x, codebook] = ["x", "codebook"].map((key) => input(key, "float32", of(key).shape));
    const [upstream, mask] = ["upstream", "mask"].map((key) => input(key, "float32", of(key).shape));
    const { commitment, weight } = fixture;
    const masked = name.endsWith("masked") ? { mask } : {};
    const { quantized, indices, codebookLoss, commitmentLoss, loss } = quantizers[kindOf(name)](x, codebook, {
      commitment,
      ...masked,
    });
    const total = add(sum(mul(upstream, quantized)), mul(loss, weight));
    const [dx, dCodebook] = gradients(total, [x, codebook]);
    const program = await runtime.compile({ quantized, indices, codebookLoss, commitmentLoss, dx, dCodebook });
    const feeds = { x: of("x"), codebook: of("codebook"), upstream: of("upstream"), mask: of("mask") };
    const got = await program.run(feeds);
    expect([...got.indices.data]).toEqual([...stored[`${name}.indices`].data]);
    expect(got.indices.shape).toEqual(stored[`${name}.indices`].shape);
    for (const [key, want] of Object.entries({
      quantized: "quantized",
      codebookLoss: "codebook_loss",
      commitmentLoss: "commitment_loss",
      dx: "grad.x",
      dCodebook: "grad.codebook",
    })) {
      expectClose(key, got[key].data, floats(`${name}.${want}`), close);
    }
    await program.release();
  });

  test("encoding and decoding without a graph", () => {
    const [width, tokens] = [of("x").shape[2], of("x").shape[1]];
    const books = of("codebook").shape.length === 3 ? of("codebook").shape[0] : 1;
    const { data } = of("codebook");
    const codebook: Codebook = { kind: kindOf(name), tokens, width, books, codes: data.length / books / width, data };
    const quantizer = createQuantizer(codebook);
    const { indices, errors } = quantizer.encode(of("x").data);
    const decoded = quantizer.decode(indices);
    expect([...indices]).toEqual([...stored[`${name}.indices`].data]);
    expect(indices.length).toBe(of("x").shape[0] * quantizer.positions);
    expectClose("decoded", decoded, floats(`${name}.quantized`), close);
    const squares = of("x").data.map((value, i) => (value - decoded[i]) ** 2);
    const want = Array.from(errors, (_, n) => squares.subarray(n * width, (n + 1) * width).reduce((a, b) => a + b, 0));
    expectClose("errors", errors, want, close);
  });
});

test("the graph gives the codes to the last bit, the very numbers that decoding gives", async () => {
  const [N, T, D, K, R] = [6, 3, 16, 32, 3];
  const random = randomStream(4, "bits");
  const x = random.fillNormal(new Float32Array(N * T * D));
  const data = random.fillNormal(new Float32Array(R * K * D), 0, 0.7);
  const { quantized, indices } = residualQuantize(input("x", "float32", ["N", T, D]), input("c", "float32", [R, K, D]));
  const program = await runtime.compile({ quantized, indices });
  const got = await program.run({ x: float32Host([N, T, D], x), c: float32Host([R, K, D], data) });
  const quantizer = createQuantizer({ kind: "residual", tokens: T, width: D, codes: K, books: R, data });
  expect(got.quantized.data).toEqual(quantizer.decode(Uint32Array.from(got.indices.data as Int32Array)));
  expect([...got.indices.data]).toEqual([...quantizer.encode(x).indices]);
  await program.release();
  // What each depth was asked: the tokens less the codes before it
  const { asked } = encodeResidual(x, quantizer.codebook);
  const rest = Float32Array.from(x);
  for (let depth = 0; depth < R; depth++) {
    expect(asked[depth]).toEqual(rest);
    const book = data.subarray(depth * K * D, (depth + 1) * K * D);
    for (let at = 0; at < rest.length; at++) {
      const index = Number(got.indices.data[Math.floor(at / D) * R + depth]);
      rest[at] -= book[index * D + (at % D)];
    }
  }
});

test("moving averages equal PyTorch's, and go on from a saved state", () => {
  const { decay, smoothing, steps } = fixture.average;
  const [vectors, codes] = [floats("average.vectors"), floats("average.codes")];
  const [N, D, K] = [20, 4, 6];
  let average = createCodebookAverage(floats("average.start"), { width: D, decay, smoothing });
  for (let step = 0; step < steps; step++) {
    const batch = vectors.subarray(step * N * D, (step + 1) * N * D);
    const { indices } = nearest(batch, average.codes, D);
    expect([...indices]).toEqual([...stored["average.indices"].data.subarray(step * N, (step + 1) * N)]);
    average.update(batch, indices);
    expectClose(`codes ${step}`, average.codes, codes.subarray(step * K * D, (step + 1) * K * D), close);
    const other = createCodebookAverage(new Float32Array(K * D), { width: D, decay, smoothing });
    other.restore(average.state());
    average = other;
  }
});

test("moving averages by hand: two codes of one number", () => {
  const average = createCodebookAverage(Float32Array.of(0, 10), { width: 1, decay: 0.5, smoothing: 1e-12 });
  // N = (0.5 + 1, 0.5), m = (0.5 * 0 + 0.5 * (2 + 4), 0.5 * 10)
  average.update(Float32Array.of(2, 4), [0, 0]);
  expectClose("codes", average.codes, [2, 10], close);
  // A step whose past weighs nothing: N = (0, 1), m = (0, 7); code 0 has nothing left but the smoothing
  average.update(Float32Array.of(7), [1], { decay: 0 });
  expectClose("codes", average.codes, [0, 7], close);
  average.place(0, [3]);
  expect(average.codes[0]).toBe(3);
  average.update(Float32Array.of(5), [0]); // N = 0.25 + 0.5, m = 0.75 + 2.5
  expectClose("codes", average.codes, [3.25 / 0.75, 7], close);
  const message = /^createCodebookAverage: expected a decay from 0 and below 1, got 1; 0.99 is usual$/;
  expect(() => average.update(Float32Array.of(5), [0], { decay: 1 })).toThrow(message);
  expect(() => average.update(Float32Array.of(5, 6), [0])).toThrow(/expected 1 numbers for each of 1 indices, got 2/);
});
