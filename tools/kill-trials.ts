/**
 * Kills `mneme eval` with SIGKILL at random moments and resumes it, again and again, then compares the numbers with
 * those of an unbroken run: `npx tsx tools/kill-trials.ts --trials 20 --out results/kill-trials.json`.
 * A moment is a random line of the run's own event log and some milliseconds more. A random time would mostly hit the
 * loading of the program where the machine is slow.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual, parseArgs } from "node:util";
import type { RunResult } from "../src/eval/result.ts";
import { seedFolder } from "../src/runs/evaluation.ts";
import { randomStream } from "../src/tensor/random.ts";
import { writeTinyModel } from "../tests/support/cli-model.ts";
import { scriptArguments } from "../tests/support/script.ts";

const tiny = "--task tokens --topics 3 --pairs 4 --batch-size 4 --epochs 40 --learning-rate 0.01".split(" ");
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    trials: { type: "string", default: "20" },
    methods: { type: "string", default: "finetune,lora,replay" },
    /** Of the moments. */
    seed: { type: "string", default: "1" },
    /** A built program instead of the sources, such as bin/mneme.js. */
    program: { type: "string" },
    out: { type: "string" },
    json: { type: "boolean", default: false },
  },
});
const methods = values.methods.split(",");
const program = values.program === undefined ? scriptArguments("src/cli/main.ts") : [values.program];
const root = mkdtempSync(join(tmpdir(), "mneme-kills-"));
const model = join(root, "model");
/** What follows "--" replaces the tiny task and the random model. */
const task = positionals.length > 0 ? positionals : [...tiny, "--model", model];

const say = (line: string): void => void (values.json ? process.stderr : process.stdout).write(`${line}\n`);

/** Begins the evaluation of a folder, or goes on with it: the command is the same. */
function start(folder: string, method: string): ChildProcess {
  const args = [
    "eval",
    ...task,
    "--method",
    method,
    "--threads",
    "1",
    "--out",
    folder,
    "--db",
    `${folder}.db`,
    "--keep-state",
    "--json",
  ];
  return spawn(process.execPath, [...program, ...args], { stdio: ["ignore", "ignore", "pipe"] });
}

interface End {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly log: string;
}

function ended(child: ChildProcess): Promise<End> {
  let log = "";
  child.stderr?.on("data", (data: Buffer) => (log += data.toString()));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, log }));
  });
}

const logOf = (folder: string): string => join(seedFolder(folder, 0), "events.jsonl");
const lines = (path: string): number => (existsSync(path) ? readFileSync(path, "utf8").split("\n").length - 1 : 0);

/** Lets a run go to its end, or kills it `later` milliseconds after its log has a line; says whether it was killed. */
async function sitting(
  folder: string,
  method: string,
  kill?: { readonly line: number; readonly later: number },
): Promise<boolean> {
  const child = start(folder, method);
  let over = false;
  const end = ended(child).finally(() => (over = true));
  if (kill) {
    while (!over && lines(logOf(folder)) < kill.line) await sleep(10);
    await sleep(kill.later);
    child.kill("SIGKILL");
  }
  const { code, signal, log } = await end;
  if (signal !== "SIGKILL" && code !== 0) throw new Error(`mneme eval ended with ${code ?? signal}: ${log.trimEnd()}`);
  return signal === "SIGKILL";
}

/** What must not depend on when a run was killed, down to the learned weights, and what files lie about. */
function measured(folder: string): Record<string, unknown> {
  const read = (path: string): unknown => JSON.parse(readFileSync(path, "utf8"));
  const { matrix, scores, probes, metrics, diagnostics, cost } = read(
    join(seedFolder(folder, 0), "result.json"),
  ) as RunResult;
  const { metrics: means, matrix: mean } = read(join(folder, "result.json")) as Record<string, unknown>;
  const { tokens, flops, bytes } = cost;
  const files = readdirSync(seedFolder(folder, 0)).toSorted();
  const state = join(seedFolder(folder, 0), `state-${matrix.R.length}`, "state.safetensors");
  const weights = createHash("sha256").update(readFileSync(state)).digest("hex");
  return { matrix, scores, probes, metrics, diagnostics, tokens, flops, bytes, means, mean, files, weights };
}

interface Trial {
  readonly trial: number;
  readonly method: string;
  /** Lines of the event log at each kill. */
  readonly killedAt: readonly number[];
  readonly equal: boolean;
  /** Names of what differs. */
  readonly differs: readonly string[];
}

try {
  await writeTinyModel(model);
  const whole = new Map<string, { readonly result: Record<string, unknown>; readonly lines: number }>();
  for (const method of methods) {
    const folder = join(root, `whole-${method}`);
    await sitting(folder, method);
    whole.set(method, { result: measured(folder), lines: lines(logOf(folder)) });
    say(`${method} unbroken: ${lines(logOf(folder))} events`);
  }
  const trials: Trial[] = [];
  for (let trial = 1; trial <= Number(values.trials); trial++) {
    const random = randomStream(Number(values.seed), "kill", trial);
    const method = methods[(trial - 1) % methods.length];
    const unbroken = whole.get(method);
    if (!unbroken) throw new Error(`no unbroken run of ${method}`);
    const folder = join(root, `trial-${trial}`);
    const killedAt: number[] = [];
    for (let left = 1 + random.integer(2); left > 0; left--) {
      const before = lines(logOf(folder));
      const line = before + random.integer(Math.max(1, unbroken.lines - before));
      if (!(await sitting(folder, method, { line, later: random.uniform() * 50 }))) break;
      killedAt.push(lines(logOf(folder)));
    }
    await sitting(folder, method);
    const result = measured(folder);
    const differs = Object.keys(result).filter((key) => !isDeepStrictEqual(result[key], unbroken.result[key]));
    trials.push({ trial, method, killedAt, equal: differs.length === 0, differs });
    const where = `killed at ${killedAt.join(" and ")} of ${unbroken.lines} events`;
    say(`trial ${trial}: ${method}, ${where}: ${differs.length === 0 ? "equal" : `differs in ${differs.join(", ")}`}`);
    rmSync(folder, { recursive: true });
  }
  const summary = {
    command: `npx tsx tools/kill-trials.ts --trials ${values.trials} --methods ${values.methods} --seed ${values.seed}`,
    task: task.join(" ").replace(model, "(a random model)"),
    events: Object.fromEntries([...whole].map(([method, one]) => [method, one.lines])),
    kills: trials.reduce((sum, { killedAt }) => sum + killedAt.length, 0),
    equal: trials.filter(({ equal }) => equal).length,
    trials,
  };
  say(`${summary.equal} of ${trials.length} trials equal an unbroken run after ${summary.kills} kills`);
  if (values.json) process.stdout.write(`${JSON.stringify(summary)}\n`);
  if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify(summary, null, 2)}\n`);
  process.exitCode = summary.equal === trials.length ? 0 : 1;
} finally {
  rmSync(root, { recursive: true, force: true });
}
