/**
 * The compiled package under plain Node: no TypeScript loader, the worker's file resolved among the compiled ones.
 * Types are checked by `npm run check`; here they are only stripped, into a folder from which packages resolve.
 */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";

const run = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));
let folder: string;

beforeAll(async () => {
  const cache = join(root, "node_modules", ".cache");
  await mkdir(cache, { recursive: true });
  folder = await mkdtemp(join(cache, "dist-"));
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  await run(process.execPath, [tsc, "-p", root, "--noCheck", "--declaration", "false", "--outDir", folder]);
  await writeFile(join(folder, "package.json"), '{ "type": "module" }');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test("computes in a worker thread and lets the process end", async () => {
  const program = `
    import { createRuntime } from "./runtime/runtime.js";
    import { workerHost } from "./runtime/worker.js";
    import { input, matmul } from "./tensor/functions.js";
    const runtime = createRuntime({ threads: 1, host: workerHost() });
    const x = input("x", "float32", ["N", 2]);
    const { run } = await runtime.compile({ y: matmul(x, x, { transposeB: true }) });
    const { y } = await run({ x: { dtype: "float32", shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) } });
    console.log(JSON.stringify(Array.from(y.data)));
  `;
  await writeFile(join(folder, "main.js"), program);
  const { stdout } = await run(process.execPath, [join(folder, "main.js")], { timeout: 30_000 });
  expect(JSON.parse(stdout)).toEqual([5, 11, 11, 25]);
});
