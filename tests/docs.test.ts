/**
 * Every ```ts block of README.md and docs/*.md runs as it stands, in a folder of its own, against the sources.
 * A line that ends in "// -> text" must print that text.
 */
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const library = new URL("../src/index.ts", import.meta.url).href;
const pages = [
  "README.md",
  ...readdirSync(join(root, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];
const blocks = pages
  .filter((page) => existsSync(join(root, page)))
  .flatMap((page) =>
    [...readFileSync(join(root, page), "utf8").matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(([, source], i) => ({
      name: `${page}, block ${i + 1}`,
      source,
    })),
  );

/** Blocks that use the embedded model wait for it. */
const embedded = existsSync(join(root, "models/mneme-tiny/model.safetensors"));
const waits = (source: string): boolean => source.includes('"mneme-tiny"') && !embedded;
if (blocks.some(({ source }) => waits(source)))
  console.log("skipped: examples in the docs need models/mneme-tiny, which is not there");

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mneme-docs-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function run(source: string, cwd: string): Promise<{ code: number | null; stdout: string; stderr: string }> {
  await mkdir(cwd);
  await writeFile(join(cwd, "example.mts"), source.replaceAll('from "mneme"', `from "${library}"`));
  const child = spawn(process.execPath, ["--import", import.meta.resolve("tsx"), "example.mts"], { cwd });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (data: Buffer) => (stdout += data.toString()));
  child.stderr.on("data", (data: Buffer) => (stderr += data.toString()));
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  return { code, stdout, stderr };
}

describe("examples", () => {
  test("are found", () => {
    expect(blocks.length).toBeGreaterThanOrEqual(5);
    for (const { name, source } of blocks) expect(source, name).toContain('from "mneme"');
  });

  for (const [i, { name, source }] of blocks.entries()) {
    test.skipIf(waits(source))(name, async () => {
      const { code, stdout, stderr } = await run(source, join(folder, String(i)));
      expect(stderr).toBe("");
      expect(code).toBe(0);
      const lines = stdout.split("\n").map((line) => line.trim());
      let at = 0;
      for (const [, wanted] of source.matchAll(/\/\/ -> (.*)$/gm)) {
        const found = lines.indexOf(wanted.trim(), at);
        expect(found, `"${wanted}" among the printed lines from ${at} on: ${stdout}`).toBeGreaterThanOrEqual(0);
        at = found + 1;
      }
      expect(stdout.trim()).not.toBe("");
    });
  }
});
