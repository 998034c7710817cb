/**
 * What a fit practises on, from --data: texts, documents with questions from files, and generated worlds. A method says
 * whether its worlds tell single facts or whole documents; nothing here knows which method it is.
 */
import { basename, extname } from "node:path";
import { readTextFile } from "../checkpoint/text.ts";
import { parseFitDocuments, parseFitSquad } from "../eval/tasks/fit-records.ts";
import { worldFitDocuments, worldFitSubjects } from "../eval/tasks/world/fit-documents.ts";
import type { FitDefinition } from "../methods/definition.ts";
import type { Document } from "../methods/method.ts";
import { dataFiles, namesIn } from "./data-files.ts";

/** In place of a path: the generated worlds. */
const worldData = "world";

/** Files that are documents with questions; all others are texts. */
const readers = { ".json": parseFitSquad, ".jsonl": parseFitDocuments } as const;
const isRecords = (path: string): boolean => Object.hasOwn(readers, extname(path));

export interface FitData {
  readonly data: readonly string[];
  /** List of files that are left out. */
  readonly exclude?: string;
  readonly worldFacts: number;
  readonly worldDocuments: number;
  readonly seed: number;
}

/** Texts as they are, then documents with questions, then worlds: where named, or where no file has questions. */
export async function* fitDocuments(
  { practises = "facts" }: Pick<FitDefinition, "practises">,
  { data, exclude, worldFacts, worldDocuments, seed }: FitData,
): AsyncGenerator<Document> {
  const excluded = new Set((exclude === undefined ? [] : await namesIn("fit", exclude)).map((name) => basename(name)));
  const named = await dataFiles(
    "fit",
    data.filter((path) => path !== worldData),
  );
  const files = named.filter((path) => !excluded.has(basename(path)));
  for (const path of files.filter((one) => !isRecords(one)))
    yield { id: basename(path), text: (await readTextFile(path)).text };
  const records = files.filter(isRecords);
  for (const path of records) {
    const parse = readers[extname(path) as keyof typeof readers];
    for (const document of parse(await readTextFile(path)))
      yield { ...document, id: `${basename(path)}/${document.id}` };
  }
  if (records.length > 0 && !data.includes(worldData)) return;
  if (practises === "documents") yield* worldFitSubjects({ count: worldDocuments, seed });
  else yield* worldFitDocuments({ count: worldFacts, seed });
}
