/** The demo from beginning to end on a random model: what it says, what it writes, and what it leaves alone. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { mneme } from "../../tests/support/cli.ts";
import { textModel } from "../../tests/support/text-model.ts";

const folder = mkdtempSync(join(tmpdir(), "mneme-demo-"));
const named = (name: string): string => join(folder, name);
const args = ["demo", "--model", named("model"), "--threads", "1", "--out", named("demo")];

beforeAll(() => textModel(named("model"), { context: 256, vocabulary: 400 }));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("four methods learn the same topics, afresh each time", { timeout: 600_000 }, async () => {
  mkdirSync(join(named("demo"), "lora"), { recursive: true });
  writeFileSync(join(named("demo"), "lora", "result.json"), "of an earlier demo");
  const { stdout, stderr, code } = await mneme(args);
  expect(stderr).toMatch(/^replay: learned business in /m);
  expect(code).toBe(0);
  const methods = ["finetune", "lora", "replay", "rag"];
  const kept = readdirSync(named("demo")).filter((name) => !name.startsWith("demo.db"));
  expect(kept).toEqual([...methods, "report.html"].sort());
  const summaries = methods.map((method) => {
    const text = readFileSync(join(named("demo"), method, "result.json"), "utf8");
    return JSON.parse(text) as { task: string; matrix: { topics: string[]; R: number[][]; baseline: number[] } };
  });
  for (const { task, matrix } of summaries) {
    expect(task).toBe("world-topics");
    expect(matrix.topics).toEqual(["science", "sport", "business"]);
    expect(matrix.R.map(({ length }) => length)).toEqual([3, 3, 3]);
    // All start from the same base
    expect(matrix.baseline).toEqual(summaries[0].matrix.baseline);
  }
  const said = stdout.replace(/\s+/g, " ");
  expect(
    said.match(/Right after a topic, \d+% of the questions on its facts are answered rightly \(\d+% before\)/g),
  ).toHaveLength(4);
  expect(
    said.match(/Of world 0, on which the model was trained, \d+% was answered rightly before and \d+% is now\./g),
  ).toHaveLength(4);
  expect(stdout).toMatch(/^ +NAR .*\nfinetune .*\nlora .*\nreplay .*\nrag .*\n/m);
  const report = join(named("demo"), "report.html");
  expect(stdout).toContain(`report: ${report}\n`);
  const page = readFileSync(report, "utf8");
  for (const method of methods) expect(page).toContain(`>${method}`);
  expect(page).not.toMatch(/<script|https?:\/\/(?!www\.w3\.org)/);
});

test("a folder of something else is refused and left as it is", async () => {
  mkdirSync(named("texts"));
  writeFileSync(join(named("texts"), "a.txt"), "kept");
  const { code, stderr } = await mneme(["demo", "--model", named("model"), "--out", named("texts")]);
  expect(stderr).toMatch(
    /^mneme: demo: expected a folder of an earlier demo, got .* with a\.txt; name another with --out\n$/,
  );
  expect(code).toBe(2);
  expect(readdirSync(named("texts"))).toEqual(["a.txt"]);
});
