/**
 * `mneme learn` with a method that keeps documents, or writes texts as facts: they go into a memory folder, batch by
 * batch. What is in already is passed over, so a run that was stopped goes on when it is typed again.
 */
import { basename, extname, normalize } from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { readTextFile } from "../checkpoint/text.ts";
import { UserError } from "../errors.ts";
import { formatCount, formatSeconds } from "../eval/format.ts";
import { parseRecords } from "../eval/tasks/records.ts";
import type { Document } from "../methods/method.ts";
import { queryOf } from "../methods/prompt.ts";
import { checkDocuments, type Learned } from "../runs/document-memory.ts";
import { type Edited, encodeFacts, type FactMemory } from "../runs/fact-memory.ts";
import type { FactText } from "../runs/ledger-fact.ts";
import { dataFiles } from "./data-files.ts";
import { factText, shown } from "./fact-lines.ts";
import { type MethodMemoryFlags, withMemory } from "./memory-flags.ts";
import type { Output } from "./output.ts";
import { type Session, shownPath } from "./session.ts";

const timeSchema = z.union([
  z.int(),
  z
    .string()
    .refine((text) => !Number.isNaN(Date.parse(text)), "Expected a time in the forms of ISO 8601")
    .transform((text) => Date.parse(text)),
]);

const recordSchema = z.object({
  id: z.union([z.string(), z.int()]).optional(),
  text: z.string(),
  time: timeSchema.optional(),
  topic: z.string().optional(),
});

interface Source {
  readonly document: Document;
  /** What the user calls it: "line 3 of notes.jsonl". */
  readonly name: string;
  /** The file it is from. */
  readonly source: string;
}

/** A file is a document; a .jsonl file is one a line. */
async function sourcesIn(path: string): Promise<Source[]> {
  const file = await readTextFile(path);
  const source = basename(path);
  if (extname(path) !== ".jsonl") {
    const id = normalize(path);
    return [{ document: { id, text: file.text }, name: path, source }];
  }
  return parseRecords("learn", file, recordSchema).map(({ place, value: { id, text, time, topic } }) => ({
    document: {
      id: id === undefined ? `${source}, ${place}` : String(id),
      text,
      ...(time !== undefined && { time }),
      ...(topic !== undefined && { topic }),
    },
    name: `${place} of ${path}`,
    source,
  }));
}

/** Documents that are shown one by one; of more there is a summary. */
const mostShown = 10;

const counted = (count: number, one: string): string => `${formatCount(count)} ${one}${count === 1 ? "" : "s"}`;

function printLearned({ print, style }: Output, learned: readonly Learned[]): void {
  const notes = { written: "", superseding: " (in place of an older text)", duplicate: " (was there already)" };
  for (const { id, document, outcome, chunks, tokens } of learned.length <= mostShown ? learned : []) {
    const size = `${counted(tokens, "token")}${chunks > 1 ? ` in ${chunks} chunks` : ""}`;
    print(`${style("bold", id)}  ${shown(document, 60)}: ${size}${notes[outcome]}`);
  }
  const fresh = learned.filter(({ outcome }) => outcome !== "duplicate");
  const gone = learned.flatMap(({ evicted = [] }) => evicted);
  const long = fresh.filter(({ chunks }) => chunks > 1);
  const sum = (key: "tokens" | "chunks", of = fresh): number => of.reduce((total, one) => total + one[key], 0);
  const replaced = fresh.filter(({ outcome }) => outcome === "superseding").length;
  print(
    `learned ${counted(fresh.length, "document")}, ${counted(sum("tokens"), "token")}; ${replaced} took the place of ` +
      `older texts, ${learned.length - fresh.length} were there already`,
  );
  for (const { id, document } of gone.slice(0, mostShown)) print(`${style("bold", id)}  ${shown(document, 60)}: went`);
  if (gone.length > 0) {
    print(
      `no room left: ${counted(gone.length, "document")} of the oldest went; \`mneme log --kind evict\` lists them`,
    );
  }
  if (long.length > 0) {
    print(`longer than the encoder: ${counted(long.length, "document")}, read in ${sum("chunks", long)} chunks`);
  }
}

/** Words that a text is found by, and goes on from. */
const openingWords = 8;

/** A text as a fact: its first words, and what they go on with. */
function textAsFact({ document, name, source }: Source): FactText {
  const words = document.text.trim().split(/\s+/);
  // A beginning that ends as a question would be asked as one
  let opening = Math.min(openingWords, words.length - 1);
  while (opening > 1 && queryOf(words.slice(0, opening).join(" ")).form === "question") opening--;
  if (opening < 1) throw new UserError(`learn: expected a text of two words or more, got ${name}; leave it out`);
  return { prompt: words.slice(0, opening).join(" "), target: words.slice(opening).join(" "), source };
}

/** Writes texts one after another: each is in before the next is learned on top of it. */
async function learnAsFacts(memory: FactMemory, sources: readonly Source[], session: Session): Promise<Edited[]> {
  const { progress, signal } = session;
  const learned: Edited[] = [];
  for (const source of sources) {
    signal.throwIfAborted();
    const onNote = (note: string): void => progress.line(note);
    const options = { receipt: false, nameOf: () => source.name, signal, onNote };
    learned.push(...(await memory.edit([textAsFact(source)], options)));
    progress.update({ label: "learning", done: learned.length, total: sources.length, brief: sources.length < 100 });
  }
  return learned;
}

function printWritten({ print, style }: Output, written: readonly Edited[]): void {
  for (const one of written.length <= mostShown ? written : []) {
    const note = one.outcome === "duplicate" ? " (was there already)" : "";
    print(`${style("bold", one.id)}  ${factText(one)}${note}`);
  }
  const fresh = written.filter(({ outcome }) => outcome !== "duplicate").length;
  print(`learned ${counted(fresh, "text")}; ${written.length - fresh} were there already`);
}

interface Outcome {
  readonly model: string;
  readonly method: string;
  readonly learned: readonly (Learned | Edited)[];
  /** In the memory now. */
  readonly documents: number;
  print(): void;
}

export async function learnDocuments(command: Command, session: Session): Promise<Record<string, unknown>> {
  const [paths] = command.processedArgs as [string[]];
  const { memory: folder } = command.opts<MethodMemoryFlags>();
  const { progress, signal, output } = session;
  if (paths.length === 0) throw new UserError("learn: expected text files, got none; name one or more");
  const sources = (await Promise.all((await dataFiles("learn", paths)).map(sourcesIn))).flat();
  const documents = sources.map(({ document }) => document);
  const nameOf = (i: number): string => sources[i].name;
  // Before a model is loaded: what can be seen of the texts alone
  checkDocuments(documents, nameOf);
  const started = performance.now();
  const result = await withMemory<Outcome>(command, session, {
    // A text that can not be learned leaves no empty memory
    beforeMaking: async (method) =>
      method.facts && encodeFacts(method, sources.slice(0, 1).map(textAsFact), { signal }),
    documents: async (memory, { model }, method) => {
      for (const notice of memory.notices()) progress.line(notice);
      const learned = await memory.learn(documents, {
        source: (i) => sources[i].source,
        nameOf,
        signal,
        onProgress: (done, total) =>
          progress.update({ label: `learning with ${method.name}`, done, total, brief: total < 100 }),
      });
      const live = memory.ledger.rows.live().length;
      return { model, method: method.name, learned, documents: live, print: () => printLearned(output, learned) };
    },
    facts: async (memory, { model }) => {
      const learned = await learnAsFacts(memory, sources, session);
      const { identity, rows } = memory.ledger;
      const print = (): void => printWritten(output, learned);
      return { model, method: identity.method, learned, documents: rows.live().length, print };
    },
  });
  progress.clear();
  const { print, model, ...rest } = result;
  print();
  const seconds = (performance.now() - started) / 1000;
  output.print(output.style("dim", `${folder}, ${counted(rest.documents, "document")}, ${formatSeconds(seconds)}`));
  return { command: "learn", memory: folder, model: shownPath(model), ...rest, seconds };
}
