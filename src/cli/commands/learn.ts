/**
 * `mneme learn`: learns texts as one observation and writes what came of it as a model or adapter folder; methods that
 * keep what they learn in a memory take it there instead (learn-documents.ts).
 * While it works, everything is in a folder `learning` below --out, from which --resume goes on; it goes at the end.
 */
import { readdir, rename, rmdir } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { readChecked, requireEmptyFolder } from "../../checkpoint/files.ts";
import { UserError } from "../../errors.ts";
import { formatCount, formatSeconds } from "../../eval/format.ts";
import { readTextFile } from "../../checkpoint/text.ts";
import { parseMethodOptions } from "../../methods/definition.ts";
import { methodNamed } from "../../methods/index.ts";
import type { Document, Receipt } from "../../methods/method.ts";
import { openRunFolder, type RunFolder } from "../../runs/folder.ts";
import { describeMemory } from "../../runs/stored-memory.ts";
import { addMemoryFlag } from "../memory-flags.ts";
import { addMethodFlags, methodOptions, refuseBesideResume } from "../method-flags.ts";
import { defaultModel } from "../../models/embedded.ts";
import { openModel } from "../open-model.ts";
import {
  addEngineFlags,
  commandLine,
  type EngineFlags,
  openRuntime,
  resumeOrAnother,
  type Session,
} from "../session.ts";
import { Interrupted } from "../signals.ts";

interface Flags extends EngineFlags {
  readonly model: string;
  readonly method?: string[];
  readonly out?: string;
  readonly resume?: string;
  readonly memory: string;
}

const configSchema = z.strictObject({
  kind: z.literal("learn"),
  model: z.string(),
  method: z.string(),
  methodOptions: z.record(z.string(), z.unknown()),
  files: z.array(z.string()),
  seed: z.number(),
});
type LearnConfig = z.output<typeof configSchema>;

/** Work in progress, below the output folder. */
const workName = "learning";
/** Product, complete but not yet moved to its place. */
const productName = "product";

export function define(command: Command): void {
  command
    .argument("[file...]", "UTF-8 text files, learned together; into a memory also .jsonl: id, text, time, one a line")
    .option("--model <name>", "embedded name, folder or hub id", defaultModel)
    .option("--out <folder>", "new folder for the model or adapter")
    .option("--resume <folder>", "go on with what was begun in this folder");
  addMemoryFlag(command);
  addMethodFlags(command, { several: false });
  addEngineFlags(command);
}

/** Does it go into a memory? Then nothing may be said that is for a model folder, and else nothing that is for a memory. */
function isForMemory(command: Command, { method, out, memory, resume }: Flags): boolean {
  const namesMemory = command.getOptionValueSource("memory") === "cli";
  const name = method?.[0] ?? (namesMemory ? describeMemory(memory).identity.method : undefined);
  if (name === undefined) return false;
  const { documents, facts } = methodNamed(name);
  const namesFolder = out !== undefined || resume !== undefined;
  // A method that changes weights and writes facts can do either
  if (facts?.texts && !(namesMemory && namesFolder)) return !namesFolder;
  const keeps = documents !== undefined;
  const wrong = keeps || facts?.texts ? namesFolder : namesMemory;
  if (wrong) {
    const [expected, got] = keeps ? ["--memory", out === undefined ? "--resume" : "--out"] : ["--out", "--memory"];
    throw new UserError(
      `learn: expected ${expected} with ${name}, which ${keeps ? "keeps documents in a memory" : "writes a folder"}, ` +
        `got ${got}; leave it out`,
    );
  }
  return keeps;
}

function configOf(command: Command, { model, method: chosen, out, seed }: Flags): { out: string; config: LearnConfig } {
  const [files] = command.processedArgs as [string[]];
  if (files.length === 0) throw new UserError("learn: expected text files, got none; name one or more");
  if (chosen === undefined) throw new UserError("learn: expected --method, got none; name one, such as --method lora");
  if (out === undefined) throw new UserError("learn: expected --out, got none; name a new folder for what is learned");
  const [{ definition, options }] = methodOptions(command, chosen);
  return { out, config: { kind: "learn", model, method: definition.name, methodOptions: options, files, seed } };
}

const savedConfig = (work: RunFolder): Promise<LearnConfig> =>
  readChecked(work.file("config.json"), configSchema, { caller: "learn", what: "the options of a learning run" });

/** Learns, and leaves the product in the work folder. Throws `Interrupted` when stopped. */
async function learn(
  work: RunFolder,
  config: LearnConfig,
  {
    documents,
    flags,
    session,
    out,
  }: { documents: readonly Document[]; flags: EngineFlags; session: Session; out: string },
): Promise<{ receipt: Receipt; wrote: string; bytes: number }> {
  const { progress, signal } = session;
  const definition = methodNamed(config.method);
  const options = parseMethodOptions(definition, config.methodOptions);
  const base = await openModel(config.model, session);
  const runtime = openRuntime(flags);
  try {
    const method = await definition.create(base, options, { runtime, seed: config.seed });
    // Only now: options that the method refuses leave nothing behind
    if (work.isNew) await work.writeJson("config.json", config);
    let receipt: Receipt | undefined;
    for await (const event of method.observe(documents, { checkpoint: work.file("checkpoint"), signal })) {
      if (event.type === "step") {
        const { step, steps, loss, tokensPerSecond } = event;
        const detail = `loss ${loss.toFixed(2)}, ${formatCount(Math.round(tokensPerSecond))} tokens/s`;
        progress.update({ label: `learning with ${method.name}`, done: step, total: steps, detail });
      } else if (event.type === "validation") {
        progress.line(
          `step ${event.step}: ${event.bitsPerByte.toFixed(3)} bits per byte on what is kept ` +
            `back${event.best ? "" : ", no better"}`,
        );
      } else if (event.type === "note") progress.line(event.message);
      else if (event.type === "receipt") receipt = event.receipt;
    }
    progress.clear();
    if (receipt === undefined || receipt.stopped === "interrupted")
      throw new Interrupted(commandLine(["learn", "--resume", out]));
    const done = { ...receipt };
    let wrote = "";
    await work.writeFolder(productName, async (folder) => {
      wrote = (await definition.save(method, base, folder, options)).replace(folder, out);
    });
    const bytes = method.bytes();
    await method.dispose();
    return { receipt: done, wrote, bytes };
  } finally {
    await runtime.dispose();
  }
}

/** Moves the finished product to where the user wants it. */
async function deliver(work: RunFolder, out: string): Promise<void> {
  for (const name of await readdir(work.file(productName)))
    await rename(join(work.file(productName), name), join(out, name));
  for (const name of await work.list()) if (name !== "run.lock") await work.remove(name);
}

export async function run(command: Command, session: Session): Promise<Record<string, unknown>> {
  const flags = command.opts<Flags>();
  if (isForMemory(command, flags)) return (await import("../learn-documents.ts")).learnDocuments(command, session);
  const resuming = flags.resume !== undefined;
  if (resuming) refuseBesideResume(command, ["device", "threads"]);
  const given = resuming ? undefined : configOf(command, flags);
  const out = given?.out ?? (flags.resume as string);
  const read = async ({ files }: LearnConfig): Promise<Document[]> =>
    Promise.all(files.map(async (path) => ({ id: path, text: (await readTextFile(path)).text })));
  const texts = given && (await read(given.config));
  if (!resuming) await requireEmptyFolder(out, { caller: "learn", wayOut: resumeOrAnother(out, workName) });
  const work = await openRunFolder(join(out, workName), { resume: resuming });
  try {
    const config = given?.config ?? (await savedConfig(work));
    const documents = texts ?? (await read(config));
    const { receipt, wrote, bytes } = await learn(work, config, { documents, flags, session, out });
    await deliver(work, out);
    const { output } = session;
    const why = receipt.stopped === "done" ? "" : `, ${receipt.stopped}`;
    output.print(
      `${config.method} learned ${documents.length} ${documents.length === 1 ? "text" : "texts"} in ` +
        `${formatSeconds(receipt.seconds)}: ` +
        `${formatCount(receipt.steps)} steps, ${formatCount(receipt.tokens)} tokens, loss ` +
        `${receipt.finalLoss.toFixed(3)}${why}`,
    );
    output.print(wrote);
    return {
      command: "learn",
      model: config.model,
      method: config.method,
      options: config.methodOptions,
      folder: out,
      bytes,
      receipt,
    };
  } finally {
    await work.close();
    // Empty now if all went well, and in the way if nothing was saved
    await rmdir(join(out, workName)).catch(() => undefined);
    if (!resuming) await rmdir(out).catch(() => undefined);
  }
}
