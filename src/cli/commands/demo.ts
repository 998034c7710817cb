/** `mneme demo`, which `npm start` runs: the main job on the embedded model, from the beginning each time. */
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { UserError } from "../../errors.ts";
import { parseMethodOptions } from "../../methods/definition.ts";
import { methodNamed } from "../../methods/index.ts";
import { parseStreamConfig } from "../../runs/config.ts";
import { acquireLock } from "../../runs/lock.ts";
import { defaultModel } from "../../models/embedded.ts";
import { addEngineFlags, type EngineFlags, shownPath, type Session } from "../session.ts";
import { runPlan } from "../stream-runs.ts";

const notes = fileURLToPath(new URL("../../../examples/notes", import.meta.url));
const demoMethods = ["finetune", "lora"];
const lockName = "demo.lock";

interface Flags extends EngineFlags {
  readonly model: string;
  readonly out: string;
}

export function define(command: Command): void {
  command
    .option("--model <name>", "embedded name, folder or hub id", defaultModel)
    .option("--out <folder>", "folder for the results; an earlier demo in it is replaced", join("runs", "demo"));
  addEngineFlags(command);
}

/** Empties the folder of an earlier demo; a folder of anything else is refused. */
async function clear(out: string): Promise<void> {
  const ours = new Set([...demoMethods, "stream.json", "result.json", "report.html"]);
  const found = (await readdir(out)).filter((name) => !name.startsWith(lockName));
  const other = found.find((name) => !ours.has(name));
  if (other !== undefined)
    throw new UserError(
      `demo: expected a folder of an earlier demo, got ${out} with ${other}; name another with --out`,
    );
  for (const name of found) await rm(join(out, name), { recursive: true });
}

export async function run(command: Command, session: Session): Promise<Record<string, unknown>> {
  const flags = command.opts<Flags>();
  const { output } = session;
  const { model, out, seed, threads } = flags;
  const files = (await readdir(notes))
    .filter((name) => name.endsWith(".txt"))
    .sort()
    .map((name) => shownPath(join(notes, name)));
  const configs = demoMethods.map((method) => {
    const methodOptions = parseMethodOptions(methodNamed(method), {});
    return parseStreamConfig({ model, method, methodOptions, files, seed, threads, out });
  });
  await mkdir(out, { recursive: true });
  const lock = await acquireLock(join(out, lockName), out);
  try {
    await clear(out);
    output.print(
      `Teaching ${output.style("bold", model)} ${files.length} short notes, one after another, in ${demoMethods.length} ways.`,
    );
    output.print("Each note keeps a part back; how well the model predicts that part shows what it knows.");
    output.print();
    return { command: "demo", ...(await runPlan({ out, configs }, { session, engine: flags, owned: true })) };
  } finally {
    await lock.release();
  }
}
