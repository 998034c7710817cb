/** The memory on the command line: written, asked, forgotten, taken back, exported, imported; and what is refused. */
import { existsSync, mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { commandsIn } from "../../tests/support/cli.ts";
import { writeRandomModule } from "../../tests/support/larimar-module.ts";
import { textModel } from "../../tests/support/text-model.ts";
import { createRuntime } from "../runtime/runtime.ts";

const folder = mkdtempSync(join(tmpdir(), "mneme-memory-"));
const named = (name: string): string => join(folder, name);
const [model, module, other] = ["base", "module", "other"].map(named);
const flags = ["--model", model, "--module", module, "--threads", "1", "--threshold", "0.95", "--json"];

beforeAll(async () => {
  const runtime = createRuntime({ threads: 1 });
  const base = await textModel(model, { context: 96 });
  await writeRandomModule(runtime, base, module);
  await writeRandomModule(runtime, base, other, { seed: 6 });
  await runtime.dispose();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const { run, done, refuses } = commandsIn(folder);

interface Fact {
  readonly id: string;
  readonly target: string;
  readonly status: string;
}
const boats = "Who counts the boats?";
const minutes = { timeout: 300_000 };

test("a fact's whole life", minutes, async () => {
  writeFileSync(
    named("facts.jsonl"),
    [
      { prompt: boats, target: "Bo", rephrase: "Who is counting the boats?" },
      { prompt: "What stays in the harbour?", target: "the ferry", source: "the log book" },
    ]
      .map((fact) => JSON.stringify(fact))
      .join("\n"),
  );
  const first = await done("edit", boats, "Mara", ...flags);
  const [mara] = first.facts as (Fact & { receipt: Record<string, { before: unknown; after: unknown }> })[];
  const asked = await done("ask", boats, ...flags);
  expect(asked).toMatchObject({ command: "ask", memory: "memory", inScope: true, read: [{ id: mara.id }] });
  expect(mara.receipt.answer).toEqual({ before: asked.without, after: asked.answer });

  const { facts } = (await done("edit", "--file", "facts.jsonl", "--no-receipt", ...flags)) as { facts: Fact[] };
  expect(facts).toMatchObject([{ outcome: "superseding", supersedes: { id: mara.id }, receipt: null }, {}]);
  const [bo] = facts;
  const [shown, log, stats] = await Promise.all([
    done("show", bo.id.slice(0, 8), "--json"),
    done("log", "--json"),
    done("memory", "stats", "--verify", "--json"),
  ]);
  expect(shown).toMatchObject({ command: "show", source: "facts.jsonl", supersedes: [{ id: mara.id }] });
  const events = log.events as { seq: number; kind: string; source: string }[];
  expect(events.map(({ kind, source }) => [kind, source])).toEqual([
    ["write", "the log book"],
    ["write", "facts.jsonl"],
    ["supersede", "cli"],
    ["write", "cli"],
  ]);
  expect(stats).toMatchObject({ live: 2, superseded: 1, verified: { facts: 2, equal: true } });

  expect(await done("forget", "--query", "the ferry", "--json")).toMatchObject({ facts: [{ after: "forgotten" }] });
  expect(await done("forget", bo.id, "--json")).toMatchObject({ facts: [{ id: bo.id, after: "forgotten" }] });
  expect(await done("ask", boats, ...flags)).toMatchObject({ inScope: false, answer: asked.without, read: [] });
  await done("revert", bo.id, "--json");
  const reverted = await done("revert", "--to", "1", "--json");
  expect(reverted.facts).toMatchObject([
    { id: mara.id, after: "live" },
    { id: bo.id, after: "forgotten" },
  ]);
  const answered = await done("ask", boats, ...flags);
  expect(answered).toMatchObject({ answer: asked.answer, read: [{ id: mara.id }] });
  // It remembers model and module
  expect(await done("ask", boats, "--threads", "1", "--threshold", "0.95", "--json")).toEqual(answered);

  // To another place, and the same there
  expect(await done("memory", "export", "copy.mneme", "--json")).toMatchObject({ live: 1, file: "copy.mneme" });
  await refuses(["memory", "export", "copy.mneme"], /expected a new file to export to, got copy\.mneme/);
  const wrong = ["memory", "import", "copy.mneme", "--memory", "there", ...flags, "--module", other];
  await refuses(
    wrong,
    /import: expected a memory of module [0-9a-f]{16}\.\.\., got copy\.mneme of module [0-9a-f]{16}/,
  );
  expect(await done("memory", "import", "copy.mneme", "--memory", "there", ...flags)).toMatchObject({ live: 1 });
  expect(await done("ask", boats, "--memory", "there", ...flags)).toEqual({ ...answered, memory: "there" });
});

test("for people: what was written, asked and done, in lines", minutes, async () => {
  const plain = [...flags.slice(0, -1), "--memory", "plain"];
  const edited = await run("edit", boats, "Mara", ...plain);
  expect(edited.stdout).toMatch(
    /^[0-9a-f]{12} {2}Who counts the boats\? -> Mara\n(.*does not give.*\n)? {2}answer: ".*" before, ".*" after\n/,
  );
  expect(edited.stdout.includes("written, but the model does not give this target")).toBe(
    !edited.stdout.includes('"Mara" after'),
  );
  expect(edited.stdout).toContain("16 unrelated prompts: 0 answers changed, likelihoods by nothing");
  const id = edited.stdout.slice(0, 12);
  const [asked, shown, log] = await Promise.all([
    run("ask", boats, ...plain),
    run("show", id, "--memory", "plain"),
    run("log", "--memory", "plain"),
  ]);
  expect(asked.stdout).toContain(`read: ${id}  Who counts the boats? -> Mara\n`);
  expect(asked.stdout).toMatch(/^in scope: score 1\.000, threshold 0\.95$/m);
  expect(shown.stdout).toContain("status         live\n");
  expect(log.stdout).toMatch(new RegExp(`^ +1 +\\S+ \\S+ +write +${id} +cli +Who counts the boats\\? -> Mara$`, "m"));
});

test("bad input is one line, before a model is loaded", minutes, async () => {
  const fact = JSON.stringify({ prompt: boats, target: "Mara" });
  const contrary = JSON.stringify({ prompt: "who counts the boats", target: "Bo" });
  const empty = JSON.stringify({ prompt: "Who?", target: "" });
  const file = (name: string, ...lines: string[]): string[] => {
    writeFileSync(named(name), lines.join("\n"));
    return ["edit", "--file", name, "--memory", "none"];
  };
  const cases: [readonly string[], RegExp][] = [
    [["edit"], /edit: expected a prompt and a target, or --file, got neither/],
    [["edit", boats], /edit: expected a prompt and a target, or --file, got a prompt alone/],
    [["edit", boats, "a".repeat(7000)], /expected a fact of at most 6144 bytes, got 7021 of text alone; shorten/],
    [["edit", boats, "x", "--file", "f"], /expected either a prompt with its target or --file, got both/],
    [["edit", boats, "Ma\u001b[31mra"], /a target without control characters, got "Ma \[31mra" with U\+001B; take it/],
    [["edit", " ", "Mara"], /expected a prompt with text in it, got " "/],
    [file("double.jsonl", fact, "", fact), /the same fact again in line 3 of double\.jsonl \(first in line 1/],
    [file("contrary.jsonl", fact, contrary), /got "Bo" after "Mara" in line 2 of contrary\.jsonl/],
    [file("empty.jsonl", fact, empty), /expected a target with text in it, got "" in line 2 of empty\.jsonl/],
    [file("broken.jsonl", fact, "{"), /expected JSON in broken\.jsonl, line 2/],
    [file("field.jsonl", '{"prompt": "x?"}'), /in field\.jsonl, got line 1, field target/],
    [["ask", boats, "--memory", "none"], /expected a memory at .*none, got none; write a fact first/],
    [["forget"], /forget: expected ids, --query or --document, got neither/],
    [["revert", "abcd", "--to", "1"], /revert: expected the id of a fact or --to, got both/],
    [["memory", "export"], /expected a file with export, got none/],
  ];
  await Promise.all(cases.map(([args, message]) => refuses(args, message)));
  expect(existsSync(named("none"))).toBe(false);
});

test("bad input against a memory leaves it as it was", minutes, async () => {
  const memory = ["--memory", "kept"];
  const plain = flags.slice(0, -1);
  writeFileSync(
    named("two.jsonl"),
    ["boats", "nets"].map((what) => JSON.stringify({ prompt: `Who counts the ${what}?`, target: "Bo" })).join("\n"),
  );
  await done("edit", "--file", "two.jsonl", "--no-receipt", ...memory, ...flags);
  await done("memory", "export", "whole.mneme", ...memory, "--json");
  truncateSync(named("whole.mneme"), statSync(named("whole.mneme")).size - 100);
  const before = await done("log", ...memory, "--json");
  const [, { id }] = before.events as Fact[];
  const long = `${"Who counts the seven blue boats ".repeat(9)}?`;
  const cases: [readonly string[], RegExp][] = [
    [["forget", `${id.slice(0, 5)}0000000`, ...memory], new RegExp(`nearest are ${id} \\(Who counts the boats\\?`)],
    [["forget", "--query", "who counts", ...memory], /which 2 have; name one by its id: .*(boats.*nets|nets.*boats)/],
    [["forget", "--query", "whales", ...memory], /expected words of one fact, got "whales", which 0 have/],
    [["show", "ffffffff", ...memory], /show: expected the id of a fact, got "ffffffff"/],
    [["revert", "--to", "noon", ...memory], /revert: expected a time such as "2026-01-31 09:05", got "noon"/],
    [["revert", "--to", "99", ...memory], /expected an event up to 2, got 99/],
    [["memory", "import", "whole.mneme", "--memory", "cut", ...plain], /\(cut off\)/],
    [["edit", long, "Mara", ...memory, ...plain], /expected a fact of 1 to 48 tokens, got \d+/],
    [["ask", "a".repeat(9000), ...memory, ...plain], /expected a command line of at most 8192 bytes, got \d+/],
    [["ask", boats, ...memory, ...plain, "--module", other], /expected a memory of module [0-9a-f]{16}/],
  ];
  await Promise.all(cases.map(([args, message]) => refuses(args, message)));
  expect(existsSync(named("cut"))).toBe(false);
  expect(await done("log", ...memory, "--json")).toEqual(before);
});
