/**
 * Kills a process that writes, with SIGKILL at random moments, lets the next one go on, and asks after each kill what is
 * there. The writer's script is given a folder, the deed to begin with and how many there are, does them one after
 * another, and prints the number of deeds done after each one that is acknowledged.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { randomStream } from "../../src/tensor/random.ts";
import { scriptArguments } from "./script.ts";

export interface Found {
  /** Deeds that are there, -1 where that cannot be said. */
  readonly done: number;
  /** What is wrong, "" for nothing. */
  readonly fault: string;
}

export interface KillTrials {
  /** The tool's name, such as "ledger-kill-trials". */
  readonly tool: string;
  /** What is written, in the plural. */
  readonly what: string;
  readonly writes: number;
  /** The writer's script, by its path in the repository, and its arguments. */
  readonly script: string;
  readonly args: (folder: string, from: number, to: number) => readonly string[];
  /** What a folder holds; at most the one deed in flight may be there unacknowledged. */
  readonly inspect: (folder: string, acknowledged: number, writes: number) => Promise<Found>;
}

interface Moment {
  /** Kill once this many deeds are acknowledged, */
  readonly after: number;
  /** and this many milliseconds later. */
  readonly later: number;
}

/** Runs a writer to its end, or kills it; returns how many deeds are acknowledged in the end. */
async function sitting(script: string, args: readonly string[], from: number, moment?: Moment): Promise<number> {
  const child = spawn(process.execPath, [...scriptArguments(script), ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [acknowledged, log, killing] = [from, "", false];
  let rest = "";
  child.stderr.on("data", (data: Buffer) => (log += data.toString()));
  child.stdout.on("data", (data: Buffer) => {
    const lines = (rest + data.toString()).split("\n");
    rest = lines.pop() ?? "";
    if (lines.length > 0) acknowledged = Number(lines.at(-1));
    if (moment && acknowledged >= moment.after && !killing) {
      killing = true;
      void sleep(moment.later).then(() => child.kill("SIGKILL"));
    }
  });
  const end = await new Promise<string>((resolve) => child.on("close", (code, signal) => resolve(`${signal ?? code}`)));
  if (end !== "0" && end !== "SIGKILL") throw new Error(`the writer ended with ${end}: ${log.trimEnd()}`);
  return acknowledged;
}

/** The whole command line tool: options, trials, summary, exit code. */
export async function killTrials({ tool, what, script, args, inspect, ...defaults }: KillTrials): Promise<void> {
  const { values } = parseArgs({
    options: {
      trials: { type: "string", default: "100" },
      writes: { type: "string", default: `${defaults.writes}` },
      /** Kills in a trial; after the last one the rest is written. */
      kills: { type: "string", default: "1" },
      /** Of the moments. */
      seed: { type: "string", default: "1" },
      out: { type: "string" },
      json: { type: "boolean", default: false },
    },
  });
  const [trials, writes, kills] = [values.trials, values.writes, values.kills].map(Number);
  const say = (line: string): void => void (values.json ? process.stderr : process.stdout).write(`${line}\n`);
  const root = mkdtempSync(join(tmpdir(), `mneme-${tool}-`));
  try {
    const results: { trial: number; killedAt: number[]; inFlight: number; fault: string }[] = [];
    for (let trial = 1; trial <= trials; trial++) {
      const random = randomStream(Number(values.seed), tool.replace(/-trials$/, ""), trial);
      const folder = join(root, `${trial}`);
      const killedAt: number[] = [];
      let [done, inFlight, fault] = [0, 0, ""];
      for (let left = kills; left > 0 && done < writes && fault === ""; left--) {
        const moment = { after: done + random.integer(writes - done), later: random.uniform() * 4 };
        const acknowledged = await sitting(script, args(folder, done, writes), done, moment);
        const found = await inspect(folder, acknowledged, writes);
        killedAt.push(acknowledged);
        inFlight += found.done - acknowledged;
        ({ done, fault } = found);
      }
      if (fault === "") {
        const acknowledged = await sitting(script, args(folder, done, writes), done);
        ({ fault } = await inspect(folder, acknowledged, writes));
      }
      results.push({ trial, killedAt, inFlight, fault });
      say(`trial ${trial}: killed after ${killedAt.join(" and ")} of ${writes}: ${fault === "" ? "whole" : fault}`);
      rmSync(folder, { recursive: true });
    }
    const summary = {
      command: `npx tsx tools/${tool}.ts --trials ${trials} --writes ${writes} --kills ${kills} --seed ${values.seed}`,
      kills: results.reduce((sum, { killedAt }) => sum + killedAt.length, 0),
      /** Deeds that were there and not yet acknowledged. */
      inFlight: results.reduce((sum, result) => sum + result.inFlight, 0),
      whole: results.filter(({ fault }) => fault === "").length,
      trials: results,
    };
    say(`${summary.whole} of ${trials} ${what} whole after ${summary.kills} kills`);
    if (values.json) process.stdout.write(`${JSON.stringify(summary)}\n`);
    if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify(summary, null, 2)}\n`);
    process.exitCode = summary.whole === trials ? 0 : 1;
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}
