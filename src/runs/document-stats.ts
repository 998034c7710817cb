/**
 * What a memory of documents weighs, to the bit and by part; how its codebooks are used; and what it is worth, V(M):
 * the mean log-likelihood of answers with the memory minus without it, on a set of probes.
 */
import type { MemoryValue } from "../eval/result.ts";
import type { Task } from "../eval/task.ts";
import type { BankSize } from "../memory/bank.ts";
import { usesOfBooks } from "../memory/codebook-usage.ts";
import { documentFaceOf } from "../methods/document-face.ts";
import type { AnswerOptions, Method } from "../methods/method.ts";
import { queryOf } from "../methods/prompt.ts";
import type { DocumentStore } from "./document-store.ts";

/** What is asked, a question or a text to go on from, and the answer that the memory should have made likelier. */
export interface Probe {
  readonly question: string;
  readonly answer: string;
  /** Id of the document that says so. */
  readonly document?: string;
}

export interface CodebookUse {
  readonly version: number;
  readonly entries: number;
  readonly kind: string;
  /** Of each book. */
  readonly codes: number;
  readonly books: number;
  /** Codes that no entry uses, in all books. */
  readonly dead: number;
  /** exp of the entropy of a book's use, from 1 to `codes`: the mean over the books. */
  readonly perplexity: number;
}

export interface Drift {
  /** Mean squared error of quantising, over the first and over the last tenth of the documents ever written. */
  readonly first: number;
  readonly last: number;
  /** Their difference. */
  readonly moved: number;
}

export interface DocumentStats {
  /** Bits of the bank, by part. */
  readonly bank: BankSize;
  readonly codebooks: readonly CodebookUse[];
  /** Entries that the memory keeps at most; null for any number. */
  readonly limit: number | null;
  /** null where the method does not say how well its codebook fits. */
  readonly drift: Drift | null;
}

const mean = (values: readonly number[]): number => values.reduce((sum, one) => sum + one, 0) / values.length;

function codebookUse({ bank }: Pick<DocumentStore, "bank">, { codebooks }: BankSize): CodebookUse[] {
  return codebooks.flatMap(({ version, entries }) => {
    const { codebook, bins } = bank.quantizer(version);
    // Full precision: nothing to count
    if (bins === 0) return [];
    const { kind, codes, books } = codebook;
    const uses = usesOfBooks(bank.histogram(version), codebook);
    const dead = uses.reduce((sum, use) => sum + use.dead, 0);
    return [{ version, entries, kind, codes, books, dead, perplexity: mean(uses.map((use) => use.perplexity)) }];
  });
}

function driftOf({ ledger }: Pick<DocumentStore, "ledger">): Drift | null {
  const errors = ledger.db
    .statement("SELECT json_extract(receipt, '$.error') AS error FROM facts WHERE document IS NOT NULL ORDER BY number")
    .all()
    .flatMap(({ error }) => (typeof error === "number" ? [error] : []));
  if (errors.length < 2) return null;
  const tenth = Math.max(1, Math.floor(errors.length / 10));
  const [first, last] = [mean(errors.slice(0, tenth)), mean(errors.slice(-tenth))];
  return { first, last, moved: last - first };
}

export async function documentStats(store: Pick<DocumentStore, "ledger" | "bank" | "limit">): Promise<DocumentStats> {
  const size = await store.bank.size();
  return {
    bank: size,
    limit: store.limit() ?? null,
    codebooks: codebookUse(store, size),
    drift: driftOf(store),
  };
}

/** Questions that V(M) of a run is taken on, at most: with a bank that is read whole, each takes seconds. */
const MOST_PROBES = 100;

/** V(M) on questions about what was learned, spread evenly; undefined for a method that keeps no documents. */
export async function valueInRun(
  method: Method,
  { questions = [], topics }: Pick<Task, "questions" | "topics">,
  { signal }: Pick<AnswerOptions, "signal"> = {},
): Promise<MemoryValue | undefined> {
  if (!method.documents) return undefined;
  const learned = new Set(topics.flatMap(({ documents }) => documents.map(({ id }) => id)));
  const all = questions.flatMap(({ query: { text, form = "question", document }, answers: [answer] }): Probe[] =>
    form === "question" && document !== undefined && learned.has(document)
      ? [{ question: text, answer, document }]
      : [],
  );
  const count = Math.min(MOST_PROBES, all.length);
  const probes = Array.from({ length: count }, (_, i) => all[Math.floor((i * all.length) / count)]);
  return probes.length === 0 ? undefined : memoryValue(method, probes, { signal });
}

/** V(M) of the bank that the method reads now, in all and by the documents that probes name. */
export async function memoryValue(
  method: Method,
  probes: readonly Probe[],
  { signal }: Pick<AnswerOptions, "signal"> = {},
): Promise<MemoryValue> {
  const pairs = probes.map(({ question, answer }) => ({ query: queryOf(question), answer }));
  const rated = await method.rate(pairs, { signal });
  const without = await documentFaceOf(method).without.rate(pairs, { signal });
  const values = rated.map(({ nats }, i) => without[i].nats - nats);
  const named = [...new Set(probes.flatMap(({ document }) => document ?? []))];
  return {
    mean: mean(values),
    probes: probes.length,
    documents: named.map((document) => {
      const own = values.filter((_, i) => probes[i].document === document);
      return { document, mean: mean(own), probes: own.length };
    }),
  };
}
