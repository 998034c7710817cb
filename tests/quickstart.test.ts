/** The example of the README is run as it stands there, and examples/quickstart.ts is the same. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const read = (path: string): string => readFileSync(`${root}${path}`, "utf8");

/** Without comments and imports' places. */
const body = (source: string): string =>
  source
    .replaceAll(/^\/\/.*\n/gm, "")
    .replace(/from ".*"/, 'from "mneme"')
    .replaceAll(/\n{2,}/g, "\n")
    .trim();

test("the README shows the quick start", () => {
  const shown = /```ts\n([\s\S]*?)```/.exec(read("README.md"))?.[1] ?? "";
  expect(body(shown)).toBe(body(read("examples/quickstart.ts")));
});

const embedded = existsSync(`${root}models/mneme-base/model.safetensors`);
if (!embedded) console.log("skipped: the quick start needs models/mneme-base, which is not there");

test.skipIf(!embedded)("the quick start learns and generates", () => {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ["--import", import.meta.resolve("tsx"), "examples/quickstart.ts"],
    { cwd: root, encoding: "utf8" },
  );
  expect(stderr).toBe("");
  expect(status).toBe(0);
  const losses = stdout
    .split("\n")
    .filter((line) => /^\d+\.\d+$/.test(line))
    .map(Number);
  expect(losses.length).toBeGreaterThan(0);
  expect(losses.at(-1)).toBeLessThan(losses[0]);
  expect(stdout.trim().split("\n").at(-1)).not.toMatch(/^\d+\.\d+$/);
});
