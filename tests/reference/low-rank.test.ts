/** The low-rank update of a linear layer against its closed form: value, gradients, both layouts, dropout. */
import { afterAll, describe, expect, it } from "vitest";
import { expectClose } from "../support/close.ts";
import { createRuntime } from "../../src/runtime/runtime.ts";
import { float32Host } from "../../src/tensor/dtype.ts";
import { input, mul, sum } from "../../src/tensor/functions.ts";
import { gradients } from "../../src/tensor/grad.ts";
import { randomStream } from "../../src/tensor/random.ts";
import { dropout, linearLayer } from "../../src/nn/linear.ts";
import { lowRankAdapters } from "../../src/nn/lora.ts";
import { paramsOf, weightInputs } from "../../src/nn/params.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());
const CLOSE = { absolute: 1e-5, relative: 1e-5 };

/** Plain nested-loop product of a [m, k] and b [k, n]. */
function product(a: ArrayLike<number>, b: ArrayLike<number>, [m, k, n]: readonly [number, number, number]): number[] {
  return Array.from({ length: m * n }, (_, at) => {
    let total = 0;
    for (let i = 0; i < k; i++) total += a[Math.floor(at / n) * k + i] * b[i * n + (at % n)];
    return total;
  });
}

/** A matrix [columns, rows] as [rows, columns]. */
const transposed = (a: ArrayLike<number>, rows: number, columns: number): number[] =>
  Array.from({ length: rows * columns }, (_, at) => a[(at % columns) * rows + Math.floor(at / columns)]);

describe.each([{ inputFirst: false }, { inputFirst: true }])("h = W x + b + s B A x, $inputFirst", ({ inputFirst }) => {
  it("in value and in the gradients of A, B, W and x", async () => {
    const [N, I, O, R, s] = [5, 4, 3, 2, 1.5];
    const random = randomStream(8, "linear");
    const draw = (size: number): Float32Array => random.fillNormal(new Float32Array(size));
    const [x, g, w, b, down, up] = [N * I, N * O, O * I, O, R * I, O * R].map(draw);
    const shapes = {
      "l.weight": inputFirst ? [I, O] : [O, I],
      "l.bias": [O],
      "l.lora_A.weight": [R, I],
      "l.lora_B.weight": [O, R],
    };
    const tensors = weightInputs(shapes);
    const xs = input("x", "float32", [N, I]);
    const y = linearLayer(xs, paramsOf(tensors, lowRankAdapters({ scale: s, dropout: 0 })).at("l"), { inputFirst });
    const names = Object.keys(tensors);
    const found = gradients(sum(mul(y, input("g", "float32", [N, O]))), [xs, ...names.map((name) => tensors[name])]);
    const program = await runtime.compile({
      y,
      dx: found[0],
      ...Object.fromEntries(names.map((name, i) => [`d ${name}`, found[i + 1]])),
    });
    const results = await program.run({
      x: float32Host([N, I], x),
      g: float32Host([N, O], g),
      "l.weight": float32Host(shapes["l.weight"], w),
      "l.bias": float32Host([O], b),
      "l.lora_A.weight": float32Host([R, I], down),
      "l.lora_B.weight": float32Host([O, R], up),
    });
    const plus = (p: readonly number[], q: readonly number[], factor = 1): number[] =>
      p.map((value, i) => value + factor * q[i]);
    const matrix = inputFirst ? [...w] : transposed(w, I, O); // [I, O]
    const hidden = product(x, transposed(down, I, R), [N, I, R]); // A x
    const value = plus(product(x, matrix, [N, I, O]), product(hidden, transposed(up, R, O), [N, R, O]), s);
    expectClose(
      "y",
      results.y.data as Float32Array,
      value.map((v, i) => v + b[i % O]),
      CLOSE,
    );
    // dB = s g^T (A x); dA = s (g B)^T x; dx = g W + s g B A
    const gUp = product(g, up, [N, O, R]);
    const dB = product(transposed(g, O, N), hidden, [O, N, R]).map((v) => s * v);
    const dA = product(transposed(gUp, R, N), x, [R, N, I]).map((v) => s * v);
    const dx = plus(product(g, transposed(matrix, O, I), [N, O, I]), product(gUp, down, [N, R, I]), s);
    expectClose("dB", results["d l.lora_B.weight"].data as Float32Array, dB, CLOSE);
    expectClose("dA", results["d l.lora_A.weight"].data as Float32Array, dA, CLOSE);
    expectClose("dx", results.dx.data as Float32Array, dx, CLOSE);
    const dW = product(transposed(x, I, N), g, [I, N, O]);
    expectClose("dW", results["d l.weight"].data as Float32Array, inputFirst ? dW : transposed(dW, O, I), CLOSE);
    await program.release();
  });
});

describe("dropout", () => {
  it("zeroes its share and scales the rest, by the noise that it is given", async () => {
    const x = input("x", "float32", [2, 3]);
    const y = dropout(x, 0.25, "noise");
    const [dx] = gradients(sum(y), [x]);
    const program = await runtime.compile({ y, dx });
    const noise = [0, 0.5, 0.74, 0.75, 0.8, 0.99];
    const { y: out, dx: slope } = await program.run(
      { x: float32Host([2, 3], [3, 6, 9, 12, 15, 18]) },
      { fill: (_, data) => data.set(noise) },
    );
    expectClose("y", out.data as Float32Array, [4, 8, 12, 0, 0, 0], CLOSE);
    expectClose("dx", slope.data as Float32Array, [4 / 3, 4 / 3, 4 / 3, 0, 0, 0], CLOSE);
    expect(dropout(x, 0, "noise")).toBe(x);
  });
});
