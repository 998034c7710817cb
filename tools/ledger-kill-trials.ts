/**
 * Kills a process that writes into a ledger with SIGKILL at random moments, opens the memory again, and compares it
 * with the list of what was written: `npx tsx tools/ledger-kill-trials.ts --trials 100`. Nothing that was acknowledged
 * may be missing, nothing may be there by half, and the state must be the one computed from the live facts.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual, parseArgs } from "node:util";
import { openMemory } from "../src/runs/ledger-memory.ts";
import { randomStream } from "../src/tensor/random.ts";
import { ledgerAfter, ledgerScript } from "../tests/support/ledger-script.ts";
import { sumIdentity, sumMemory } from "../tests/support/sum-memory.ts";

const { values } = parseArgs({
  options: {
    trials: { type: "string", default: "100" },
    writes: { type: "string", default: "1000" },
    /** Kills in a trial; after the last one the rest is written. */
    kills: { type: "string", default: "1" },
    /** Of the moments. */
    seed: { type: "string", default: "1" },
    out: { type: "string" },
    json: { type: "boolean", default: false },
  },
});
const [trials, writes, kills] = [values.trials, values.writes, values.kills].map(Number);
const childScript = fileURLToPath(new URL("../tests/support/ledger-child.ts", import.meta.url));
const root = mkdtempSync(join(tmpdir(), "mneme-ledger-kills-"));
const deeds = ledgerScript(writes);
const say = (line: string): void => void (values.json ? process.stderr : process.stdout).write(`${line}\n`);

interface Moment {
  /** Kill once this many deeds are acknowledged, */
  readonly after: number;
  /** and this many milliseconds later. */
  readonly later: number;
}

/** Writes from a deed on; returns how many are acknowledged in the end. */
async function sitting(folder: string, from: number, moment?: Moment): Promise<number> {
  const args = ["--import", import.meta.resolve("tsx"), childScript, folder, "", `${from}`, `${writes}`];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
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

interface Found {
  /** Deeds that the ledger has. */
  readonly done: number;
  readonly fault: string;
}

/** Opens the memory and compares it with the script. At most the one deed in flight may be there unacknowledged. */
async function inspect(folder: string, acknowledged: number): Promise<Found> {
  const store = sumMemory({ room: 16 });
  const memory = await openMemory(folder, { identity: sumIdentity, store, durability: "process" });
  try {
    const opened = store.fingerprint();
    const found = memory.ledger
      .list({ status: "any" })
      .map(({ prompt, target, status }) => ({ prompt, target, status }));
    const done = [acknowledged, acknowledged + 1].find((n) =>
      isDeepStrictEqual(
        found,
        ledgerAfter(deeds.slice(0, n)).map((line) => ({ ...line })),
      ),
    );
    if (done === undefined) return { done: -1, fault: `other facts than after ${acknowledged} deeds` };
    const { equal } = memory.verify();
    // The oracle: a memory that has seen nothing but the live facts
    const other = sumMemory({ room: 16 });
    for (const { fact } of memory.ledger.list()) other.replay([memory.ledger.rows.placed(fact)]);
    const same = equal && opened === other.fingerprint();
    return { done, fault: same ? "" : "another state than the live facts give" };
  } finally {
    await memory.close();
  }
}

try {
  const results: { trial: number; killedAt: number[]; inFlight: number; fault: string }[] = [];
  for (let trial = 1; trial <= trials; trial++) {
    const random = randomStream(Number(values.seed), "ledger-kill", trial);
    const folder = join(root, `${trial}`);
    const killedAt: number[] = [];
    let [done, inFlight, fault] = [0, 0, ""];
    for (let left = kills; left > 0 && done < writes && fault === ""; left--) {
      const moment = { after: done + random.integer(writes - done), later: random.uniform() * 4 };
      const acknowledged = await sitting(folder, done, moment);
      const found = await inspect(folder, acknowledged);
      killedAt.push(acknowledged);
      inFlight += found.done - acknowledged;
      ({ done, fault } = found);
    }
    if (fault === "") ({ fault } = await inspect(folder, await sitting(folder, done)));
    results.push({ trial, killedAt, inFlight, fault });
    say(`trial ${trial}: killed after ${killedAt.join(" and ")} of ${writes}: ${fault === "" ? "whole" : fault}`);
    rmSync(folder, { recursive: true });
  }
  const summary = {
    command: `npx tsx tools/ledger-kill-trials.ts --trials ${trials} --writes ${writes} --kills ${kills} --seed ${values.seed}`,
    kills: results.reduce((sum, { killedAt }) => sum + killedAt.length, 0),
    /** Deeds that were in the ledger and not yet acknowledged. */
    inFlight: results.reduce((sum, result) => sum + result.inFlight, 0),
    whole: results.filter(({ fault }) => fault === "").length,
    trials: results,
  };
  say(`${summary.whole} of ${trials} ledgers whole after ${summary.kills} kills`);
  if (values.json) process.stdout.write(`${JSON.stringify(summary)}\n`);
  if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify(summary, null, 2)}\n`);
  process.exitCode = summary.whole === trials ? 0 : 1;
} finally {
  rmSync(root, { recursive: true, force: true });
}
