import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test, vi } from "vitest";
import { UserError } from "../errors.ts";
import { type DType, float32Host, type HostTensor, int32Host, zerosHost } from "../tensor/dtype.ts";
import {
  add,
  broadcastTo,
  cast,
  concat,
  constant,
  cumsum,
  gather,
  input,
  integer,
  iota,
  layerNorm,
  linear,
  matmul,
  max,
  mean,
  mul,
  pad,
  random,
  reshape,
  rmsNorm,
  rows,
  scatterAdd,
  slice,
  softmax,
  square,
  sub,
  sum,
  tanh,
  transpose,
} from "../tensor/functions.ts";
import { gradients } from "../tensor/grad.ts";
import type { Tensor } from "../tensor/graph.ts";
import { randomStream } from "../tensor/random.ts";
import type { Dim } from "../tensor/shape.ts";
import { compileGraph } from "./compile.ts";
import { createRuntime, jit } from "./runtime.ts";
import type { Session } from "./session.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());

const normal = (name: string, shape: readonly number[]): HostTensor<"float32"> =>
  float32Host(shape, randomStream(5, name).fillNormal(new Float32Array(shape.reduce((a, b) => a * b, 1))));
const numbers = (tensor: HostTensor): number[] => Array.from(tensor.data as Float32Array, Number);

/** Something of everything over sequences x [B, T, 4] after P earlier ones, with its gradients. */
function sequences(B: Dim, T: Dim, P: Dim): Record<string, Tensor> {
  const x = input("x", "float32", [B, T, 4]);
  const past = input("past", "float32", [B, P, 4]);
  const w = input("w", "float32", [4, 4]);
  const all = concat(
    [
      past,
      layerNorm(
        x,
        slice(w, { axis: 0, end: 1 }).rank === 2 ? reshape(slice(w, { axis: 0, end: 1 }), [4]) : w,
        mean(w, { axes: [0] }),
      ),
    ],
    { axis: 1 },
  );
  const length = all.shape[1];
  const positions = cast(reshape(iota(length), [1, 1, length]), "float32");
  const scores = sub(matmul(linear(x, w), all, { transposeB: true, scale: 0.5 }), mul(positions, 0.1));
  const mixed = matmul(softmax(scores), all);
  const looked = gather(rows(mixed), iota(T));
  const spread = scatterAdd(iota(T), looked, { rows: length });
  const padded = pad(transpose(mixed, [0, 2, 1]), { axis: 2, before: P, value: 1 });
  const loss = add(add(mean(square(mixed)), sum(tanh(spread))), mean(max(cumsum(padded, { axis: 2 }), { axes: [1] })));
  const [dx, dpast, dw] = gradients(loss, [x, past, w]);
  return { mixed, spread, padded, ones: broadcastTo(integer(1), [B, T]), loss, dx, dpast, dw };
}

describe("a symbolic graph", () => {
  test("runs at any size and equals the static graph of that size", async () => {
    const symbolic = await runtime.compile(sequences("B", "T", "P"));
    for (const [B, T, P] of [
      [1, 1, 1],
      [2, 3, 1],
      [1, 5, 4],
      [3, 2, 0],
      [2, 7, 3],
      [1, 1, 0],
    ]) {
      const feeds = { x: normal("x", [B, T, 4]), past: normal("past", [B, P, 4]), w: normal("w", [4, 4]) };
      const fixed = await runtime.compile(sequences(B, T, P));
      const want = await fixed.run(feeds);
      const got = await symbolic.run(feeds);
      for (const [name, { shape, dtype, data }] of Object.entries(want)) {
        expect({ name, shape: got[name].shape, dtype: got[name].dtype }).toEqual({ name, shape, dtype });
        // The same kernels on the same numbers; fusing differs where a shape is known, by a rounding or two
        for (const [i, value] of numbers(got[name]).entries())
          expect(Math.abs(value - Number(data[i]))).toBeLessThan(2e-6);
      }
    }
  });

  test("of an axis that no input names is refused", async () => {
    const graph = { y: mul(input("x", "float32", ["T+1"]), cast(iota("T"), "float32").rank) };
    await expect(runtime.compile({ ...graph, z: iota("T") })).rejects.toThrow(
      new UserError("compile: expected an input with an axis named T, got none; name the axis of an input"),
    );
  });

  test("wants equal sizes for equal names", async () => {
    const y = add(input("a", "float32", ["T"]), input("b", "float32", ["T"]));
    const program = await runtime.compile({ y });
    await expect(program.run({ a: normal("a", [3]), b: normal("b", [4]) })).rejects.toThrow(
      new UserError("run: expected input b of float32[T], got float32[4]"),
    );
  });
});

describe("axes of size zero", () => {
  const empty = float32Host([0, 4], []);

  test("pass through layout, products, norms and scatters, forward and backward", async () => {
    const x = input("x", "float32", ["N", 4]);
    const w = input("w", "float32", [4, 4]);
    const y = softmax(rmsNorm(linear(x, w), reshape(slice(w, { axis: 0, end: 1 }), [4])));
    const table = scatterAdd(iota("N"), y, { rows: 3 });
    const loss = sum(table);
    const [dx, dw] = gradients(loss, [x, w]);
    const inner = matmul(transpose(x), x);
    const program = await runtime.compile({ y, table, loss, dx, dw, inner, joined: concat([x, w], { axis: 0 }) });
    const weights = normal("w", [4, 4]);
    const results = await program.run({ x: empty, w: weights });
    expect([results.y.shape, results.dx.shape, results.joined.shape]).toEqual([
      [0, 4],
      [0, 4],
      [4, 4],
    ]);
    expect(numbers(results.table)).toEqual(Array(12).fill(0));
    expect(numbers(results.loss)).toEqual([0]);
    expect(numbers(results.dw).map(Math.abs)).toEqual(Array(16).fill(0));
    expect(numbers(results.inner)).toEqual(Array(16).fill(0)); // a sum of no products
    expect(numbers(results.joined)).toEqual([...weights.data]);
  });

  test("look up no rows", async () => {
    const y = gather(input("table", "float32", [5, 2]), input("ids", "int32", ["N"]));
    const program = await runtime.compile({ y, total: sum(y) });
    const results = await program.run({ table: normal("t", [5, 2]), ids: int32Host([0], []) });
    expect([results.y.shape, numbers(results.total)]).toEqual([[0, 2], [0]]);
  });
});

describe("feeds", () => {
  const x = input("x", "float32", ["B", 3]);

  test("that are missing or of another type or shape are named", async () => {
    const program = await runtime.compile({ y: mul(x, 2) });
    const wrong: [Record<string, HostTensor>, string][] = [
      [{}, "run: expected input x of float32[B, 3], got none; add it to the feeds"],
      [{ x: normal("x", [2, 4]) }, "run: expected input x of float32[B, 3], got float32[2, 4]"],
      [{ x: normal("x", [3]) }, "run: expected input x of float32[B, 3], got float32[3]"],
      [{ x: int32Host([1, 3], [1, 2, 3]) }, "run: expected input x of float32[B, 3], got int32[1, 3]"],
      [
        { x: { dtype: "float32", shape: [2, 3], data: new Float32Array(5) } },
        "run: expected 6 numbers for input x, got 5",
      ],
    ];
    for (const [feeds, message] of wrong) await expect(program.run(feeds)).rejects.toThrow(new UserError(message));
  });

  test("may be larger than their shape: a prefix is read", async () => {
    const program = await runtime.compile({ y: mul(x, 2) });
    const { y } = await program.run({ x: { dtype: "float32", shape: [1, 3], data: Float32Array.of(1, 2, 3, 99) } });
    expect(numbers(y)).toEqual([2, 4, 6]);
  });

  test("of one name are one input, and of two types an error", async () => {
    const again = input("x", "float32", ["B", 3]);
    const program = await runtime.compile({ y: add(x, again) });
    expect(program.inputs.map(({ name }) => name)).toEqual(["x"]);
    expect(numbers((await program.run({ x: float32Host([1, 3], [1, 2, 3]) })).y)).toEqual([2, 4, 6]);
    await expect(runtime.compile({ y: x, z: input("x", "float32", [4]) })).rejects.toThrow(
      new UserError("compile: expected one type per input, got two for x: float32[B, 3] and float32[4]; rename one"),
    );
  });

  test("are read in place: what is written between runs is seen", async () => {
    const program = await runtime.compile({ y: mul(x, 2) });
    const fed = float32Host([1, 3], [1, 2, 3]);
    await program.run({ x: fed });
    fed.data[1] = 10;
    expect(numbers((await program.run({ x: fed })).y)).toEqual([2, 20, 6]);
  });

  test("of every element type come through", async () => {
    const values: { [D in DType]: HostTensor } = {
      float32: float32Host([2], [1.5, -2]),
      float16: { dtype: "float16", shape: [2], data: Uint16Array.of(0x3e00, 0xc000) },
      int32: int32Host([2], [7, -8]),
      int64: { dtype: "int64", shape: [2], data: BigInt64Array.of(1n << 40n, -1n) },
      uint8: { dtype: "uint8", shape: [2], data: Uint8Array.of(0, 255) },
      int8: { dtype: "int8", shape: [2], data: Int8Array.of(-128, 127) },
      bool: { dtype: "bool", shape: [2], data: Uint8Array.of(1, 0) },
    };
    for (const [dtype, value] of Object.entries(values) as [DType, HostTensor][]) {
      const program = await runtime.compile({ joined: concat([input("x", dtype, [2]), constant(value)], { axis: 0 }) });
      const { joined } = await program.run({ x: value });
      expect([joined.dtype, joined.shape]).toEqual([dtype, [4]]);
      expect([...joined.data].map(Number)).toEqual([...value.data, ...value.data].map(Number));
    }
    const halves = await runtime.compile({ y: cast(input("x", "float16", [2]), "float32") });
    expect(numbers((await halves.run({ x: values.float16 })).y)).toEqual([1.5, -2]);
  });
});

describe("frozen inputs", () => {
  const x = input("x", "float32", ["B", 4]);
  const w = input("w", "float32", [4, 4]);
  const weights = normal("w", [4, 4]);

  test("give what fed ones give, and are fed no more", async () => {
    const outputs = { y: tanh(linear(x, w)), twice: mul(w, 2) };
    const fed = await runtime.compile(outputs);
    const frozen = await runtime.compile(outputs, { w: weights });
    expect(frozen.inputs.map(({ name }) => name)).toEqual(["x"]);
    const value = normal("x", [3, 4]);
    const want = await fed.run({ x: value, w: weights });
    const got = await frozen.run({ x: value });
    for (const name of ["y", "twice"]) {
      // Packed weights take another kernel: equal to rounding
      for (const [i, a] of numbers(want[name]).entries())
        expect(Math.abs(a - Number(got[name].data[i]))).toBeLessThan(1e-6);
    }
  });

  test("keep their values when the caller's array changes", async () => {
    const own = float32Host([2], [1, 2]);
    const program = await runtime.compile({ y: mul(input("w", "float32", [2]), 3) }, { w: own });
    own.data[0] = 100;
    expect(numbers((await program.run({})).y)).toEqual([3, 6]);
  });

  test("of another shape are refused", async () => {
    await expect(runtime.compile({ y: linear(x, w) }, { w: normal("w", [4, 5]) })).rejects.toThrow(
      new UserError("compile: expected frozen w of float32[4, 4], got float32[4, 5]"),
    );
    await expect(runtime.compile({ y: linear(x, w) }, { w: zerosHost("int32", [4, 4]) })).rejects.toThrow(
      new UserError("compile: expected frozen w of float32[4, 4], got int32[4, 4]"),
    );
  });

  test("take part in the signature", () => {
    const graph = { y: linear(x, w) };
    const signature = (frozen: Record<string, HostTensor>): string => compileGraph(graph, frozen).signature;
    expect(signature({ w: weights })).toBe(signature({ w: float32Host([4, 4], weights.data.slice()) }));
    expect(new Set([signature({}), signature({ w: weights }), signature({ w: normal("other", [4, 4]) })]).size).toBe(3);
  });
});

describe("outputs", () => {
  test("named in `into` are written in place, the others are allocated", async () => {
    const x = input("x", "float32", ["N"]);
    const program = await runtime.compile({ double: mul(x, 2), triple: mul(x, 3) });
    const target = zerosHost("float32", [3]);
    const results = await program.run({ x: float32Host([3], [1, 2, 3]) }, { into: { double: target } });
    expect(results.double).toBe(target);
    expect([numbers(target), numbers(results.triple)]).toEqual([
      [2, 4, 6],
      [3, 6, 9],
    ]);
  });

  test("named in `into` must fit what is known of them", async () => {
    const x = input("x", "float32", ["N", 2]);
    const ids = input("ids", "int32", ["M"]);
    const program = await runtime.compile({ y: mul(x, 2), picked: gather(x, ids) });
    const feeds = { x: float32Host([2, 2], [1, 2, 3, 4]), ids: int32Host([1], [1]) };
    const wrong: [HostTensor, string][] = [
      [zerosHost("int32", [2, 2]), "int32[2, 2] with 4 numbers"],
      [zerosHost("float32", [4]), "float32[4] with 4 numbers"],
      [zerosHost("float32", [1, 2]), "float32[1, 2] with 2 numbers"],
      [{ dtype: "float32", shape: [2, 2], data: new Float32Array(3) }, "float32[2, 2] with 3 numbers"],
    ];
    for (const [y, got] of wrong) {
      await expect(program.run(feeds, { into: { y } })).rejects.toThrow(
        new UserError(
          `run: expected \`into\` for output y of float32[2, 2], got ${got}; leave it out to have it allocated`,
        ),
      );
    }
    const roomy = { dtype: "float32", shape: [1, 2], data: new Float32Array(6) } as const;
    await program.run(feeds, { into: { picked: roomy } });
    expect([...roomy.data]).toEqual([3, 4, 0, 0, 0, 0]);
  });

  test("may be inputs, constants, or one tensor under two names", async () => {
    const x = input("x", "float32", [2]);
    const program = await runtime.compile({ x1: x, x2: x, c: constant(int32Host([1], [5])) });
    const fed = float32Host([2], [1, 2]);
    const results = await program.run({ x: fed });
    expect([numbers(results.x1), numbers(results.x2), numbers(results.c)]).toEqual([[1, 2], [1, 2], [5]]);
    expect(results.x1.data.buffer).not.toBe(fed.data.buffer);
  });
});

test("names are the caller's: an output may be called like an input, and an input in any way", async () => {
  const [w, t0, out] = [input("w", "float32", [1]), input("t0", "float32", [1]), input("out0", "float32", [1])];
  const program = await runtime.compile({ w: mul(add(w, t0), out), t0: add(t0, 1) });
  const results = await program.run({
    w: float32Host([1], [2]),
    t0: float32Host([1], [3]),
    out0: float32Host([1], [10]),
  });
  expect(program.outputs).toEqual(["w", "t0"]);
  expect([numbers(results.w), numbers(results.t0)]).toEqual([[50], [4]]);
});

describe("random leaves", () => {
  const graph = { a: random(["B", 3], "first"), b: random(["B", 3], "second"), x: input("x", "float32", ["B"]) };
  const fill =
    (seed: number) =>
    (stream: string, target: Float32Array): void => {
      randomStream(seed, stream).fillUniform(target);
    };

  test("repeat with the seed and differ by stream", async () => {
    const program = await runtime.compile(graph);
    const x = normal("x", [2]);
    const draw = async (seed: number) => program.run({ x }, { fill: fill(seed) });
    const [one, again, other] = [await draw(1), await draw(1), await draw(2)];
    expect(again).toEqual(one);
    expect(one.a.shape).toEqual([2, 3]);
    expect(numbers(one.a)).not.toEqual(numbers(one.b));
    expect(numbers(one.a)).not.toEqual(numbers(other.a));
    expect(numbers(one.a)).toEqual([...randomStream(1, "first").fillUniform(new Float32Array(6))]);
  });

  test("of one stream are one leaf", async () => {
    const program = await runtime.compile({ difference: sub(random([4], "same"), random([4], "same")) });
    expect(numbers((await program.run({}, { fill: fill(1) })).difference)).toEqual([0, 0, 0, 0]);
  });

  test("want a generator", async () => {
    const program = await runtime.compile(graph);
    await expect(program.run({ x: normal("x", [2]) })).rejects.toThrow(
      new UserError("run: expected `fill` for a graph with random numbers, got none; pass a seeded generator"),
    );
  });
});

describe("a runtime", () => {
  test("keeps one session per signature, until its last program is released", async () => {
    let [created, released] = [0, 0];
    const host = {
      create: async () => {
        created++;
        return { run: async () => ({}), release: async () => void released++ };
      },
      dispose: async () => {},
    };
    const counting = createRuntime({ host, threads: 1 });
    const graph = (factor: number) => ({ y: mul(input("x", "float32", [1]), factor) });
    const [first, second] = await Promise.all([counting.compile(graph(2)), counting.compile(graph(2))]);
    await counting.compile(graph(3));
    expect(created).toBe(2);
    await first.release();
    await first.release();
    expect(released).toBe(0);
    await second.release();
    expect(released).toBe(1);
    const third = await counting.compile(graph(2));
    expect(created).toBe(3);
    await counting.dispose();
    await third.release();
    expect(released).toBe(3);
  });

  test("gives the same numbers for the same graph, run after run and built twice", async () => {
    const feeds = { x: normal("x", [2, 3, 4]), past: normal("past", [2, 2, 4]), w: normal("w", [4, 4]) };
    const once = await (await runtime.compile(sequences("B", "T", "P"))).run(feeds);
    const other = createRuntime({ threads: 1 });
    expect(await (await other.compile(sequences("B", "T", "P"))).run(feeds)).toEqual(once);
    await other.dispose();
  });

  test("runs a graph 2,000 operators deep", async () => {
    let y: Tensor = input("x", "float32", [1]);
    for (let i = 0; i < 2_000; i++) y = add(y, input("step", "float32", [1]));
    const program = await runtime.compile({ y });
    expect(numbers((await program.run({ x: float32Host([1], [0.5]), step: float32Host([1], [1]) })).y)).toEqual([
      2000.5,
    ]);
  });

  test("wants a whole number of threads", () => {
    for (const threads of [0, -1, 1.5])
      expect(() => createRuntime({ threads })).toThrow(/^runtime: expected 1 or more threads, got/);
  });

  test("says in one line that a device is not here", async () => {
    const cuda = createRuntime({ device: "cuda", threads: 1 });
    const failure: unknown = await cuda.compile({ y: input("x", "float32", [1]) }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(UserError);
    expect((failure as Error).message).toMatch(/^runtime: expected .* cuda.*; .*use --device cpu$/);
    await cuda.dispose();
  });

  test("writes a profile when asked", async () => {
    const folder = await mkdtemp(join(tmpdir(), "profile-"));
    const profiling = createRuntime({ threads: 1, profile: join(folder, "run") });
    const program = await profiling.compile({ y: tanh(input("x", "float32", [3])) });
    await program.run({ x: normal("x", [3]) });
    await profiling.dispose();
    const [file] = await readdir(folder);
    expect(await readFile(join(folder, file), "utf8")).toContain("Tanh");
    await rm(folder, { recursive: true });
  });
});

test("jit compiles once per signature and feeds what the graph uses", async () => {
  let built = 0;
  const f = jit(runtime, ({ x, w }) => {
    built++;
    return { y: matmul(x, w) };
  });
  const unused = normal("unused", [9]);
  const run = async (n: number) =>
    numbers((await f({ x: float32Host([n, 1], Array(n).fill(2)), w: float32Host([1, 1], [3]), unused })).y);
  expect([await run(1), await run(2), await run(2)]).toEqual([[6], [6, 6], [6, 6]]);
  expect(built).toBe(2);
});

test("seconds count the time in which sessions are created and run, overlapping ones once", async () => {
  let now = 0;
  const clock = vi.spyOn(performance, "now").mockImplementation(() => now);
  const waits: (() => void)[] = [];
  const session: Session = {
    run: (_feeds, outputs) =>
      new Promise((resolve) =>
        waits.push(() => resolve(Object.fromEntries(outputs.map((name) => [name, float32Host([], [0])])))),
      ),
    release: async () => {},
  };
  const created: (() => void)[] = [];
  const create = (): Promise<Session> => new Promise((resolve) => created.push(() => resolve(session)));
  const timed = createRuntime({ host: { create, dispose: async () => {} } });
  // Two graphs under way at once, from 0 to 200 and 300 ms; the same graph again costs nothing
  const y = square(input("x", "float32", []));
  const compiled = [timed.compile({ y }), timed.compile({ z: add(y, y) }), timed.compile({ y })];
  now = 200;
  created[0]();
  const program = await compiled[0];
  now = 300;
  created[1]();
  await Promise.all(compiled);
  now = 900;
  expect(timed.seconds()).toBe(0.3);
  const start = timed.seconds();
  const feeds = { x: float32Host([], [1]) };
  now = 1000;
  const first = program.run(feeds);
  now = 3000;
  const second = program.run(feeds);
  expect(timed.seconds() - start).toBeCloseTo(2, 9);
  now = 4000;
  waits[0]();
  await first;
  now = 5500;
  waits[1]();
  await second;
  now = 9000;
  expect(timed.seconds() - start).toBeCloseTo(4.5, 9);
  const third = program.run(feeds);
  now = 9250;
  waits[2]();
  await third;
  expect(timed.seconds() - start).toBeCloseTo(4.75, 9);
  clock.mockRestore();
  await timed.dispose();
});
