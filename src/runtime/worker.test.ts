import { Worker } from "node:worker_threads";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { UserError } from "../errors.ts";
import { float32Host, type HostTensor } from "../tensor/dtype.ts";
import { add, gather, input, matmul, mul, sum, tanh } from "../tensor/functions.ts";
import { gradients } from "../tensor/grad.ts";
import type { Tensor } from "../tensor/graph.ts";
import { randomStream } from "../tensor/random.ts";
import { createRuntime, type Runtime } from "./runtime.ts";
import { workerHost } from "./worker.ts";

const normal = (name: string, ...shape: number[]): HostTensor<"float32"> =>
  float32Host(shape, randomStream(3, name).fillNormal(new Float32Array(shape.reduce((a, b) => a * b))));

/** The same numbers in memory that threads share, in the middle of a larger buffer. */
function share({ shape, data }: HostTensor<"float32">): HostTensor<"float32"> {
  const shared = new Float32Array(new SharedArrayBuffer(4 * data.length + 32), 16, data.length);
  shared.set(data);
  return { dtype: "float32", shape, data: shared };
}

function network(): Record<string, Tensor> {
  const [x, w] = [input("x", "float32", ["B", 8]), input("w", "float32", [8, 8])];
  const y = tanh(matmul(x, w));
  const [gw] = gradients(sum(mul(y, y)), [w]);
  return { y, gw };
}

describe("a worker host", () => {
  let runtime: Runtime;
  beforeAll(() => {
    runtime = createRuntime({ threads: 1, host: workerHost() });
  });
  afterAll(() => runtime.dispose());

  const x = normal("x", 3, 8);
  const w = normal("w", 8, 8);

  test("gives the numbers of this thread, from plain, sliced and shared memory", async () => {
    const here = createRuntime({ threads: 1 });
    const expected = await (await here.compile(network())).run({ x, w });
    const there = await runtime.compile(network());
    const middle = float32Host([8, 8], new Float32Array([7, ...w.data, 7]).subarray(1, 65));
    for (const weights of [w, middle, share(w)]) {
      expect(await there.run({ x, w: weights })).toEqual(expected);
    }
    expect(w.data).toHaveLength(64); // fed memory stays the caller's
    await here.dispose();
  });

  test("sees what is written to shared memory between runs, and to plain memory too", async () => {
    const program = await runtime.compile({ y: add(input("w", "float32", [8, 8]), 0) });
    for (const weights of [normal("own", 8, 8), share(normal("own", 8, 8))]) {
      await program.run({ w: weights });
      weights.data[5] = 42;
      expect((await program.run({ w: weights })).y.data).toEqual(Float32Array.from(weights.data));
    }
  });

  test("runs of one session that overlap keep their own feeds", async () => {
    const program = await runtime.compile({ y: add(input("w", "float32", [8, 8]), 1) });
    const fed = [1, 2, 3, 4].map((value) => share(float32Host([8, 8], new Float32Array(64).fill(value))));
    const results = await Promise.all(fed.map((one) => program.run({ w: one })));
    expect(results.map(({ y }) => y.data[63])).toEqual([2, 3, 4, 5]);
  });

  test("writes outputs in place, into plain and shared memory", async () => {
    const program = await runtime.compile(network());
    const { y } = await program.run({ x, w });
    for (const target of [
      float32Host([3, 8], new Float32Array(24)),
      share(float32Host([3, 8], new Float32Array(24))),
    ]) {
      const results = await program.run({ x, w }, { into: { y: target } });
      expect(results.y.data).toBe(target.data);
      expect(Float32Array.from(target.data)).toEqual(y.data);
    }
  });

  test("leaves the event loop free while a run is under way", async () => {
    const a = input("a", "float32", [768, 768]);
    let y: Tensor = a;
    for (let i = 0; i < 24; i++) y = tanh(matmul(y, a)); // some 22 billion multiplications
    const program = await runtime.compile({ y: sum(y) });
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    await program.run({ a: normal("a", 768, 768) });
    clearInterval(timer);
    // On this thread a run lets no timer fire at all
    expect(ticks).toBeGreaterThan(10);
  });

  test("passes errors on as what they are", async () => {
    const program = await runtime.compile(network());
    await expect(program.run({ x })).rejects.toThrow(UserError);
    const table = input("table", "float32", [4, 2]);
    const ids = input("ids", "int32", [1]);
    const lookup = await runtime.compile({ y: gather(table, ids) });
    const wrong = lookup.run({ table: normal("t", 4, 2), ids: { dtype: "int32", shape: [1], data: Int32Array.of(9) } });
    await expect(wrong).rejects.toThrow(/out of (data )?bounds/);
    const cuda = createRuntime({ device: "cuda", host: workerHost() });
    await expect(cuda.compile(network())).rejects.toThrow(UserError);
    await cuda.dispose();
  });
});

describe("a worker host that ends", () => {
  test("by dispose refuses what comes after, and what is pending", async () => {
    const host = workerHost();
    const runtime = createRuntime({ threads: 1, host });
    const program = await runtime.compile(network());
    const pending = program.run({ x: normal("x", 3, 8), w: normal("w", 8, 8) });
    const outcome = pending.then(
      () => "answered",
      (error) => error.message,
    );
    await host.dispose();
    expect(["answered", disposed]).toContain(await outcome);
    await expect(program.run({ x: normal("x", 3, 8), w: normal("w", 8, 8) })).rejects.toThrow(disposed);
    await host.dispose();
  });

  const disposed = "runtime: expected a live worker host, got one that was disposed; create another";
  const options = { device: "cpu", threads: 1, fixedSizes: true } as const;

  test("by a crash rejects every pending request, and later ones", async () => {
    const quits = 'require("node:worker_threads").parentPort.on("message", ({ id }) => id > 0 && process.exit(3))';
    const host = workerHost({ start: () => new Worker(quits, { eval: true }) });
    const both = [host.create(new Uint8Array(1), options), host.create(new Uint8Array(1), options)];
    const message = "internal: the runtime's thread ended with code 3 before it answered";
    for (const one of await Promise.allSettled(both))
      expect(String((one as PromiseRejectedResult).reason.message)).toBe(message);
    await expect(host.create(new Uint8Array(1), options)).rejects.toThrow(message);
    await host.dispose();
  });

  test("by an exception says which", async () => {
    const throws = 'require("node:worker_threads").parentPort.on("message", () => { throw new Error("no room") })';
    const host = workerHost({ start: () => new Worker(throws, { eval: true }) });
    await expect(host.create(new Uint8Array(1), options)).rejects.toThrow(
      "internal: the runtime's thread broke: no room",
    );
    await host.dispose();
  });
});
