/** A real training run, killed by the system at random moments, ends with the numbers of a run that was left alone. */
import { spawn } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { scriptArguments } from "../../tests/support/script.ts";
import { killableRun, type KillableResult } from "../../tests/support/train-child.ts";
import { savedState } from "../../tests/support/training.ts";

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "mneme-kill-"));
});
afterAll(() => rm(root, { recursive: true }));

/** Run the child until it is done (its outcome) or, after `steps` printed steps and `delay` ms, killed (undefined). */
async function sitting(folder: string, steps: number, delay: number): Promise<KillableResult | undefined> {
  const child = spawn(process.execPath, [...scriptArguments("tests/support/train-child.ts"), folder], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  let timer: NodeJS.Timeout | undefined;
  child.stdout.setEncoding("utf8").on("data", (piece: string) => {
    text += piece;
    if (text.split("\n").length > steps) timer ??= setTimeout(() => child.kill("SIGKILL"), delay);
  });
  const signal = await new Promise((resolve) => child.once("close", (_, name) => resolve(name)));
  clearTimeout(timer);
  const done = /^done (.*)$/m.exec(text);
  if (!done && signal !== "SIGKILL") throw new Error(`the child ended by itself: ${text}`);
  return done ? (JSON.parse(done[1]) as KillableResult) : undefined;
}

it("is killed several times, resumes, and ends with the same weights, moments and loss", async () => {
  const expected = await killableRun(join(root, "alone"));
  const path = join(root, "killed");
  let kills = 0;
  let outcome: KillableResult | undefined;
  while (!outcome) {
    // The first sittings are cut short at a random place; the last may run to its end
    const short = kills < 4;
    outcome = await sitting(path, short ? 1 + Math.floor(Math.random() * 30) : 1000, Math.random() * 20);
    if (!outcome) kills++;
  }
  expect(kills).toBeGreaterThanOrEqual(4);
  expect(outcome).toEqual(expected);
  expect(await savedState(path)).toEqual(await savedState(join(root, "alone")));
  expect(await readdir(path)).toEqual(["training.safetensors"]);
}, 180_000);
