/**
 * loadMs: time and memory to load a checkpoint of 500 MB of random float32 weights whose file is in the system's
 * cache, in a process of its own. Peak memory counts above a process that imported the same code and loaded nothing.
 */
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeSafetensors } from "../checkpoint/safetensors.ts";
import { UserError } from "../errors.ts";
import { gpt2 } from "../models/gpt2.ts";
import { type Initializer, initialize } from "../nn/init.ts";
import { nodeArguments, runNode } from "./child.ts";
import { absent, type Measure, memoryShort } from "./measure.ts";
import { median, spread } from "./stats.ts";

/** GPT-2 small with a vocabulary that makes 500 MB. */
const configJson = { model_type: "gpt2", vocab_size: 50987, n_embd: 768, n_layer: 12, n_head: 12 };

interface ChildReport {
  readonly ms: number;
  readonly peakBytes?: number;
  readonly parameters: number;
}

async function report(args: readonly string[], signal?: AbortSignal): Promise<ChildReport> {
  const { stdout } = await runNode([...nodeArguments("load-child"), ...args], signal);
  return JSON.parse(stdout) as ChildReport;
}

/** Write the checkpoint; gives the size of its weights file in bytes. */
async function writeCheckpoint(folder: string): Promise<number> {
  const path = join(folder, "model.safetensors");
  const uniform: Initializer = (out, _shape, random) => void random.fillUniform(out, -1, 1);
  try {
    await writeFile(join(folder, "config.json"), JSON.stringify(configJson));
    await writeSafetensors(
      path,
      initialize(gpt2.shapes(gpt2.parseConfig(configJson)), () => uniform, 0),
    );
  } catch (error) {
    throw new UserError(
      `bench: expected room for 500 MB in ${tmpdir()}, got "${String(error)}"; free space or set TMPDIR`,
      { cause: error },
    );
  }
  return (await stat(path)).size;
}

export const loadMs: Measure = async ({ quick, log, signal }) => {
  const short = memoryShort(2e9);
  if (short) return absent(short);
  const folder = await mkdtemp(join(tmpdir(), "mneme-bench-"));
  try {
    log("loadMs: writing a checkpoint of 500 MB");
    const fileBytes = await writeCheckpoint(folder);
    const { parameters } = await report([folder], signal); // warms the file cache
    if (parameters * 4 > fileBytes)
      throw new UserError(`bench: expected ${fileBytes} bytes of weights, got ${parameters} parameters`);
    const loaded: ChildReport[] = [];
    const idle: ChildReport[] = [];
    for (let i = 0; i < (quick ? 2 : 9); i++) {
      loaded.push(await report([folder], signal));
      idle.push(await report([], signal));
    }
    const peaks = (reports: readonly ChildReport[]) => reports.flatMap(({ peakBytes }) => peakBytes ?? []);
    const idleBytes = peaks(idle).length > 0 ? median(peaks(idle)) : Number.NaN;
    const peakOverFile = peaks(loaded).map((bytes) => (bytes - idleBytes) / fileBytes);
    return {
      value: median(loaded.map(({ ms }) => ms)),
      ms: spread(loaded.map(({ ms }) => ms)),
      fileBytes,
      parameters,
      peakOverFile: peakOverFile.length > 0 ? spread(peakOverFile) : null,
      idleBytes: peaks(idle).length > 0 ? idleBytes : null,
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};
