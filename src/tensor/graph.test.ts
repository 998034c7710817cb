import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { UserError } from "../errors.ts";
import { float32Host } from "./dtype.ts";
import {
  add,
  broadcastTo,
  cast,
  concat,
  constant,
  conv1d,
  gather,
  input,
  linear,
  matmul,
  mul,
  pad,
  reshape,
  rotary,
  scalar,
  scatterAdd,
  slice,
  stopGradient,
  sum,
  takeAlongAxis,
  topK,
  transpose,
  where,
  layerNorm,
  rmsNorm,
  softmax,
} from "./functions.ts";
import { gradients, sparseGradients } from "./grad.ts";
import { printGraph, type Tensor, topologicalOrder } from "./graph.ts";

describe("topologicalOrder", () => {
  test("puts inputs before users, each node once, on random graphs", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(), fc.nat()), { minLength: 1, maxLength: 60 }), (edges) => {
        const tensors: Tensor[] = [scalar(1)];
        for (const [a, b] of edges) tensors.push(add(tensors[a % tensors.length], tensors[b % tensors.length]));
        const order = topologicalOrder(tensors.slice(-2));
        expect(new Set(order).size).toBe(order.length);
        for (const [place, node] of order.entries()) {
          for (const x of node.inputs) expect(order.indexOf(x.node)).toBeLessThan(place);
          for (const x of node.inputs) expect(order.indexOf(x.node)).toBeGreaterThanOrEqual(0);
        }
      }),
    );
  });

  test("walks 10,000 nodes deep, and so does a gradient", () => {
    const x = input("x", "float32", []);
    let y = x;
    for (let i = 0; i < 10_000; i++) y = mul(y, x);
    expect(topologicalOrder([y])).toHaveLength(10_001);
    const [gradient] = gradients(y, [x]);
    expect(topologicalOrder([gradient]).length).toBeGreaterThan(20_000);
  });

  test("visits a shared node once: a ladder of sums stays as long as it is high", () => {
    let y: Tensor = scalar(1);
    for (let i = 0; i < 1_000; i++) y = add(y, y);
    expect(topologicalOrder([y])).toHaveLength(1_001);
  });

  test("of nothing is nothing", () => expect(topologicalOrder([])).toEqual([]));
});

test("a graph prints one line per node", () => {
  const x = input("x", "float32", ["B", 4]);
  const [values, indices] = topK(x, 2);
  expect(printGraph([sum(values, { axes: [1] }), indices])).toBe(
    "%0 = input() : float32[B, 4]\n%1 = topK(%0) : float32[B, 2], int32[B, 2]\n%2 = sum(%1) : float32[B]",
  );
});

describe("gradients", () => {
  const x = input("x", "float32", [2, 3]);

  test("want a scalar", () =>
    expect(() => gradients(x, [x])).toThrow(/^gradients: expected a scalar loss, got \[2, 3\]/));

  test("are zeros where nothing depends, and beyond stopGradient", () => {
    const y = input("y", "float32", [4]);
    const [gx, gy] = gradients(sum(mul(stopGradient(x), 2)), [x, y]);
    for (const [gradient, shape] of [
      [gx, [2, 3]],
      [gy, [4]],
    ] as const) {
      expect([gradient.node.op, gradient.shape]).toEqual(["broadcastTo", shape]);
    }
  });

  test("do not pass through integers", () => {
    const [gx] = gradients(sum(cast(cast(x, "int32"), "float32")), [x]);
    expect(gx.node.op).toBe("broadcastTo");
  });

  test("build nothing for what is not asked", () => {
    const w = input("w", "float32", [3]);
    const [gw] = gradients(sum(mul(mul(x, x), w)), [w]);
    const ops = topologicalOrder([gw]).map(({ op }) => op);
    // The product x*x of the forward pass, times the cotangent: no product for the gradient towards x
    expect(ops.filter((op) => op === "mul")).toHaveLength(2);
  });

  test("of a looked-up table leave as rows when asked", () => {
    const table = input("table", "float32", [100, 4]);
    const ids = input("ids", "int32", ["B", "T"]);
    const loss = add(sum(gather(table, ids)), sum(mul(table, table)));
    const [{ dense, rows }] = sparseGradients(loss, [table], new Set([table]));
    expect(rows.map(({ indices, values }) => [indices.shape, values.shape])).toEqual([[["B*T"], ["B*T", 4]]]);
    expect(dense?.shape).toEqual([100, 4]);
    const [only] = sparseGradients(sum(gather(table, ids)), [table], new Set([table]));
    expect(only.dense).toBeUndefined();
  });

  test("of a norm's gradient are refused, of a softmax's not", () => {
    const w = input("w", "float32", [3]);
    const second = (y: Tensor): Tensor => {
      const [dx] = gradients(sum(mul(y, y)), [x]);
      return gradients(sum(mul(dx, dx)), [x])[0];
    };
    expect(() => second(layerNorm(x, w, w))).toThrow(/^gradients: expected a first derivative of layerNorm/);
    expect(() => second(rmsNorm(x, w))).toThrow(/^gradients: expected a first derivative of rmsNorm/);
    expect(second(softmax(x)).shape).toEqual([2, 3]);
  });

  test("of a convolution's gradient are refused", () => {
    const signal = input("signal", "float32", [1, 1, 4]);
    const w = input("w", "float32", [1, 1, 2]);
    const [dx] = gradients(sum(conv1d(signal, w)), [signal]);
    expect(() => gradients(sum(mul(dx, dx)), [w])).toThrow(/second one; it is not supported/);
  });
});

describe("shape rules name the function, the expectation and the value", () => {
  const f32 = (...shape: (number | string)[]): Tensor => input("x", "float32", shape);
  const i32 = (...shape: (number | string)[]): Tensor => input("i", "int32", shape);
  const cases: [string, () => unknown, string][] = [
    [
      "mixed types",
      () => add(f32(2), i32(2)),
      "add: expected equal element types, got input: float32[2] and input: int32[2]; use cast",
    ],
    ["where", () => where(f32(2), 1, 2), "where: expected a bool condition, got input: float32[2]"],
    [
      "matmul of vectors",
      () => matmul(f32(2), f32(2, 2)),
      "matmul: expected two tensors of rank 2 or more, got [2] and [2, 2]",
    ],
    [
      "matmul inner",
      () => matmul(f32(2, 3), f32(4, 2)),
      "matmul: expected equal inner axes, got [2, 3] and [4, 2] (3 against 4)",
    ],
    ["linear", () => linear(f32(2, 3), f32(5, 4)), "linear (weight): expected shape [O, I] with I=3, got [5, 4]"],
    ["linear bias", () => linear(f32(2, 3), f32(5, 3), f32(4)), "linear (bias): expected shape [O] with O=5, got [4]"],
    ["conv1d", () => conv1d(f32(1, 2, "T"), f32(1, 2, 3)), 'conv1d: expected a static axis, got "T"'],
    ["topK", () => topK(f32(2, 3), 4), "topK: expected k from 1 to the last axis of [2, 3], got 4"],
    ["reshape", () => reshape(f32("B", 4), ["B", 5]), "reshape: expected a shape with 4*B elements, got [B, 5]"],
    ["transpose", () => transpose(f32(2, 3), [0, 0]), "transpose: expected a permutation of 2 axes, got [0, 0]"],
    [
      "broadcastTo",
      () => broadcastTo(f32(2, 3), [2, 1]),
      "broadcastTo: expected a shape that [2, 3] stretches to, got [2, 1]",
    ],
    [
      "slice past the end",
      () => slice(f32(5), { axis: 0, start: 2, end: 6 }),
      "slice: expected 0 <= start <= end <= 5, got 2 to 6",
    ],
    [
      "slice from the end",
      () => slice(f32(5), { axis: 0, start: -2 }),
      "slice: expected 0 <= start <= end <= 5, got -2 to 5",
    ],
    [
      "concat",
      () => concat([f32(2, 3), f32(3, 3)], { axis: 1 }),
      "concat: expected shapes equal but for axis 1, got input: float32[2, 3], input: float32[3, 3]",
    ],
    ["gather", () => gather(f32(5), f32(2)), "gather: expected int32 or int64 indices, got input: float32[2]"],
    [
      "scatterAdd",
      () => scatterAdd(i32(4), f32(3, 2), { rows: 9 }),
      "scatterAdd: expected updates that begin with [4], got [3, 2]",
    ],
    [
      "takeAlongAxis",
      () => takeAlongAxis(f32(2, 3), i32(3, 1)),
      "takeAlongAxis: expected indices shaped like [2, 3] but for axis 1, got input: int32[3, 1]",
    ],
    ["rotary", () => rotary(f32(1, 1, 2, 3), f32(2, 1), f32(2, 1)), "rotary: expected an even head size, got 3"],
    ["pad", () => pad(f32(2), { axis: 1 }), "pad: expected an axis of a rank-1 tensor, got 1; use -1 to 0"],
  ];
  test.each(cases)("%s", (_, make, message) => expect(make).toThrow(new UserError(message)));

  test("constants keep their type", () => {
    expect(String(constant(float32Host([2], [1, 2])))).toBe("constant: float32[2]");
  });
});
