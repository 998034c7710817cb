/** Sparse memory finetuning on the command line: fitted, taught, asked, shown, taken back; and what is refused. */
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { commandsIn } from "../../tests/support/cli.ts";
import { smallTexts, textModel } from "../../tests/support/text-model.ts";

const folder = mkdtempSync(join(tmpdir(), "mneme-sparse-"));
const named = (name: string): string => join(folder, name);
const memory = { layers: [1], slots: 64, heads: 2, knn: 3, keyWidth: 8, valueWidth: 12 };
const method = ["--model", "base", "--method", "sparse-memory", "--threads", "1", "--top", "4", "--json"];
const minutes = { timeout: 600_000 };

beforeAll(async () => {
  await textModel(named("base"), { context: 96, memory });
  await textModel(named("plain"), { context: 96 });
  for (const [name, text] of Object.entries(smallTexts)) writeFileSync(named(`${name}.txt`), text);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const { done, refuses } = commandsIn(folder);
interface Written {
  readonly id: string;
}
const first = (result: Record<string, unknown>): string => ((result.facts ?? result.learned) as Written[])[0].id;

test("a table of slots is taught, and untaught", minutes, async () => {
  await refuses(
    ["edit", "Who counts?", "Mara", ...method],
    /^mneme: sparse-memory: expected the memory's background, .*mneme fit/,
  );
  const counting = ["--batches", "10", "--batch-size", "2", "--world-documents", "5", "--threads", "1"];
  const fit = await done("fit", "sparse-memory", "--model", "base", "--out", "back", "--json", ...counting);
  expect(fit).toMatchObject({ steps: 10, measured: { slotsRead: expect.any(Number) } });
  copyFileSync(named("back/background.safetensors"), named("base/background.safetensors"));

  const boats = first(
    await done("edit", "Who counts the boats?", "Mara", "--rephrase", "Who is counting boats?", ...method),
  );
  const [fingerprint, { learned }] = [
    await done("memory", "stats", "--verify", "--json"),
    await done("learn", "harbour.txt", ...method),
  ];
  expect(fingerprint).toMatchObject({ live: 1, verified: { equal: true } });
  const [{ id: harbour }] = learned as Written[];
  const asked = await done("ask", "Who counts the boats?", "--json");
  expect(asked).toMatchObject({ inScope: true, read: [{ id: expect.any(String) }] });

  const slots = await done("memory", "slots", "--write", boats, "--json");
  expect(slots).toMatchObject({ writes: [{ id: boats, slots: expect.any(Array) }] });
  const { slots: own, under } = (slots.writes as { slots: number[]; under: Written[] }[])[0];
  expect(own).toHaveLength(4);
  expect(under.map(({ id }) => id)).toEqual([harbour]);
  await refuses(
    ["revert", boats],
    new RegExp(`^mneme: revert: expected writes that no later one stands on, got ${boats} under ${harbour}`),
  );
  const replayed = await done("revert", boats, "--replay", "--threads", "1", "--json");
  const again = (replayed.again as { before: string; after: string }[])[0];
  expect(again.before).toBe(harbour);
  // The same as if the first had never been: the first write of another memory has the same bytes
  const other = first(await done("learn", "harbour.txt", "--memory", "other", ...method));
  const [mine, theirs] = [
    await done("memory", "slots", "--write", again.after, "--json"),
    await done("memory", "slots", "--write", other, "--memory", "other", "--json"),
  ];
  expect((mine.writes as { slots: number[] }[])[0].slots).toEqual((theirs.writes as { slots: number[] }[])[0].slots);
  await done("revert", again.after, "--json");
  expect(await done("memory", "stats", "--verify", "--json")).toMatchObject({ live: 0, verified: { equal: true } });
});

test("a model folder is written where one is named", minutes, async () => {
  const learned = await done("learn", "oven.txt", "--out", "taught", "--background", "stream", ...method);
  expect(learned).toMatchObject({ folder: "taught", receipt: { stopped: "done", slots: expect.any(Array) } });
  await refuses(
    ["learn", "oven.txt", "--out", "x", "--memory", "y", ...method],
    /^mneme: learn: expected --out with sparse-memory/,
  );
});

test("what can not be taught is refused", minutes, async () => {
  const plain = method.map((flag) => (flag === "base" ? "plain" : flag));
  await refuses(
    ["edit", "Who counts?", "Mara", "--memory", "a", ...plain],
    /^mneme: sparse-memory: expected a model with a memory layer/,
  );
  const many = ["--background", "stream", "--top", "64"];
  await refuses(
    ["edit", "Who counts?", "Mara", "--memory", "b", ...method.slice(0, 6), ...many],
    /^mneme: sparse-memory: expected top of at most the \d+ slots/,
  );
  await refuses(["memory", "slots", "--memory", "nowhere"], /expected a memory at .*nowhere/);
});
