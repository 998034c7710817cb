/**
 * Every ```ts block of README.md and docs/*.md runs as it stands, in a folder of its own, against the sources.
 * A line that ends in "// -> text" must print that text. A block of data that names a task (```jsonl documents) is read
 * by that task. The pages name every option of every method and task, and commands only with flags that there are.
 */
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { addCommonFlags, type CommandModule } from "../src/cli/session.ts";
import { taskNamed, tasks } from "../src/eval/tasks/index.ts";
import { methods } from "../src/methods/index.ts";
import { compiler } from "./support/compiled.ts";
import { loader, moduleUrl } from "./support/script.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const library = moduleUrl("src/index.ts");
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

/** Embedded models that a block uses and that are not there. */
const missing = (source: string): string[] =>
  [...source.matchAll(/"(mneme-[\w-]+)"/g)]
    .map(([, name]) => name)
    .filter((name) => !existsSync(join(root, "models", name, "model.safetensors")));
const waits = (source: string): boolean => missing(source).length > 0;
for (const name of new Set(blocks.flatMap(({ source }) => missing(source))))
  console.log(`skipped: examples in the docs need models/${name}, which is not there`);

let folder: string;
let javascript: Awaited<ReturnType<typeof compiler>>;
beforeAll(async () => {
  javascript = await compiler();
  folder = await mkdtemp(join(tmpdir(), "mneme-docs-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function run(source: string, cwd: string): Promise<{ code: number | null; stdout: string; stderr: string }> {
  await mkdir(cwd);
  const text = javascript(source.replaceAll('from "mneme"', `from "${library}"`), "example.mts");
  await writeFile(join(cwd, "example.mjs"), text);
  const child = spawn(process.execPath, [...loader(), "example.mjs"], { cwd });
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

  // Each is a process that compiles a model: seconds, but minutes on a machine that does something else
  const patience = { timeout: 240_000 };
  for (const [i, { name, source }] of blocks.entries()) {
    test.skipIf(waits(source))(name, patience, async () => {
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

const read = (page: string): string => readFileSync(join(root, page), "utf8");

describe("data formats", () => {
  const shown = pages.flatMap((page) =>
    [...read(page).matchAll(/^```json[l]? (\w+)\n([\s\S]*?)^```/gm)].map(([, task, data], i) => ({
      name: `${page}, ${task}, block ${i + 1}`,
      task,
      data,
    })),
  );
  test("are shown", () => {
    expect(new Set(shown.map(({ task }) => task))).toContain("documents");
  });

  test.each(shown)("$name", async ({ name, task, data }) => {
    const path = join(folder, `${name.replace(/\W+/g, "-")}.data`);
    await writeFile(path, data);
    const made = await taskNamed(task).create({ data: path });
    expect(made.topics.length).toBeGreaterThan(0);
    expect(made.questions?.length).toBeGreaterThan(0);
  });
});

/** Names in the first column of the tables of options. */
const listed = (text: string): string[] => [...text.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name);

describe("options", () => {
  const training = listed(read("docs/finetune.md"));
  test.each(Object.values(methods))("of the method $name have a page", ({ name, options }) => {
    const own = listed(read(`docs/${name}.md`));
    const keys = Object.keys(options.shape);
    expect(keys.filter((key) => !own.includes(key) && !training.includes(key))).toEqual([]);
    expect(own.filter((key) => !keys.includes(key))).toEqual([]);
  });

  test.each(Object.values(tasks))("of the task $name have a section", ({ name, options }) => {
    const sections = read("docs/tasks.md").split(/^## /m);
    const section = sections.find((text) => text.startsWith(`${name}\n`)) ?? "";
    const own = listed(section);
    // Editing tasks share theirs, under the one that comes first
    const all = own.length > 0 ? own : listed(sections.find((text) => text.startsWith("counterfact\n")) ?? "");
    expect(section).not.toBe("");
    expect(Object.keys(options.shape).filter((key) => !all.includes(key))).toEqual([]);
  });
});

describe("commands", () => {
  const lines = pages.flatMap((page) =>
    [...read(page).matchAll(/^(?: {4}|\$ )(?:npx )?mneme (.*)$/gm)].map(([, line]) => ({ page, line })),
  );
  test.each(lines)("$page: mneme $line", async ({ line }) => {
    const [name, ...words] = line.split(/\s+/);
    const module = (await import(`../src/cli/commands/${name}.ts`)) as CommandModule;
    const command = new Command(name);
    module.define(command);
    addCommonFlags(command);
    const known = command.options.flatMap(({ long, short }) => [long, short]);
    expect(words.filter((word) => word.startsWith("-") && !known.includes(word))).toEqual([]);
  });
});
