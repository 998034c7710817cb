/** The laboratory on the command line: runs, their comparison, sweeps; what is refused; kills and going on. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "@photostructure/sqlite";
import { afterAll, beforeAll, expect, test } from "vitest";
import { jsonOf, mneme } from "../../tests/support/cli.ts";
import { writeTinyModel } from "../../tests/support/cli-model.ts";

const folder = mkdtempSync(join(tmpdir(), "mneme-lab-"));
/** Many processes on a machine that may be slow. */
const patient = { timeout: 300_000 };
const lab = (args: readonly string[], options: Parameters<typeof mneme>[1] = {}) =>
  mneme(args, { cwd: folder, ...options });
const tokens = ["--task", "tokens", "--topics", "2", "--pairs", "4"];
const engine = ["--model", "tiny", "--threads", "1", "--batch-size", "4"];
const finetune = [...tokens, ...engine, "--method", "finetune"];

beforeAll(() => writeTinyModel(join(folder, "tiny")));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Summary {
  readonly metrics: Record<string, number | null>;
  readonly matrix: { R: number[][] };
}

test("runs are measured, listed, shown, compared and reported", patient, async () => {
  const tuned = await lab(["eval", ...finetune, "--seeds", "2", "--epochs", "30", "--tensorboard", "tb", "--json"]);
  expect(tuned.stderr).toMatch(/finetune seed 1: learned range 2/);
  expect(tuned.code).toBe(0);
  expect(jsonOf(tuned)).toMatchObject({
    run: "tokens-finetune-1",
    task: "tokens",
    method: "finetune",
    model: "tiny",
    seeds: [0, 1],
    metrics: { exactMatch: expect.any(Number), nar: expect.any(Number), baseRetention: null },
    intervals: { exactMatch: expect.any(Number) },
    cost: { seconds: expect.any(Number), tokens: expect.any(Number), flops: expect.any(Number) },
    matrix: { R: [expect.any(Array), expect.any(Array)], direction: "higher" },
  });
  expect(readdirSync(join(folder, "tb", "tokens-finetune-1")).sort()).toEqual(["seed-0", "seed-1"]);
  const none = await lab(["eval", ...tokens, "--model", "tiny", "--method", "none", "--out", "runs/base"]);
  expect(none.stdout).toMatch(/none on tokens, tiny, seed 0\n[\s\S]*before learning[\s\S]*folder: runs\/base\n/);
  // Deeper than others, and no trial of a sweep
  const other = await lab([
    "eval",
    ...tokens,
    "--pairs",
    "5",
    "--model",
    "tiny",
    "--method",
    "none",
    "--out",
    "runs/deep/other",
  ]);
  expect(other.code).toBe(0);

  const runs = await lab(["runs", "--json"]);
  const listed = jsonOf(runs).runs as { name: string; status: string; config: object }[];
  expect(listed.map(({ name, status }) => `${name} ${status}`).sort()).toEqual([
    "base finished",
    "deep/other finished",
    "tokens-finetune-1 finished",
  ]);
  expect((await lab(["runs"])).stdout).toMatch(
    /^run +started +status[\s\S]*^base +\d{4}-\d\d-\d\d \d\d:\d\d +finished/m,
  );
  expect((await lab(["show", "tokens-finetune-1"])).stdout).toMatch(/methodOptions.epochs +30\n/);
  // The same numbers as `eval` printed, and no weights of what is finished
  expect(jsonOf(await lab(["show", "tokens-finetune-1", "--json"]))).toMatchObject({
    summary: { metrics: (jsonOf(tuned) as unknown as Summary).metrics },
  });
  expect(readdirSync(join(folder, "runs", "tokens-finetune-1", "seed-1")).join()).not.toContain("state-");

  const compared = await lab(["compare", "tokens-finetune-1", "base"]);
  expect(compared.stdout).toMatch(/finetune \(2 seeds\) .* ± [\s\S]*exactMatch +tokenAccuracy/);
  const again = await lab(["eval", ...finetune, "--epochs", "30", "--out", "runs/again"]);
  expect(again.code).toBe(0);
  const twice = await lab(["compare", "tokens-finetune-1", "again"]);
  expect(twice.stdout.replaceAll(/\s+/g, " ")).toMatch(
    /Seed 0 of finetune counted once, from again \(the newest\), not from tokens-finetune-1\. .*finetune \(2 seeds\)/,
  );
  rmSync(join(folder, "runs", "again"), { recursive: true });
  const apart = await lab(["compare", "tokens-finetune-1", "deep/other", "--json"]);
  expect(apart.code).toBe(2);
  expect(jsonOf(apart)).toEqual({
    error: expect.stringMatching(/^compare: expected runs of one task options/),
    kind: "user",
  });
  const report = await lab(["report", "tokens-finetune-1", "base", "--out", "r.html", "--csv", "csv", "--json"]);
  expect(jsonOf(report).wrote).toEqual([
    "r.html",
    "csv/methods.csv",
    "csv/runs.csv",
    "csv/scores.csv",
    "csv/equal-learning.csv",
    "csv/signs.csv",
  ]);
  expect(readFileSync(join(folder, "r.html"), "utf8")).toContain("<!doctype html>");
  // Without its folder a run is still in the database, and says so
  rmSync(join(folder, "runs", "deep", "other"), { recursive: true });
  expect((await lab(["runs"])).stdout).toMatch(/^deep\/other .* folder gone/m);
  expect((await lab(["show", "deep/other"])).code).toBe(0);
  const gone = await lab(["eval", "--resume", "deep/other"]);
  expect(gone.stderr).toMatch(/expected run\.json in runs\/deep\/other, got none/);
});

test("what a sweep over methods found is evaluated on other streams; seeds are added later", patient, async () => {
  const args = ["sweep", ...tokens, ...engine, "--method", "finetune,lora", "--epochs", "10", "--db", "f/x.db"];
  const grid = ["--grid", "learningRate=0.001,0.03", "--objective", "tokenAccuracy", "--jobs", "2"];
  const swept = await lab([...args, ...grid, "--out", "f/sweep", "--tensorboard", "f/tb", "--json"]);
  expect(swept.code, swept.stderr).toBe(0);
  expect(jsonOf(swept).note).toBeNull();
  const { methods, equalLearning } = jsonOf(swept) as {
    methods: Record<string, { trials: number; best: { options: { learningRate: number } } }>;
    equalLearning: { method: string; settings: number }[];
  };
  // As many trials for each, one event folder per trial, all on a stream that is kept for this
  expect(Object.entries(methods).map(([name, { trials }]) => [name, trials])).toEqual([
    ["finetune", 2],
    ["lora", 2],
  ]);
  expect(equalLearning.map(({ method, settings }) => [method, settings])).toEqual([
    ["finetune", 2],
    ["lora", 2],
  ]);
  expect(readdirSync(join(folder, "f", "tb", "sweep")).sort()).toEqual([1, 2, 3, 4].map((n) => `trial-00${n}`));
  const taskOf = (run: string, seed: number) =>
    (JSON.parse(readFileSync(join(folder, run, `seed-${seed}`, "config.json"), "utf8")) as { taskOptions: object })
      .taskOptions;
  expect(taskOf("f/sweep/trial-001", 0)).toMatchObject({ pairs: 4, dataSeed: 1_000_000 });

  const db = ["--threads", "1", "--db", "f/x.db"];
  const tuned = await lab(["eval", "--from-sweep", "sweep", "--method", "lora", "--out", "f/one", ...db]);
  expect(tuned.code, tuned.stderr).toBe(0);
  const plan = () => JSON.parse(readFileSync(join(folder, "f", "one", "run.json"), "utf8")) as { plan: object };
  expect(plan().plan).toMatchObject({
    task: "tokens",
    model: "tiny",
    taskOptions: { topics: 2, pairs: 4 },
    methodOptions: { epochs: 10, batchSize: 4, ...methods.lora.best.options },
    stream: { option: "dataSeed", base: 0 },
    seeds: [0],
  });
  const more = await lab(["eval", "--resume", "one", "--seeds", "2", ...db, "--json"]);
  expect(jsonOf(more)).toMatchObject({ seeds: [0, 1], method: "lora" });
  expect(more.stderr).not.toMatch(/seed 0: learned/);
  expect([0, 1].map((seed) => taskOf("f/one", seed))).toMatchObject([{ dataSeed: 0 }, { dataSeed: 1 }]);
  const fewer = await lab(["eval", "--resume", "one", "--seeds", "1", ...db]);
  expect(fewer.stderr).toMatch(/expected at least the seeds that .*f\/one has \(0, 1\), got 0/);

  const compared = await lab(["compare", "sweep", "--db", "f/x.db"]);
  expect(compared.stdout).toMatch(/At 70 % learned[\s\S]*^finetune +(at|reaches|starts at) \d+ %/m);
  const mixed = await lab(["compare", "sweep", "one", "--db", "f/x.db"]);
  expect(mixed.stderr).toMatch(/expected runs of one task options, .*1000000 \+ seed.*0 \+ seed/);
});

test("bad input is one line and exit code 2", patient, async () => {
  writeFileSync(join(folder, "empty.jsonl"), "");
  const question = { type: "question", id: "q", topic: "t", question: "Where?", answers: [] };
  writeFileSync(join(folder, "unanswered.jsonl"), `${JSON.stringify(question)}\n`);
  const long = [
    { type: "document", id: "d", topic: "t", text: "Here." },
    { ...question, question: "Where is it? ".repeat(30), answers: ["here"] },
  ];
  writeFileSync(join(folder, "long.jsonl"), long.map((line) => `${JSON.stringify(line)}\n`).join(""));
  const own = (file: string) => ["eval", "--task", "documents", "--data", file, "--method", "none", "--model", "tiny"];
  const later = new DatabaseSync(join(folder, "later.db"));
  later.exec("CREATE TABLE migrations (name TEXT, applied TEXT); INSERT INTO migrations VALUES ('900-later', '')");
  later.close();
  const cases: [string[], RegExp][] = [
    [["eval", "--task", "token", "--method", "none"], /--task <name>.*token.*did you mean tokens/],
    [["eval", "--task", "tokens", "--method", "nine"], /--method <name>.*did you mean none/],
    [["eval", "--task", "tokens"], /expected --method, got none/],
    [["eval", ...tokens, "--method", "none", "--rank", "4"], /got --rank of lora; leave it out or add --method lora/],
    [["eval", ...tokens, "--method", "none", "--test-limit", "4"], /got --test-limit of classify/],
    [["eval", "--task", "squad", "--method", "none"], /expected --data for the task squad, got none/],
    [["eval", ...tokens, "--method", "none", "--db", "later.db"], /from a newer version \(it has 900-later\)/],
    [["eval", ...tokens, "--method", "none", "--model", "nowhere"], /nowhere/],
    [["runs", "--db", "no.db"], /expected a database at no\.db, got none/],
    [own("empty.jsonl"), /got an empty file/],
    [own("unanswered.jsonl"), /unanswered\.jsonl, got line 1, field answers: expected at least one answer/],
    [own("long.jsonl"), /expected questions that fit into the model's context of 64 tokens.*got/],
    [["eval", ...tokens, "--method", "none", "--thread", "1"], /unknown option '--thread'.*--threads/],
    [["eval", "--from-sweep", "nowhere"], /expected the name or folder of a sweep, got nowhere without sweep\.json/],
    [["eval", "--task", "world-drift", "--method", "none", "--seed", "800"], /world-drift: .*got world: /],
    [["sweep", ...finetune], /expected --grid, got none/],
    [
      ["sweep", ...tokens, "--method", "finetune,lora", "--grid", "epochs=1,2;rank=4,8"],
      /as many trials of each method, got 2 of finetune, 4 of lora; add --random 2/,
    ],
    [
      ["sweep", "--task", "world-drift", "--method", "none", "--seeds", "3", "--seed", "98", "--grid", "limit=5"],
      /expected seeds below 99, as world-drift has --world 1 to 99 for development, got 99/,
    ],
    [["sweep", ...finetune, "--grid", "epochs=1,x"], /values of epochs in the grid, got "x"/],
    [["sweep", ...finetune, "--grid", "epochs=1", "--budget", "soon"], /such as 12, or a time such as 90s/],
  ];
  for (let start = 0; start < cases.length; start += 6) {
    const some = cases.slice(start, start + 6);
    const results = await Promise.all(some.map(([args]) => lab(args)));
    for (const [i, { stderr, code }] of results.entries()) {
      expect(stderr.trimEnd(), some[i][0].join(" ")).toMatch(some[i][1]);
      expect(stderr.trimEnd().split("\n").length, stderr).toBe(1);
      expect(code).toBe(2);
    }
  }
  expect(existsSync(join(folder, "no.db"))).toBe(false);
  expect(existsSync(join(folder, "runs", "tokens-none-1"))).toBe(false);
});

test("a killed run goes on to the same numbers, also when the database is lost", patient, async () => {
  const args = ["eval", ...finetune, "--epochs", "400"];
  const whole = jsonOf(await lab([...args, "--out", "k/whole", "--db", "k/a.db", "--json"])) as unknown as Summary;
  const killed = await lab([...args, "--out", "k/killed", "--db", "k/b.db"], {
    interruptAt: /finetune 2\/2/,
    kill: "SIGKILL",
  });
  expect(killed.signal).toBe("SIGKILL");
  expect((await lab(["runs", "--db", "k/b.db"])).stdout).toMatch(/^killed .* stopped/m);
  expect((await lab(["show", "killed", "--db", "k/b.db"])).stdout).toMatch(/seed 0: 1 of 2 topics learned/);
  for (const end of ["", "-wal", "-shm"]) rmSync(join(folder, `k/b.db${end}`), { force: true });
  const found = await lab(["runs", "--db", "k/b.db", "--reindex"]);
  expect(found.stdout).toMatch(/read 2 runs from folders[\s\S]*^killed .* interrupted/m);
  const resumed = await lab(["eval", "--resume", "killed", "--db", "k/b.db", "--threads", "1", "--json"]);
  expect(resumed.stderr).toMatch(/going on after 1 of 2 topics/);
  const summary = jsonOf(resumed) as unknown as Summary;
  expect(summary.matrix).toEqual(whole.matrix);
  expect(summary.metrics).toEqual(whole.metrics);
  // The same --out with other options is another run
  const other = await lab(["eval", ...finetune, "--epochs", "3", "--out", "k/killed", "--db", "k/b.db"]);
  expect(other.stderr).toMatch(/got another methodOptions .*go on with --resume k\/killed/);
  expect(other.code).toBe(2);
});

test("a run stopped by Ctrl-C names the command that goes on", patient, async () => {
  const stopped = await lab(["eval", ...finetune, "--epochs", "2000", "--out", "c/run", "--db", "c/x.db", "--json"], {
    interruptAt: /finetune 1\/2/,
  });
  expect(stopped.code).toBe(130);
  expect(jsonOf(stopped)).toEqual({
    interrupted: true,
    resume: expect.stringMatching(/ eval --resume c\/run --db c\/x\.db$/),
  });
  expect((await lab(["runs", "--db", "c/x.db"])).stdout).toMatch(/^run .* interrupted/m);
  const both = await lab(["eval", "--resume", "c/run", "--db", "c/x.db", "--epochs", "3"]);
  expect(both.stderr).toMatch(/expected --resume alone/);
});

test("a sweep on a named stream says so; trials of other task options never share a table", patient, async () => {
  const args = [
    "sweep",
    "--task",
    "tokens",
    "--topics",
    "2",
    "--data-seed",
    "3",
    "--model",
    "tiny",
    "--method",
    "none",
  ];
  const swept = await lab([...args, "--grid", "pairs=3,4", "--out", "n/sweep", "--db", "n/x.db", "--json"]);
  const note = /options are chosen on the streams that are named, .*--data-seed 1000000 to 1999999.*; report other/;
  expect(swept.stderr).toMatch(note);
  const { note: said, equalLearning } = jsonOf(swept) as { note: string; equalLearning: object[] };
  expect(said).toMatch(note);
  expect(equalLearning).toMatchObject([
    { method: "none", settings: 1, taskOptions: { pairs: 3 } },
    { method: "none", settings: 1, taskOptions: { pairs: 4 } },
  ]);
});

test("a sweep lists what failed, and after a kill goes on with what is left", patient, async () => {
  const grid = ["--grid", "learningRate=0.01,1e12;epochs=20,200", "--objective", "tokenAccuracy", "--jobs", "2"];
  const args = ["sweep", ...finetune, ...grid, "--out", "s/sweep", "--db", "s/x.db"];
  const killed = await lab(args, { interruptAt: /trial \d finished/, kill: "SIGKILL" });
  expect(killed.signal).toBe("SIGKILL");
  const second = await lab([...args, "--json"]);
  expect(second.stderr).toMatch(/going on after [1-3] of 4 trials/);
  expect(second.code).toBe(2);
  const result = jsonOf(second) as {
    error: string;
    best: { trial: number; options: object };
    trials: { number: number; status: string; error: string | null; options: object }[];
  };
  expect(result.trials.map(({ status }) => status)).toEqual(["finished", "finished", "failed", "failed"]);
  expect(result.trials[2].error).toMatch(/expected finite numbers/);
  expect(result.error).toMatch(/expected 4 trials to finish, got 2 that failed \(3, 4\) beside 2 others/);
  expect(result.best).toMatchObject({ options: { learningRate: 0.01 } });
  // Moved together with its database it is still the same sweep
  renameSync(join(folder, "s"), join(folder, "moved"));
  const third = await lab(["sweep", "--resume", "sweep", "--db", "moved/x.db"]);
  expect(third.stderr).toMatch(/going on after 4 of 4 trials/);
  expect(third.stdout).toMatch(
    /best by tokenAccuracy \(highest\): --learning-rate 0.01[\s\S]*trial 4 failed \(learningRate=1000000000000 epochs=200\)/,
  );
  const runs = await lab(["runs", "--db", "moved/x.db", "--all"]);
  expect(runs.stdout).toMatch(/^sweep\/trial-001 .* finished/m);
});
