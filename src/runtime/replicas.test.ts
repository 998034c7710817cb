/** Copies of a program in threads of their own: their numbers, their sums, their errors and their end. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, describe, expect, test } from "vitest";
import { loader, moduleUrl } from "../../tests/support/script.ts";
import { float32Host, int32Host } from "../tensor/dtype.ts";
import { gather, input, mul, sum, tanh } from "../tensor/functions.ts";
import { randomStream } from "../tensor/random.ts";
import { createRuntime } from "./runtime.ts";
import { sumArrays } from "./sum.ts";

const runtime = createRuntime({ threads: 3 });
afterAll(() => runtime.dispose());

const shared = (values: ArrayLike<number>): Float32Array => {
  const array = new Float32Array(new SharedArrayBuffer(4 * values.length));
  array.set(values);
  return array;
};
const normals = (name: string, length: number): Float32Array =>
  randomStream(7, name).fillNormal(new Float32Array(length));

describe("replicas", () => {
  // First of all in this process: what the first session sets, every later thread must have
  test("all take denormal numbers for zero", async () => {
    const { programs, release } = await runtime.replicate({ y: mul(input("x", "float32", [1]), 1e-20) }, 3);
    const results = await Promise.all(programs.map((one) => one.run({ x: float32Host([1], [1e-20]) })));
    expect(results.map(({ y }) => y.data[0])).toEqual([0, 0, 0]);
    await release();
  });

  test("give the numbers of one program, each for its own feeds", async () => {
    const outputs = { y: sum(tanh(input("x", "float32", [5]))) };
    const one = await runtime.compile(outputs);
    const { programs, release } = await runtime.replicate(outputs, 2);
    const feeds = ["a", "b"].map((name) => ({ x: float32Host([5], normals(name, 5)) }));
    const results = await Promise.all(programs.map((program, k) => program.run(feeds[k])));
    for (const [k, { y }] of results.entries()) expect(y.data).toEqual((await one.run(feeds[k])).y.data);
    expect(runtime.seconds()).toBeGreaterThan(0);
    await release();
    await release();
  });

  test("add up shared memory, in order", async () => {
    const { sum: addUp, release } = await runtime.replicate({ y: sum(input("x", "float32", [2])) }, 3);
    for (const length of [1, 2, 10, 9001]) {
      const parts = ["a", "b", "c"].map((name) => shared(normals(name, length)));
      const expected = parts[0].map((a, i) => Math.fround(Math.fround(a + parts[1][i]) + parts[2][i]));
      const target = shared(new Float32Array(length));
      await addUp(target, parts);
      expect(Float32Array.from(target)).toEqual(Float32Array.from(expected));
      await addUp(parts[0], parts);
      expect(Float32Array.from(parts[0])).toEqual(Float32Array.from(expected));
    }
    await release();
  });

  test("pass an error on, and work on after it", async () => {
    const outputs = { y: gather(input("table", "float32", [2, 1]), input("ids", "int32", [1])) };
    const { programs, release } = await runtime.replicate(outputs, 2);
    const table = float32Host([2, 1], [3, 4]);
    const run = (id: number) => programs[1].run({ table, ids: int32Host([1], Int32Array.of(id)) });
    await expect(run(9)).rejects.toThrow(/out of (data )?bounds/);
    expect((await run(1)).y.data[0]).toBe(4);
    await release();
    await expect(run(1)).rejects.toThrow(/released/);
  });

  test("keep no process alive, disposed or not", async () => {
    const script = `
      import { createRuntime } from ${JSON.stringify(moduleUrl("src/runtime/runtime.ts"))};
      import { input, tanh } from ${JSON.stringify(moduleUrl("src/tensor/functions.ts"))};
      const runtime = createRuntime({ threads: 2 });
      await runtime.replicate({ y: tanh(input("x", "float32", [2])) }, 2);
      if (process.argv[2] === "dispose") await runtime.dispose();
      console.log("end");`;
    const folder = await mkdtemp(join(tmpdir(), "mneme-replicas-"));
    const file = join(folder, "script.mjs");
    await writeFile(file, script);
    for (const how of ["dispose", "leave"]) {
      const args = [...loader(), file, how];
      const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 60_000 });
      expect(stdout.trim()).toBe("end");
    }
    await rm(folder, { recursive: true });
  });
});

test("one array is its own sum", () => {
  const target = new Float32Array(6);
  sumArrays(target, [Float32Array.of(1, 2, 3, 4, 5, 6)]);
  expect([...target]).toEqual([1, 2, 3, 4, 5, 6]);
  sumArrays(target, [target]);
  expect(target[5]).toBe(6);
});
