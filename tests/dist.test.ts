/**
 * Compiled sources under plain Node: no TypeScript loader, the worker's file resolved among the compiled ones. Tests of
 * the command line run what is compiled, too; a worker thread is started here only.
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loader, moduleUrl } from "./support/script.ts";

const from = (path: string): string => JSON.stringify(moduleUrl(path));

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mneme-dist-"));
});
afterAll(() => rm(folder, { recursive: true }));

test("computes in a worker thread and lets the process end", async () => {
  const program = `
    import { createRuntime } from ${from("src/runtime/runtime.ts")};
    import { workerHost } from ${from("src/runtime/worker.ts")};
    import { input, matmul } from ${from("src/tensor/functions.ts")};
    const runtime = createRuntime({ threads: 1, host: workerHost() });
    const x = input("x", "float32", ["N", 2]);
    const { run } = await runtime.compile({ y: matmul(x, x, { transposeB: true }) });
    const { y } = await run({ x: { dtype: "float32", shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) } });
    console.log(JSON.stringify(Array.from(y.data)));
  `;
  expect(loader()).toEqual([]);
  await writeFile(join(folder, "main.mjs"), program);
  const { stdout } = await promisify(execFile)(process.execPath, [join(folder, "main.mjs")], { timeout: 60_000 });
  expect(JSON.parse(stdout)).toEqual([5, 11, 11, 25]);
});
