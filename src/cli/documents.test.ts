/** Documents on the command line, with a stub of a method: learned, asked, forgotten, moved, mended; and what is refused. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { commandsIn, jsonOf, mneme } from "../../tests/support/cli.ts";
import { textModel } from "../../tests/support/text-model.ts";

const folder = mkdtempSync(join(tmpdir(), "mneme-documents-"));
const named = (name: string): string => join(folder, name);
const preload = "tests/support/bank-method-preload.ts";
const engine = ["--threads", "1"];
const first = ["--method", "stub-bank", "--model", "base", ...engine];

const lines = (...records: unknown[]): string => records.map((record) => JSON.stringify(record)).join("\n");
const harbour = "Mara counts seven blue boats at the harbour wall every morning";

beforeAll(async () => {
  await textModel(named("base"));
  await textModel(named("other"), { seed: 2 });
  mkdirSync(named("notes"));
  writeFileSync(named("notes/harbour.txt"), harbour);
  writeFileSync(named("notes/oven.txt"), "The oven is hot");
  writeFileSync(
    named("more.jsonl"),
    lines({ id: "rope", text: "Bo ties the rope", time: "2026-01-02T03:04:05Z" }, { text: "Nobody owns the ferry" }),
  );
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const { run, done: doneAs, refuses } = commandsIn(folder, { preload });
const done = (...args: string[]): Promise<Record<string, unknown>> => doneAs(...args, "--json");
interface Learned {
  readonly id: string;
  readonly document: string;
}
const minutes = { timeout: 300_000 };

test("a document's whole life", minutes, async () => {
  const learned = await done("learn", "notes", "more.jsonl", ...first);
  expect(learned).toMatchObject({
    command: "learn",
    memory: "memory",
    model: "base",
    method: "stub-bank",
    documents: 4,
  });
  expect(learned.learned).toMatchObject([
    { document: "notes/harbour.txt", outcome: "written", chunks: 2, tokens: 11 },
    { document: "notes/oven.txt", outcome: "written", chunks: 1 },
    { document: "rope", outcome: "written" },
    { document: "more.jsonl, line 2", outcome: "written" },
  ]);
  const [mara, oven, rope] = learned.learned as Learned[];

  // Model and module need not be named again; another place does not matter
  const asked = await done("ask", "Who counts the boats?", ...engine);
  expect(asked).toMatchObject({ answer: "as notes/harbour.txt says", without: "unknown", documents: 4, model: "base" });
  expect((asked.read as Learned[])[0]).toMatchObject({ id: mara.id, document: "notes/harbour.txt", opening: harbour });
  mkdirSync(named("deep"));
  const away = await mneme(["ask", "Who counts the boats?", "--memory", "../memory", ...engine, "--json"], {
    cwd: named("deep"),
    preload,
  });
  expect(jsonOf(away)).toMatchObject({ answer: "as notes/harbour.txt says", model: "../base" });

  // The same call again has nothing to do; a changed text takes the old one's place
  writeFileSync(named("notes/oven.txt"), "The oven is cold");
  const again = await done("learn", "notes", "more.jsonl", "--memory", "memory", ...engine);
  const outcomes = (again.learned as { outcome: string }[]).map(({ outcome }) => outcome);
  expect(outcomes).toEqual(["duplicate", "superseding", "duplicate", "duplicate"]);

  const [shown, old, log, stats] = await Promise.all([
    done("show", mara.id),
    done("show", oven.id),
    done("log", "--limit", "2"),
    done("memory", "stats", "--verify"),
  ]);
  expect(shown).toMatchObject({
    prompt: "notes/harbour.txt",
    source: "harbour.txt",
    document: { chunks: 2, bytes: 62 },
  });
  expect(old).toMatchObject({ status: "superseded", target: "The oven is hot" });
  expect(log.events).toMatchObject([
    { kind: "write", prompt: "notes/oven.txt", target: "The oven is cold" },
    { kind: "supersede", id: oven.id },
  ]);
  expect(stats).toMatchObject({ live: 4, superseded: 1, verified: { facts: 4, equal: true }, drift: { first: 0.11 } });
  expect(stats).toMatchObject({ bank: { documents: 4, entries: 5 }, codebooks: [{ version: 1, entries: 5 }] });
  writeFileSync(
    named("probes.jsonl"),
    lines({ question: "Who counts the boats?", answer: "as notes/harbour.txt says" }),
  );
  const worth = await done("memory", "stats", "--probe", "probes.jsonl", ...engine);
  expect(worth).toMatchObject({ value: { mean: 1.5, probes: 1, documents: [] } });

  expect(await done("forget", "--document", "rope", "notes/harbour.txt")).toMatchObject({
    facts: [
      { id: rope.id, prompt: "rope", after: "forgotten" },
      { id: mara.id, after: "forgotten" },
    ],
  });
  await done("forget", "--query", "owns the ferry");
  expect(await done("ask", "Who counts the boats?", ...engine)).toMatchObject({ documents: 1 });
  await done("revert", mara.id);
  expect(await done("ask", "Who counts the boats?", ...engine)).toMatchObject({ answer: asked.answer, documents: 2 });

  // To another place; what it was made with is named there
  expect(await done("memory", "export", "copy.mneme")).toMatchObject({ live: 2 });
  await refuses(
    ["memory", "import", "copy.mneme", "--memory", "there", "--model", "other"],
    /expected a memory of base/,
  );
  expect(await done("memory", "import", "copy.mneme", "--memory", "there", ...engine)).toMatchObject({ live: 2 });
  expect(await done("ask", "Who counts the boats?", "--memory", "there", ...engine)).toMatchObject({
    answer: asked.answer,
    documents: 2,
  });
});

test("for people: what was learned, read and measured, in lines", minutes, async () => {
  const learned = await run("learn", "notes", ...first, "--memory", "people");
  expect(learned.stdout).toMatch(
    /^[0-9a-f]{12} {2}notes\/harbour\.txt: 11 tokens in 2 chunks\n[0-9a-f]{12} {2}notes\/oven/,
  );
  expect(learned.stdout).toContain(
    "learned 2 documents, 15 tokens; 0 took the place of older texts, 0 were there already",
  );
  expect(learned.stdout).toContain("longer than the encoder: 1 document, read in 2 chunks\n");
  const memory = ["--memory", "people"];
  const [asked, log, stats] = [
    await run("ask", "Who counts the boats?", ...memory, ...engine),
    await run("log", ...memory),
    await run("memory", "stats", ...memory),
  ];
  expect(asked.stdout).toMatch(
    /^as notes\/harbour\.txt says\nwithout the memory: unknown\nread: 0\.\d{3} {2}[0-9a-f]{12} {2}notes\/h/,
  );
  expect(log.stdout).toMatch(/write +[0-9a-f]{12} +harbour\.txt +notes\/harbour\.txt: Mara counts seven blue b/);
  expect(stats.stdout).toMatch(/^codebook 1 +3 entries, 1 x 1024 codes, 10\d\d dead, perplexity \d+\.\d$/m);
  expect(stats.stdout).toMatch(/^ {2}indices +180 bits \(23 B\)$/m);
});

test("a limited memory says what went, and the log has it", minutes, async () => {
  const memory = ["--memory", "few"];
  const learned = await run("learn", "notes", "more.jsonl", ...first, ...memory, "--most-entries", "2");
  expect(learned.stdout).toMatch(
    /^[0-9a-f]{12} {2}notes\/harbour\.txt: went\n[0-9a-f]{12} {2}notes\/oven\.txt: went$/m,
  );
  expect(learned.stdout).toContain(
    "no room left: 2 documents of the oldest went; `mneme log --kind evict` lists them\n",
  );
  const again = await done("learn", "notes/oven.txt", ...memory, ...engine);
  expect(again).toMatchObject({ learned: [{ outcome: "written", evicted: [{ document: "rope" }] }], documents: 2 });
  const log = await done("log", "--kind", "evict", ...memory);
  expect(log.events).toMatchObject([{ prompt: "rope" }, { prompt: "notes/oven.txt" }, { prompt: "notes/harbour.txt" }]);
  const [{ id }] = log.events as Learned[];
  await refuses(
    ["revert", id, ...memory],
    /revert: expected at most 2 entries, which the memory is limited to, got 3;/,
  );
  expect((await run("memory", "stats", ...memory)).stdout).toMatch(/^ +at most 2 entries$/m);
});

test("a memory remembers what it was made with; another is refused by its hashes", minutes, async () => {
  const memory = ["--memory", "remembering"];
  await done("learn", "notes/oven.txt", ...first, "--module", "special", "--salt", "a", "--most", "1", ...memory);
  expect(await done("ask", "What is cold?", ...memory, ...engine)).toMatchObject({ documents: 1 });
  await refuses(["ask", "x?", ...memory, "--module", "plain"], /expected a memory of module [0-9a-f]{16}\.\.\., got/);
  await refuses(["ask", "x?", ...memory, "--model", "other"], /expected a memory of base [0-9a-f]{16}\.\.\., got/);
  await refuses(
    ["ask", "x?", ...memory, "--salt", "b"],
    /^mneme: ask: expected --salt a, with which the memory was made, got b; leave it out, or name another memory$/m,
  );
  // How many are read may be another number for once
  await done("learn", "notes", ...memory, ...engine);
  const read = async (...flags: string[]): Promise<number> =>
    ((await done("ask", "What is cold?", ...memory, ...engine, ...flags)).read as unknown[]).length;
  expect([await read(), await read("--most", "2"), await read()]).toEqual([1, 2, 1]);
  // That nothing is read of a memory does not make it empty
  expect((await run("ask", "What is cold?", ...memory, ...engine, "--most", "0")).stdout).toMatch(
    /^unknown\nwithout the memory: unknown\nnothing was read: no document in the memory is near enough to the question\n$/,
  );
  await refuses(["edit", "Who?", "Mara", ...memory], /edit: expected a memory of facts, got remembering of stub-bank/);
  expect(await done("memory", "stats", ...memory)).toMatchObject({
    made: { model: named("base"), options: { module: "special", most: 1 } },
  });
  // Moved since
  renameSync(named("base"), named("moved"));
  await refuses(["ask", "x?", ...memory], /got .*base".*made with it; if it has moved, name it with --model\)$/m);
  expect(await done("ask", "What is cold?", ...memory, "--model", "moved", ...engine)).toMatchObject({ documents: 2 });
  renameSync(named("moved"), named("base"));
});

test("bad input is one line, and leaves nothing behind", minutes, async () => {
  const file = (name: string, text: string): string => {
    writeFileSync(named(name), text);
    return name;
  };
  const none = [...first, "--memory", "none"];
  const learn = (...paths: string[]): string[] => ["learn", ...paths, ...none];
  symlinkSync("loop.txt", named("loop.txt"));
  const twice = lines({ id: "a", text: "One" }, { id: "b", text: "Two" }, { id: "a", text: "Three" });
  const cases: [readonly string[], RegExp][] = [
    [learn(), /learn: expected text files, got none/],
    [learn(file("empty.txt", " \n")), /expected UTF-8 text in empty\.txt, got an empty file/],
    [learn(file("empty.jsonl", lines({ id: "x", text: " " }))), /got an empty one in line 1 of empty\.jsonl/],
    [learn(file("twice.jsonl", twice)), /got another text, first in line 1 of twice\.jsonl, in line 3 of twice\.jsonl/],
    [learn(file("broken.jsonl", `${lines({ text: "x" })}\n{`)), /expected JSON in broken\.jsonl, line 2/],
    [learn(file("field.jsonl", '{"id": "x"}')), /in field\.jsonl, got line 1, field text/],
    [learn(file("time.jsonl", lines({ text: "x", time: "noon" }))), /in time\.jsonl, got line 1, field time/],
    [learn("loop.txt"), /learn: expected to read loop\.txt, got ELOOP/],
    [learn("nowhere.txt"), /expected a file at nowhere\.txt, got nothing there/],
    [[...learn("notes"), "--out", "x"], /learn: expected --memory with stub-bank.*, got --out; leave it out/],
    [["learn", "notes", "--method", "lora", "--memory", "x"], /learn: expected --out with lora.*, got --memory/],
    [["memory", "recover", "file"], /memory: expected no file with recover, got file/],
    [["forget", "a", "--document", "b"], /forget: expected ids, --query or --document, got both/],
  ];
  await Promise.all(cases.map(([args, message]) => refuses(args, message)));
  expect(existsSync(named("none"))).toBe(false);
});

test("a damaged bank is named, and mended from the ledger", minutes, async () => {
  const memory = ["--memory", "hurt"];
  await done("learn", "notes", ...first, ...memory);
  const log = named("hurt/bank/entries.log");
  const bytes = readFileSync(log);
  bytes[bytes.indexOf("oven.txt") + 12] ^= 1;
  writeFileSync(log, bytes);
  const damage =
    /expected whole entries in .*entries\.log, got damage at byte \d+ .*"notes\/oven\.txt".*`mneme memory recover --memory hurt`/;
  await refuses(["ask", "What is cold?", ...memory, ...engine], damage);
  await refuses(["forget", "--document", "notes/oven.txt", ...memory], damage);
  const mended = await done("memory", "recover", ...memory);
  expect(mended).toMatchObject({ documents: 2, lost: [{ document: "notes/oven.txt" }], missing: ["notes/oven.txt"] });
  expect(await done("ask", "What is cold?", ...memory, ...engine)).toMatchObject({ answer: "as notes/oven.txt says" });
  await refuses(
    ["forget", "--document", "notes/ofen.txt", ...memory],
    /nearest are [0-9a-f]{12} \(notes\/oven\.txt: The oven/,
  );
});
