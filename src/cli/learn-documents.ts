/**
 * `mneme learn` with a method that keeps documents: they go into a memory folder, batch by batch. What is in already is
 * passed over, so a run that was stopped goes on when it is typed again.
 */
import { basename, extname, normalize } from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { readTextFile } from "../checkpoint/text.ts";
import { UserError } from "../errors.ts";
import { formatCount, formatSeconds } from "../eval/format.ts";
import { parseRecords } from "../eval/tasks/records.ts";
import type { Document } from "../methods/method.ts";
import { checkDocuments, type Learned } from "../runs/document-memory.ts";
import { dataFiles } from "./data-files.ts";
import { shown } from "./fact-lines.ts";
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
  const result = await withMemory(command, session, {
    beforeMaking: async () => undefined,
    documents: async (memory, { model }, method) => {
      for (const notice of memory.notices()) progress.line(notice);
      const learned = await memory.learn(documents, {
        source: (i) => sources[i].source,
        nameOf,
        signal,
        onProgress: (done, total) =>
          progress.update({ label: `learning with ${method.name}`, done, total, brief: total < 100 }),
      });
      return { model: shownPath(model), method: method.name, learned, documents: memory.ledger.rows.live().length };
    },
  });
  progress.clear();
  printLearned(output, result.learned);
  const seconds = (performance.now() - started) / 1000;
  output.print(output.style("dim", `${folder}, ${counted(result.documents, "document")}, ${formatSeconds(seconds)}`));
  return { command: "learn", memory: folder, ...result, seconds };
}
