/** `mneme edit`: writes a fact, or a file of facts, into the memory, and says what that changed. */
import { basename } from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { readTextFile } from "../../checkpoint/text.ts";
import { UserError } from "../../errors.ts";
import { formatSeconds } from "../../eval/format.ts";
import { parseRecords } from "../../eval/tasks/records.ts";
import { type Edited, type EditStage, encodeFacts } from "../../runs/fact-memory.ts";
import { checkList, checkText, type FactText } from "../../runs/ledger-fact.ts";
import { factText, receiptLines } from "../fact-lines.ts";
import { addMethodMemoryFlags, type MethodMemoryFlags, withMemory } from "../memory-flags.ts";
import type { Output } from "../output.ts";
import { type Session, shownPath } from "../session.ts";

interface Flags extends MethodMemoryFlags {
  readonly rephrase: string[];
  readonly file?: string;
  readonly receipt: boolean;
}

export function define(command: Command): void {
  command
    .argument("[prompt]", "what is asked; with a question mark at its end a question, else a text to go on from")
    .argument("[target]", "the answer from now on")
    .option("--rephrase <text...>", "other ways to ask it", [])
    .option(
      "--file <facts.jsonl>",
      "one fact a line: prompt, target, and rephrase (a text or a list) where there is any",
    )
    .option("--no-receipt", "do not measure what the write changes");
  addMethodMemoryFlags(command, ["facts"]);
}

const texts = z.union([z.string().transform((text) => [text]), z.array(z.string())]);
const recordSchema = z
  .strictObject({ prompt: z.string(), target: z.string(), rephrase: texts.optional(), source: z.string().optional() })
  .transform(({ rephrase = [], ...fact }) => ({ ...fact, rephrasings: rephrase }));

interface Given {
  readonly facts: readonly FactText[];
  readonly source: string;
  readonly nameOf?: (i: number) => string;
}

async function factsOf(command: Command, { file, rephrase }: Flags): Promise<Given> {
  const [prompt, target] = command.processedArgs as [string | undefined, string | undefined];
  if (file === undefined) {
    if (prompt !== undefined && target !== undefined) {
      return { facts: [{ prompt, target, rephrasings: rephrase }], source: "cli" };
    }
    const got = prompt === undefined ? "neither" : "a prompt alone";
    throw new UserError(`edit: expected a prompt and a target, or --file, got ${got}; give both in quotes`);
  }
  if (prompt !== undefined || rephrase.length > 0) {
    throw new UserError("edit: expected either a prompt with its target or --file, got both; leave one out");
  }
  const name = basename(file);
  const records = parseRecords("edit", await readTextFile(file), recordSchema);
  return {
    facts: records.map(({ value }) => value),
    source: name,
    nameOf: (i) => `${records[i].place} of ${name}`,
  };
}

/** Said of a fact that is written and yet not answered: its target may have letters that the model never says. */
const notGiven = "written, but the model does not give this target; see its answer, and try other words for it";

/** Facts that are shown one by one; of more there is a summary. */
const mostShown = 10;

function printEdited({ print, style }: Output, edited: readonly Edited[]): void {
  const shown = edited.length <= mostShown ? edited : [];
  for (const one of shown) {
    const note = one.outcome === "duplicate" ? " (was there already)" : "";
    print(`${style("bold", one.id)}  ${factText(one)}${note}`);
    if (one.supersedes) print(`  takes the place of ${one.supersedes.id}: ${factText(one.supersedes)}`);
    if (one.given === false) print(`  ${style("yellow", notGiven)}`);
    for (const line of one.receipt ? receiptLines(one.receipt) : []) print(`  ${line}`);
  }
  if (shown.length > 0) return;
  const count = (outcome: Edited["outcome"]): number => edited.filter((one) => one.outcome === outcome).length;
  const [superseding, duplicates] = [count("superseding"), count("duplicate")];
  print(
    `wrote ${edited.length - duplicates} facts; ${superseding} took the place of older ones, ${duplicates} were there ` +
      "already",
  );
  const measured = edited.filter(({ given }) => given !== null);
  if (measured.length === 0) return;
  print(`${measured.filter(({ given }) => given).length} of ${measured.length} are answered exactly`);
  for (const line of receiptLines({ ...measured[0].receipt, answer: undefined, probability: undefined })) print(line);
}

export async function run(command: Command, session: Session): Promise<Record<string, unknown>> {
  const flags = command.opts<Flags>();
  const { facts, source, nameOf } = await factsOf(command, flags);
  // Before a model is loaded: what can be seen of the texts alone
  for (const [i, fact] of facts.entries()) checkText(fact, nameOf?.(i));
  if (nameOf) checkList(facts, nameOf);
  const { progress, signal, output } = session;
  const started = performance.now();
  const onProgress = (label: EditStage, done: number, total: number): void =>
    progress.update({ label, done, total, brief: total < 100 });
  const onNote = (note: string): void => progress.line(note);
  const { edited, model } = await withMemory(command, session, {
    facts: async (memory, { model }) => ({
      edited: await memory.edit(facts, { receipt: flags.receipt, source, nameOf, signal, onProgress, onNote }),
      model,
    }),
    beforeMaking: (method) => encodeFacts(method, facts, { nameOf, signal }),
  });
  progress.clear();
  printEdited(output, edited);
  const seconds = (performance.now() - started) / 1000;
  output.print(output.style("dim", `${flags.memory}, ${formatSeconds(seconds)}`));
  return { command: "edit", memory: flags.memory, model: shownPath(model), facts: edited, seconds };
}
