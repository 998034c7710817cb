/** A memory of documents in numbers, for `mneme memory`: what it weighs, how it is used, what it is worth; and mended. */
import type { Command } from "commander";
import { z } from "zod";
import { readTextFile } from "../checkpoint/text.ts";
import { internal } from "../errors.ts";
import { formatBytes, formatCount } from "../eval/format.ts";
import { parseRecords } from "../eval/tasks/records.ts";
import type { MemoryValue } from "../eval/result.ts";
import { type DocumentStats, documentStats } from "../runs/document-stats.ts";
import { openDocumentStore } from "../runs/document-store.ts";
import { shown } from "./fact-lines.ts";
import { type MemoryFlags, withMemory } from "./memory-flags.ts";
import type { Session } from "./session.ts";

const probeSchema = z.strictObject({
  question: z.string().min(1),
  answer: z.string().min(1),
  document: z.string().optional(),
});

type Figures = DocumentStats & { readonly value?: MemoryValue };

/** The figures of the memory; only what it is worth needs a model. */
export async function openWithProbes(
  command: Command,
  { memory: folder, probe }: MemoryFlags & { readonly probe?: string },
  session: Session,
): Promise<Figures> {
  if (probe !== undefined) {
    const probes = parseRecords("memory", await readTextFile(probe), probeSchema).map(({ value }) => value);
    const { signal } = session;
    return withMemory(command, session, {
      documents: (memory) => memory.stats(probes, { signal }),
    });
  }
  const store = await openDocumentStore(folder);
  try {
    for (const notice of store.notices()) session.progress.line(notice);
    return await documentStats(store);
  } finally {
    await store.close();
  }
}

/** "1,234 bits (155 B)". */
const bits = (count: number): string => `${formatCount(count)} bits (${formatBytes(Math.ceil(count / 8))})`;

export function documentRows({ bank, limit, codebooks, drift, value }: Figures): string[][] {
  const { entries, documents, total, codebooks: files, ...parts } = bank;
  const books = files.reduce((sum, one) => sum + one.bits, 0);
  return [
    ["bank", `${entries} entries, ${bits(total)}`],
    ...(limit === null ? [] : [["", `at most ${formatCount(limit)} entries`]]),
    [
      "a document",
      documents === 0 ? "none yet" : `${bits(Math.round((parts.indices + parts.keys) / documents))} of indices and key`,
    ],
    ...Object.entries({ ...parts, codebooks: books }).map(([name, count]) => [`  ${name}`, bits(count)]),
    ...codebooks.map(({ version, codes, books, dead, perplexity, entries: users }) => [
      `codebook ${version}`,
      `${users} entries, ${books} x ${codes} codes, ${dead} dead, perplexity ${perplexity.toFixed(1)}`,
    ]),
    [
      "drift",
      drift
        ? `error ${drift.first.toPrecision(3)} in the first tenth, ${drift.last.toPrecision(3)} in the last`
        : "not known",
    ],
    ...(value
      ? [
          ["value", `${value.mean.toFixed(3)} nats an answer, over ${value.probes} probes`],
          ...value.documents.map((one) => ["", `${one.mean.toFixed(3)} of ${shown(one.document, 60)}`]),
        ]
      : []),
  ];
}

/** Mends the bank of a memory: what it has lost comes back from the ledger. */
export async function recover({ memory }: MemoryFlags, { output }: Session): Promise<Record<string, unknown>> {
  const store = await openDocumentStore(memory, { recover: true });
  try {
    const { lost, missing, extra, anew } = store.recovery ?? internal("memory: opened to recover, and did not");
    const { print } = output;
    if (anew !== undefined) print(`the bank could not be read (${anew}) and was made anew; the old one lies beside it`);
    for (const { at, size, document } of lost) {
      print(`damage at byte ${at}, ${size} bytes${document === undefined ? "" : `, of ${shown(document, 60)}`}`);
    }
    for (const document of missing) print(`back from the ledger: ${shown(document)}`);
    for (const document of extra) print(`taken out, as the ledger does not have it: ${shown(document)}`);
    if (lost.length + missing.length + extra.length === 0 && anew === undefined) print("nothing was damaged");
    return { documents: store.ledger.rows.live().length, lost, missing, extra, ...(anew !== undefined && { anew }) };
  } finally {
    await store.close();
  }
}
