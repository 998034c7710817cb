/** Learning on the command line: what is written, what is refused, and that stopping and going on changes nothing. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { jsonOf, mneme } from "../../tests/support/cli.ts";
import { tinyArchitecture, writeSampleTexts, writeTinyModel } from "../../tests/support/cli-model.ts";
import { openRunFolder } from "../runs/folder.ts";

const folder = mkdtempSync(join(tmpdir(), "mneme-learn-"));
const model = join(folder, "tiny");
const named = (name: string): string => join(folder, name);
let texts: string[] = [];
/** Small steps on one thread: the same numbers on any machine of one kind. */
const engine = ["--model", model, "--threads", "1", "--batch-size", "4", "--context-length", "32"];
/** Enough steps to be stopped in the middle of them. */
const long = ["--epochs", "500"];

beforeAll(async () => {
  await writeTinyModel(model);
  texts = await writeSampleTexts(named("texts"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The arguments of the command that a stopped one names to go on with. */
function resumeArguments(stderr: string): string[] {
  const command = /go on with: (?:npx tsx \S*main\.ts|mneme) (.*)\n/.exec(stderr)?.[1];
  if (command === undefined) throw new Error(`expected a command to go on with in ${stderr}`);
  return command.split(" ");
}

test.each([
  { method: "lora", options: { rank: 2, learningRate: 0.02 } },
  { method: "adapter", options: { size: 4, learningRate: 0.02 } },
])("learn with $method writes an adapter that score and generate take", async ({ method, options }) => {
  const out = named(`${method} folder`);
  const [[option, value]] = Object.entries(options);
  const learned = await mneme([
    "learn",
    ...engine,
    "--method",
    method,
    `--${option}`,
    String(value),
    "--epochs",
    "30",
    `--${method}.learning-rate`,
    "0.02",
    "--json",
    "--out",
    out,
    texts[0],
  ]);
  expect(learned.code).toBe(0);
  expect(jsonOf(learned)).toMatchObject({
    method,
    options: { ...options, epochs: 30 },
    receipt: { stopped: "done", documents: [texts[0]] },
  });
  expect(readdirSync(out).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
  const score = ["score", "--model", model, "--json", texts[0]];
  const [base, adapted, asModel, generated] = await Promise.all([
    mneme(score),
    mneme([...score, "--adapter", out]),
    mneme(["score", "--model", out, texts[0]]),
    mneme(["generate", "--model", model, "--adapter", out, "--max-tokens", "4", "--json", "The"]),
  ]);
  const bits = (result: typeof base): number => (jsonOf(result).total as { bitsPerByte: number }).bitsPerByte;
  expect(bits(adapted)).toBeLessThan(bits(base) - 0.01);
  expect(asModel.stderr).toMatch(/got the adapter .*--adapter/);
  expect(jsonOf(generated)).toMatchObject({ tokens: 4 });
});

test("learn stopped by Ctrl-C goes on to the same weights", async () => {
  const args = ["learn", ...engine, ...long, "--method", "finetune"];
  const [whole, stopped] = [named("whole"), named("stopped")];
  const unbroken = await mneme([...args, "--out", whole, texts[0], texts[1]]);
  expect(unbroken.code).toBe(0);
  expect(readdirSync(whole).sort()).toEqual([
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
  ]);

  const first = await mneme([...args, "--json", "--out", stopped, texts[0], texts[1]], {
    interruptAt: /learning with finetune/,
  });
  expect(first.code).toBe(130);
  expect(jsonOf(first)).toMatchObject({ interrupted: true });
  expect(readdirSync(stopped)).toEqual(["learning"]);
  const again = await mneme([...args, "--out", stopped, texts[0]]);
  expect(again.stderr).toMatch(/expected a new or empty folder.*--resume/);
  expect(again.code).toBe(2);

  const second = await mneme(resumeArguments(first.stderr));
  expect(second.code).toBe(0);
  expect(second.stderr).toMatch(/continuing at step \d+ of/);
  expect(readdirSync(stopped).sort()).toEqual(readdirSync(whole).sort());
  expect(readFileSync(join(stopped, "model.safetensors")).equals(readFileSync(join(whole, "model.safetensors")))).toBe(
    true,
  );
});

test("stream with two methods stopped by Ctrl-C goes on to the same matrices", async () => {
  const args = ["stream", ...engine, "--epochs", "200", "--method", "finetune", "--method", "lora", ...texts];
  const [whole, stopped] = [named("stream-whole"), named("stream-stopped")];
  const unbroken = await mneme([...args, "--json", "--out", whole]);
  expect(unbroken.code).toBe(0);
  const first = await mneme([...args, "--out", stopped], { interruptAt: /finetune 2\/3/, kill: "SIGTERM" });
  expect(first.code).toBe(130);
  const second = await mneme([...resumeArguments(first.stderr), "--json"]);
  expect(second.code).toBe(0);
  expect(second.stderr).toMatch(/finetune: going on after 1 of 3 topics/);
  type Runs = { runs: { method: string; matrix: { R: number[][] } }[] };
  const matrices = (result: typeof first) =>
    (jsonOf(result) as unknown as Runs).runs.map(({ method, matrix }) => ({ method, matrix }));
  expect(matrices(second)).toEqual(matrices(unbroken));
  expect(matrices(unbroken).map(({ method }) => method)).toEqual(["finetune", "lora"]);
  for (const { matrix } of matrices(unbroken))
    expect(matrix.R.flat().every(Number.isFinite) && matrix.R.length === 3).toBe(true);
  const report = readFileSync(join(stopped, "report.html"), "utf8");
  expect(report).toContain("finetune on");
  expect(report).toContain("lora on");
  expect(readdirSync(stopped).sort()).toEqual(["finetune", "lora", "report.html", "result.json", "stream.json"]);

  // A finished stream gives its result again, for people this time
  const shown = await mneme(["stream", "--resume", whole]);
  expect(shown.stdout).toMatch(/after b\.txt +\d\.\d\d +\[\d\.\d\d\] +\d\.\d\d/);
  expect(shown.stdout).toMatch(/ACC .* BWT .* forgetting /);
  expect(shown.stdout.match(/After learning c\.txt, a\.txt got (worse|better) by/g)).toHaveLength(2);
  expect(shown.stdout).toMatch(/forgot least/);
  expect(shown.stdout).toMatch(/^report: .*stream-whole.report\.html$/m); // relative where that is shorter
});

test("one method has the folder of the stream to itself", async () => {
  const out = named("single");
  const { code, stdout } = await mneme([
    "stream",
    ...engine,
    "--epochs",
    "1",
    "--method",
    "lora",
    "--columns",
    "seen",
    "--no-baseline",
    "--json",
    "--out",
    out,
    ...texts,
  ]);
  expect(code).toBe(0);
  const { runs } = JSON.parse(stdout) as {
    runs: { matrix: { R: (number | null)[][]; baseline: null }; config: unknown }[];
  };
  expect(runs[0].matrix.R[0].slice(1)).toEqual([null, null]);
  expect(runs[0].matrix.baseline).toBeNull();
  expect(JSON.parse(readFileSync(join(out, "result.json"), "utf8"))).toEqual(runs[0]);
  expect(readFileSync(join(out, "report.html"), "utf8")).toMatch(/^<!doctype html>/);
});

test("options are checked against the chosen methods before anything is written", async () => {
  const cases: [string[], RegExp][] = [
    [
      ["learn", "--method", "finetune", "--rank", "4", texts[0]],
      /got --rank of lora; leave it out or add --method lora/,
    ],
    [["learn", "--method", "finetune", "--lora.epochs", "4", texts[0]], /got --lora\.epochs of lora/],
    [["learn", "--method", "lora", "--rank", "0", texts[0]], /lora: expected valid options, got rank/],
    [
      ["learn", "--method", "lora", "--targets", "q_proj,nothing", texts[0]],
      /expected targets among .*q_proj.*, got nothing/,
    ],
    [
      ["learn", "--method", "lora", "--optimizer", "adan", texts[0]],
      /Expected one of sgd, adam, adamw; did you mean adam/,
    ],
    [["learn", "--method", "lora", "--method", "finetune", texts[0]], /Expected one method/],
    [["stream", "--method", "lora", texts[0], named("missing.txt")], /nothing there/],
    [["stream", texts[0]], /expected --method, got none/],
    [["learn", "--method", "lora"], /expected text files, got none/],
  ];
  const results = await Promise.all(
    cases.map(([[command, ...args]]) => mneme([command, "--model", model, "--out", named("refused"), ...args])),
  );
  for (const [i, { code, stderr }] of results.entries()) {
    expect(stderr).toMatch(cases[i][1]);
    expect(stderr.trim().split("\n")).toHaveLength(1);
    expect(code).toBe(2);
  }
  expect(readdirSync(folder)).not.toContain("refused");
});

test("a loss that is not finite stops with the step named and the last good state kept", async () => {
  const out = named("diverged");
  const { code, stderr } = await mneme([
    "learn",
    ...engine,
    "--method",
    "finetune",
    "--optimizer",
    "sgd",
    "--learning-rate",
    "1e30",
    "--clip-norm",
    "0",
    "--warmup-steps",
    "0",
    "--out",
    out,
    texts[0],
  ]);
  expect(stderr).toMatch(/mneme: train: expected finite numbers, got .* at step \d+/);
  expect(code).toBe(2);
  expect(readdirSync(out)).toEqual(["learning"]);
});

test("a disk that fills up while learning is one line, and --resume goes on when there is room", async () => {
  const out = named("full");
  // The file system's answer from the first byte of weights on
  const full = named("full.mjs");
  writeFileSync(
    full,
    `import fs from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
const open = fs.open;
fs.open = async (path, ...rest) => {
  const handle = await open(path, ...rest);
  if (/safetensors.*tmp$/.test(String(path)))
    handle.write = async () => { throw Object.assign(new Error("no space"), { code: "ENOSPC" }); };
  return handle;
};
syncBuiltinESMExports();
`,
  );
  const args = ["learn", ...engine, "--epochs", "2", "--method", "lora", "--out", out, texts[0]];
  const failed = await mneme(args, { env: { NODE_OPTIONS: `--import ${full}` } });
  expect(failed.stderr).toMatch(/mneme: save: expected to write .*safetensors, got the disk is full; free some space/);
  expect(failed.code).toBe(2);
  const left = readdirSync(out, { recursive: true }).map(String);
  expect(left.filter((name) => /safetensors|tmp|lock/.test(name))).toEqual([]);
  const resumed = await mneme(["learn", "--resume", out, "--threads", "1"]);
  expect(resumed.code).toBe(0);
  expect(readdirSync(out).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
});

test("two processes do not share a run folder", async () => {
  const out = named("busy");
  const run = await openRunFolder(out);
  await run.writeJson("config.json", { kind: "stream", model, method: "lora", files: texts, out });
  const { code, stderr } = await mneme(["stream", "--resume", out]);
  await run.close();
  expect(stderr).toMatch(/got a lock of process \d+/);
  expect(code).toBe(2);
});

test("--resume refuses other options and folders without a run", async () => {
  mkdirSync(named("empty"));
  const [other, files, none, learn] = await Promise.all([
    mneme(["stream", "--resume", named("empty"), "--method", "lora"]),
    mneme(["learn", "--resume", named("empty"), texts[0]]),
    mneme(["stream", "--resume", named("empty")]),
    mneme(["learn", "--resume", named("empty")]),
  ]);
  expect(other.stderr).toMatch(/expected --resume alone.*got --method as well/);
  expect(files.stderr).toMatch(/expected --resume alone/);
  expect(none.stderr).toMatch(/expected a run to resume/);
  expect(learn.stderr).toMatch(/expected a run to resume/);
  expect([other, files, none, learn].map(({ code }) => code)).toEqual([2, 2, 2, 2]);
  expect(readdirSync(named("empty"))).toEqual([]);
});

test("pretrain stopped by Ctrl-C goes on to the same model, with a card that says what was done", async () => {
  const recipe = {
    name: "tiny-test",
    seed: 3,
    vocabulary: { size: 300, specialTokens: ["<|endoftext|>"] },
    model: tinyArchitecture,
    stages: [{ contextLength: 32, batchSize: 4, tokens: 200_000, learningRate: 0.003, warmupSteps: 10 }],
  };
  writeFileSync(named("recipe.json"), JSON.stringify(recipe));
  writeFileSync(join(named("texts"), "kept.json"), JSON.stringify({ what: "kept back", files: ["c.txt"] }));
  const list = join(named("texts"), "kept.json");
  const args = [
    "pretrain",
    "--recipe",
    named("recipe.json"),
    "--data",
    named("texts"),
    "--exclude",
    list,
    "--validate",
    list,
    "--threads",
    "1",
  ];
  const run = (name: string) => [...args, "--out", named(`${name}-model`), "--work", named(`${name}-work`)];
  const unbroken = await mneme([...run("a"), "--json"]);
  expect(unbroken.code).toBe(0);
  const first = await mneme(run("b"), { interruptAt: /training tiny-test/ });
  expect(first.code).toBe(130);
  expect(readdirSync(folder)).not.toContain("b-model");
  const second = await mneme([...resumeArguments(first.stderr), "--json"]);
  expect(second.code).toBe(0);

  const stable = (result: typeof first) => {
    const { steps, tokens, finalLoss, sha256, validation } = jsonOf(result);
    return { steps, tokens, finalLoss, sha256, validation };
  };
  expect(stable(second)).toEqual(stable(unbroken));
  const { sha256, validation } = jsonOf(second) as {
    sha256: string;
    validation: { files: { file: string }[]; total: { bitsPerByte: number } };
  };
  expect(validation.files.map(({ file }) => file)).toEqual(["c.txt"]);
  const card = readFileSync(join(named("b-model"), "README.md"), "utf8");
  expect(card).toContain(sha256);
  expect(card).toContain(validation.total.bitsPerByte.toFixed(4));
  expect(card).toContain("mneme pretrain --recipe");
  const config = JSON.parse(readFileSync(join(named("b-model"), "config.json"), "utf8")) as Record<string, unknown>;
  expect(config).toMatchObject({ torch_dtype: "float16", model_type: "llama" });

  // What was written is a model like any other; its place is not overwritten without being told
  const [used, again, leaky] = await Promise.all([
    mneme(["score", "--model", named("b-model"), "--json", texts[2]]),
    mneme(run("b")),
    mneme([
      "pretrain",
      "--recipe",
      named("recipe.json"),
      "--data",
      named("texts"),
      "--validate",
      texts[2],
      "--out",
      named("x"),
      "--work",
      named("y"),
    ]),
  ]);
  expect((jsonOf(used).total as { bitsPerByte: number }).bitsPerByte).toBeCloseTo(validation.total.bitsPerByte, 5);
  expect(again.stderr).toMatch(/add --force to replace it/);
  expect(leaky.stderr).toMatch(/expected validation files that are not trained on/);
});
