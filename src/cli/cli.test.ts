/** The command line as its users meet it: real processes, exit codes, what stands on which stream. */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { jsonOf, mneme } from "../../tests/support/cli.ts";
import { writeSampleTexts, writeTinyModel } from "../../tests/support/cli-model.ts";
import { createDecoder } from "../models/decoder.ts";
import { collect, generate } from "../models/generate.ts";
import { loadModel } from "../models/load.ts";
import { createScorer } from "../models/score.ts";
import { createRuntime } from "../runtime/runtime.ts";

const folder = mkdtempSync(join(tmpdir(), "mneme-cli-"));
const model = join(folder, "tiny");
const named = (name: string): string => join(folder, name);
let texts: string[] = [];

beforeAll(async () => {
  await writeTinyModel(model);
  texts = await writeSampleTexts(named("texts"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Expects one line on stderr that matches, nothing on stdout, exit code 2. */
async function refuses(
  args: readonly string[],
  message: RegExp,
  options: Parameters<typeof mneme>[1] = {},
): Promise<void> {
  const { code, stdout, stderr } = await mneme(args, options);
  expect(stderr).toMatch(message);
  expect(stderr.trimEnd().split("\n")).toHaveLength(1);
  expect(stderr).toMatch(/^mneme: /);
  expect(stdout).toBe("");
  expect(code).toBe(2);
}

test("help lists every command and version is that of the package", async () => {
  const [bare, help, version] = await Promise.all([mneme([]), mneme(["--help"]), mneme(["--version"])]);
  for (const name of ["demo", "generate", "score", "learn", "stream", "pretrain", "models", "bench"])
    expect(help.stdout).toContain(`\n  ${name} `);
  expect(bare.stdout).toBe(help.stdout);
  expect([bare.code, help.code, version.code]).toEqual([0, 0, 0]);
  const { version: own } = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  expect(version.stdout).toBe(`${own}\n`);
});

test("mistyped commands, options, methods and models name what is near", async () => {
  await refuses(["genrate"], /unknown command 'genrate'; did you mean generate\?/);
  await refuses(["generate", "--modle", "x", "hi"], /unknown option '--modle'; did you mean --model\?/);
  await refuses(["learn", "--method", "lorra", "x.txt"], /Expected one of .*lora.*; did you mean lora\?/);
  await refuses(["stream", "--rnak", "4", "x.txt"], /unknown option '--rnak'; did you mean --rank\?/);
  await refuses(
    ["generate", "--model", named("nowhere"), "hi"],
    /model: expected an embedded model .* got ".*nowhere"/,
  );
  await refuses(["generate", "--threads", "0", "hi"], /Expected a whole number from 1 to 1024/);
  await refuses(["bench", "engine", "--only", "speed"], /expected measures among .*gemmFraction.*, got speed/);
  await refuses(["bench", "scope", "--data", "zsre"], /bench: expected name=file, got "zsre"/);
  await refuses(["generate"], /missing required argument 'prompt'/);
});

test("generate gives what the library gives, as text and as JSON", async () => {
  const runtime = createRuntime({ threads: 1 });
  const loaded = await loadModel(model);
  const decoder = await createDecoder(runtime, loaded);
  const options = { tokenizer: loaded.tokenizer, maxTokens: 12, eosIds: loaded.eosIds };
  const ids = loaded.tokenizer.encode("stone tower");
  const [greedy] = await collect(generate(decoder, [ids], options));
  const [sampled] = await collect(generate(decoder, [ids], { ...options, temperature: 0.9, topK: 50, seed: 5 }));
  await runtime.dispose();

  const args = ["generate", "--model", model, "--threads", "1", "--max-tokens", "12"];
  const [plain, json, piped] = await Promise.all([
    mneme([...args, "stone tower"]),
    mneme([...args, "--json", "--temperature", "0.9", "--top-k", "50", "--seed", "5", "stone tower"]),
    mneme([...args, "-"], { stdin: "stone tower\n" }),
  ]);
  expect(plain).toMatchObject({ code: 0, stdout: `${greedy.text}\n`, stderr: "" });
  expect(piped.stdout).toBe(plain.stdout);
  expect(jsonOf(json)).toMatchObject({
    command: "generate",
    prompt: "stone tower",
    text: sampled.text,
    tokens: sampled.tokens.length,
    finish: sampled.finish,
  });
});

test("generate searches beams and speaks in the chat template", async () => {
  const args = ["generate", "--model", model, "--json", "--max-tokens", "6"];
  const [beams, chat, plain] = await Promise.all([
    mneme([...args, "--beams", "4", "--groups", "2", "stone"]),
    mneme([...args, "--chat", "stone"]),
    mneme([...args, "[user] stone\n[assistant]"]),
  ]);
  const { hypotheses } = jsonOf(beams) as { hypotheses: { group: number; score: number }[] };
  expect(hypotheses.map(({ group }) => group).sort()).toEqual([0, 0, 1, 1]);
  expect(hypotheses.map(({ score }) => score)).toEqual(hypotheses.map(({ score }) => score).sort((a, b) => b - a));
  expect(jsonOf(chat).text).toBe(jsonOf(plain).text);
});

test("generate refuses prompts and options that make no sense", async () => {
  const args = ["generate", "--model", model];
  await refuses(
    [...args, "stone tower north otter root ".repeat(40)],
    /expected a prompt of at most 64 tokens \(the model's context\), got \d+/,
  );
  await refuses([...args, "--beams", "4", "--temperature", "1", "x"], /--beams and --temperature; leave one out/);
  await refuses([...args, "--groups", "2", "x"], /add --beams/);
  await refuses([...args, "--top-k", "2", "x"], /add --temperature 1/);
  await refuses([...args, "--adapter", named("texts"), "x"], /expected a folder with adapter_config.json/);
});

test("score gives what the scorer gives, part by part", async () => {
  const runtime = createRuntime({ threads: 1 });
  const loaded = await loadModel(model);
  const scorer = await createScorer(runtime, loaded, loaded.tokenizer);
  // Long enough for several parts
  const long = named("long.txt");
  writeFileSync(long, (await readFile(texts[0], "utf8")).repeat(12));
  const whole = await scorer.scoreText("", await readFile(long, "utf8"));
  await runtime.dispose();
  const [json, plain] = await Promise.all([
    mneme(["score", "--model", model, "--threads", "1", "--json", long, texts[1]]),
    mneme(["score", "--model", model, "--threads", "1", long]),
  ]);
  const result = jsonOf(json) as { files: Record<string, number>[]; total: Record<string, number> };
  expect(result.files[0]).toMatchObject({ file: long, tokens: whole.tokens, bytes: whole.bytes });
  expect(result.files[0].nats / whole.nats).toBeCloseTo(1, 6);
  expect(result.files[0].bitsPerByte).toBeCloseTo(whole.nats / Math.LN2 / whole.bytes, 5);
  expect(result.total.nats).toBeCloseTo(result.files[0].nats + result.files[1].nats, 6);
  expect(plain.stdout).toMatch(/file +nats\/token +bits\/byte +tokens +bytes\n/);
  expect(plain.stdout).not.toContain("\u001b");
});

test("texts that are none are refused with the place", async () => {
  const write = (name: string, data: string | Uint8Array): string => {
    writeFileSync(named(name), data);
    return named(name);
  };
  const score = ["score", "--model", model];
  await refuses([...score, write("empty.txt", "")], /got an empty file/);
  await refuses([...score, write("binary.txt", "abc\0def")], /NUL byte at offset 3/);
  await refuses(
    [...score, write("latin.txt", Uint8Array.from([0x63, 0x61, 0x66, 0xe9, 0x21]))],
    /invalid byte 0xe9 at offset 3/,
  );
  await refuses([...score, named("none.txt")], /got nothing there/);
  const out = named("short-out");
  const short = write("short.txt", "one line only");
  await refuses(
    ["stream", "--model", model, "--method", "lora", "--out", out, short],
    /expected a text that can be split/,
  );
  expect(existsSync(out)).toBe(false);
});

test("models that cannot be loaded are refused in one line", async () => {
  const broken = async (name: string, change: (config: Record<string, unknown>) => void): Promise<string> => {
    await cp(model, named(name), { recursive: true });
    const config = JSON.parse(await readFile(join(model, "config.json"), "utf8")) as Record<string, unknown>;
    change(config);
    writeFileSync(join(named(name), "config.json"), JSON.stringify(config));
    return named(name);
  };
  const strange = await broken("strange", (config) => (config.model_type = "mamba"));
  await refuses(["generate", "--model", strange, "x"], /expected model_type to be one of .*llama.*, got "mamba"/);
  const wide = await broken("wide", (config) => (config.intermediate_size = 48));
  await refuses(["generate", "--model", wide, "x"], /expected tensor ".*" of shape \[48, 16\], got \[32, 16\]/);
  const spare = await broken("spare", () => undefined);
  const tokenizer = JSON.parse(await readFile(join(model, "tokenizer.json"), "utf8")) as { added_tokens: object[] };
  tokenizer.added_tokens.push({ ...tokenizer.added_tokens[0], id: 5000, content: "<extra>" });
  writeFileSync(join(spare, "tokenizer.json"), JSON.stringify(tokenizer));
  await refuses(
    ["generate", "--model", spare, "x"],
    /tokenizer and model disagree: expected ids below the model's vocab_size \d+, got ids up to 5000 \("<extra>"\)/,
  );
  await refuses(["generate", "--model", "some/model", "x"], /HF_HUB_OFFLINE/);
});

test("damaged weights are refused in one line", async () => {
  const whole = await readFile(join(model, "model.safetensors"));
  const length = Number(whole.readBigUInt64LE(0));
  const header = whole.toString("utf8", 8, 8 + length);
  const names = Object.keys(JSON.parse(header) as object);
  const withHeader = (text: string): Buffer =>
    Buffer.concat([whole.subarray(0, 8), Buffer.from(text.trimEnd().padEnd(length)), whole.subarray(8 + length)]);
  const oversized = Buffer.from(whole);
  oversized.writeBigUInt64LE(1n << 40n);
  const cases: [string, Uint8Array, RegExp][] = [
    ["truncated", whole.subarray(0, -100), /bytes of data, got \d+ \(truncated\)/],
    ["oversized", oversized, /a header of at most 100000000 bytes, got 1099511627776/],
    ["overlapping", withHeader(overlapped(header)), /to begin at byte \d+, got 0 \(an overlap\)/],
    [
      "integers",
      withHeader(header.replace('"F32"', '"I32"')),
      new RegExp(`expected floats in "${names[0]}", got int32`),
    ],
    [
      "missing",
      withHeader(header.replace(`"${names[0]}"`, `"${"x".repeat(names[0].length)}"`)),
      new RegExp(
        `expected tensor "${names[0]}" of shape \\[[\\d, ]+\\], got none; .*expected are .*the file has .*xxx`,
      ),
    ],
  ];
  for (const [name, bytes, message] of cases) {
    await cp(model, named(name), { recursive: true });
    writeFileSync(join(named(name), "model.safetensors"), bytes);
    await refuses(["score", "--model", named(name), texts[0]], message);
  }
});

/** The header with its second tensor moved onto the first one of equal size, so that all but the place is right. */
function overlapped(header: string): string {
  const entries = JSON.parse(header) as Record<string, { shape: number[]; data_offsets: [number, number] }>;
  const [, second] = Object.values(entries).sort((a, b) => a.data_offsets[0] - b.data_offsets[0]);
  second.data_offsets = [0, second.data_offsets[1] - second.data_offsets[0]];
  return JSON.stringify(entries);
}

test("errors are JSON too when JSON is asked for", async () => {
  const result = await mneme(["generate", "--model", named("nowhere"), "--json", "hi"]);
  expect(jsonOf(result)).toMatchObject({ kind: "user", error: expect.stringContaining("nowhere") });
  expect(result.code).toBe(2);
});

test("models lists the cache with what is known from the headers", async () => {
  const commit = "0123456789abcdef0123456789abcdef01234567";
  const repo = join(named("hf"), "hub", "models--acme--tiny");
  mkdirSync(join(repo, "refs"), { recursive: true });
  writeFileSync(join(repo, "refs", "main"), commit);
  await cp(model, join(repo, "snapshots", commit), { recursive: true });
  writeFileSync(join(repo, "snapshots", commit, "README.md"), "---\nlicense: apache-2.0\n---\n# tiny\n");
  const env = { HF_HOME: named("hf") };
  const [json, plain, used] = await Promise.all([
    mneme(["models", "--json"], { env }),
    mneme(["models"], { env }),
    mneme(["generate", "--model", "acme/tiny", "--max-tokens", "2", "--json", "stone"], { env }),
  ]);
  const { models, kinds } = jsonOf(json) as { models: Record<string, unknown>[]; kinds: Record<string, unknown>[] };
  expect(models.find(({ name }) => name === "acme/tiny")).toMatchObject({
    type: "llama",
    licence: "apache-2.0",
    where: "cache",
    usable: true,
    context: 64,
  });
  expect(kinds).toContainEqual({ type: "bert", kind: "encoder" });
  expect(plain.stdout).toMatch(/acme\/tiny +llama/);
  expect(jsonOf(used)).toMatchObject({ tokens: 2 });
});

test("a reader that goes away ends generation without a word", async () => {
  const { stderr, code } = await mneme(["generate", "--model", model, "--max-tokens", "50", "stone"], {
    closeStdout: true,
  });
  expect(stderr).toBe("");
  expect([0, 141]).toContain(code);
});

test("a fault of our own is called internal and has exit code 1", async () => {
  // The engine cannot be loaded where its package is hidden by one that throws
  const hidden = named("hidden.mjs");
  writeFileSync(
    hidden,
    `import { performance } from "node:perf_hooks";\nperformance.now = () => { throw new TypeError("no clock"); };\n`,
  );
  const { code, stderr } = await mneme(["generate", "--model", model, "--max-tokens", "1", "x"], {
    env: { NODE_OPTIONS: `--import ${hidden}` },
  });
  expect(stderr).toMatch(/^mneme: internal: no clock; .*--debug/);
  expect(code).toBe(1);
});
