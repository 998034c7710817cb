/**
 * A memory in use: a method that writes facts, asked and written through a ledger. What is written is measured before
 * and after, without the fact in the prompt, and the measurements stay beside the fact as its receipt.
 * Which method it is shows nowhere here: everything goes through its face for facts (methods/fact-face.ts).
 */
import { UserError } from "../errors.ts";
import { subjectOf } from "../memory/subject.ts";
import { type EncodeOptions, factFaceOf } from "../methods/fact-face.ts";
import type { AnswerOptions, Method, Query, StatedFact } from "../methods/method.ts";
import { queryOf } from "../methods/prompt.ts";
import {
  checkFact,
  checkList,
  checkText,
  type Fact,
  type FactText,
  type NewFact,
  tidy,
  type WriteReceipt,
} from "./ledger-fact.ts";
import { type Memory, type MemoryOptions, openMemory, type Written } from "./ledger-memory.ts";
import type { Changed } from "./ledger-plans.ts";
import { probePrompts } from "./probe-prompts.ts";

/** What an edit is doing. */
export type EditStage = "encoding" | "measuring before" | "measuring after";

export interface EditOptions {
  /** Measure what the write changes. On by default; it takes most of the time. */
  readonly receipt?: boolean;
  /** Who says so, for facts that do not say it themselves. */
  readonly source?: string;
  /** What the user calls the i-th fact in errors, such as "line 3". */
  readonly nameOf?: (i: number) => string;
  /** Before the write: nothing is written. After it: what is not measured yet stays without a receipt. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (stage: EditStage, done: number, total: number) => void;
  /** Of facts that are written all the same, and yet not as they should be. */
  readonly onNote?: (message: string) => void;
}

export interface Edited extends Written {
  readonly prompt: string;
  readonly target: string;
  /** null where nothing was measured: left out, or a duplicate. */
  readonly receipt: WriteReceipt | null;
  /** Does the model answer with the target now? null where nothing was measured. */
  readonly given: boolean | null;
}

export interface Asked {
  readonly question: string;
  /** Of the method with its memory. */
  readonly answer: string;
  /** Of the same with nothing written. */
  readonly without: string;
  /** Is the question about something written? Otherwise the memory is silent. */
  readonly inScope: boolean;
  /** At or above `threshold` is in scope; null while nothing is written. */
  readonly score: number | null;
  readonly threshold: number;
  /** Facts that were read. */
  readonly read: readonly Fact[];
  /** The fact that the question is nearest to, in scope or not. */
  readonly nearest: Fact | null;
}

export interface FactMemory extends Pick<Memory, "ledger" | "forget" | "revert" | "revertTo" | "stats"> {
  /** The memory under its ledger. */
  readonly memory: Memory;
  /** Writes facts, all or none; one about the same prompt takes the place of the old one. */
  edit(facts: readonly FactText[], options?: EditOptions): Promise<Edited[]>;
  ask(question: string, options?: Pick<AnswerOptions, "maxTokens" | "signal">): Promise<Asked>;
  /**
   * Takes a live fact out, with all that was written after it, and writes the latter anew in the same order: what a
   * memory of writes that stand on each other is without it. They get other ids.
   */
  replayWithout(id: string, options?: Pick<EditOptions, "signal" | "onProgress">): Promise<Replayed>;
  /** Saves the state if enough has changed, and closes the ledger. The method stays. */
  close(): Promise<void>;
}

interface Replayed {
  readonly changed: readonly Changed[];
  /** What was written anew: the id that it had, and the one that it has. */
  readonly again: readonly { readonly before: string; readonly after: string }[];
}

/** A prompt ends as a question or is gone on with (prompt.ts); so do the other ways to say it. */
const statedOf = ({ prompt, target, rephrasings = [] }: FactText): StatedFact => ({
  prompt: queryOf(prompt),
  target,
  rephrased: rephrasings.map(queryOf),
});

export interface EncodeFactsOptions extends EncodeOptions {
  readonly source?: string;
}

/** Facts as a ledger takes them, or one line that says why it would not. Touches no memory. */
export async function encodeFacts(
  method: Method,
  facts: readonly FactText[],
  { source = "library", nameOf, ...encoding }: EncodeFactsOptions = {},
): Promise<NewFact[]> {
  const isAlone = nameOf === undefined && facts.length === 1;
  const name = nameOf ?? ((i: number) => (isAlone ? "the fact" : `fact ${i + 1}`));
  const { encode, mostBytes: limit } = factFaceOf(method);
  for (const [i, fact] of facts.entries()) checkText(fact, isAlone ? "" : name(i), limit);
  checkList(facts, name);
  const encoded = await encode(facts.map(statedOf), { nameOf: name, ...encoding });
  const made = facts.map((fact, i) => ({ ...fact, source: fact.source ?? source, ...encoded[i] }));
  for (const [i, fact] of made.entries()) checkFact(fact, { where: isAlone ? "" : name(i), limit });
  return made;
}

interface Measured {
  readonly answers: readonly string[];
  /** Of each target, after its prompt. */
  readonly probabilities: readonly number[];
  readonly probeAnswers: readonly string[];
  /** Nats per token of each probe's going-on. */
  readonly probeNats: readonly number[];
}

const probeTokens = 12;

async function measure(
  method: Method,
  facts: readonly StatedFact[],
  { signal, onProgress }: { signal?: AbortSignal; onProgress: (done: number, total: number) => void },
): Promise<Measured> {
  const queries = probePrompts.map(({ query }) => query);
  const total = facts.length + queries.length;
  const answers = await method.answer(
    facts.map(({ prompt }) => prompt),
    { signal, onProgress: (done) => onProgress(done, total) },
  );
  const rated = await method.rate(
    facts.map(({ prompt, target }) => ({ query: prompt, answer: target })),
    { signal },
  );
  const probeAnswers = await method.answer(queries, { signal, maxTokens: probeTokens });
  const probes = await method.rate(probePrompts, { signal });
  onProgress(total, total);
  return {
    answers,
    probabilities: rated.map(({ nats }) => Math.exp(-nats)),
    probeAnswers,
    probeNats: probes.map(({ nats, tokens }) => nats / Math.max(1, tokens)),
  };
}

interface Seconds {
  readonly write: number;
  readonly measure: number;
}

/** Receipts of facts that were written together: what unrelated prompts show is of all of them, seconds are shares. */
function receiptsOf(before: Measured, after: Measured, seconds: Seconds): WriteReceipt[] {
  const count = before.answers.length;
  const changed = before.probeAnswers.filter((answer, i) => answer !== after.probeAnswers[i]).length;
  const moved = before.probeNats.map((nats, i) => Math.abs(after.probeNats[i] - nats));
  const drift = moved.reduce((sum, one) => sum + one, 0) / moved.length;
  return before.answers.map((answer, i) => ({
    answer: { before: answer, after: after.answers[i] },
    probability: { before: before.probabilities[i], after: after.probabilities[i] },
    probes: { count: moved.length, changed, drift },
    seconds: { write: seconds.write / count, measure: seconds.measure / count },
    ...(count > 1 && { together: count }),
  }));
}

const secondsSince = (started: number): number => (performance.now() - started) / 1000;

/** Opens the memory of a method in a folder, or makes it. From here on the ledger keeps the method's facts. */
export async function openFactMemory(
  folder: string,
  method: Method,
  options: Omit<MemoryOptions, "identity" | "store"> = {},
): Promise<FactMemory> {
  const face = factFaceOf(method);
  const { identity, store, mostBytes: limit } = face;
  const memory = await openMemory(folder, { ...(limit !== undefined && { limit }), ...options, identity, store });
  const { ledger } = memory;
  /** The live fact that one of this prompt would take the place of. */
  const liveAbout = (prompt: unknown): Fact | undefined =>
    typeof prompt === "string" ? ledger.rows.liveAbout(subjectOf(prompt)) : undefined;

  return {
    memory,
    ledger,
    forget: memory.forget,
    revert: memory.revert,
    revertTo: memory.revertTo,
    stats: memory.stats,

    async edit(facts, editing = {}) {
      const { receipt = true, source, nameOf, signal, onProgress, onNote } = editing;
      const at = (stage: EditStage) => (done: number, total: number) => onProgress?.(stage, done, total);
      ledger.db.requireWritable();
      const started = performance.now();
      // A write may stand on what is there without those whose place it takes
      memory.refresh();
      const without = facts.flatMap(({ prompt }) => liveAbout(prompt)?.fact ?? []);
      const encoding = { source, nameOf, signal, onNote, without, onProgress: at("encoding") };
      const made = await encodeFacts(method, facts, encoding);
      if (made.length === 0) return [];
      const stated = facts.map(statedOf);
      memory.refresh();
      let seconds: Seconds = { write: secondsSince(started), measure: 0 };
      const timed = async (stage: EditStage): Promise<Measured> => {
        const from = performance.now();
        const measured = await measure(method, stated, { signal, onProgress: at(stage) });
        seconds = { ...seconds, measure: seconds.measure + secondsSince(from) };
        return measured;
      };
      const before = receipt ? await timed("measuring before") : undefined;
      signal?.throwIfAborted();
      const writing = performance.now();
      const written = await memory.writeAll(made, { nameOf });
      seconds = { ...seconds, write: seconds.write + secondsSince(writing) };
      // What is written is written: whoever stops now stops the measuring alone
      const after =
        before &&
        (await timed("measuring after").catch((error: unknown) => {
          if (!signal?.aborted) throw error;
          return undefined;
        }));
      const receipts = before && after ? receiptsOf(before, after, seconds) : [];
      const receiptOf = (i: number): WriteReceipt | null =>
        written[i].outcome === "duplicate" ? null : (receipts[i] ?? null);
      if (receipts.length > 0) {
        memory.setReceipts(
          new Map(
            written.flatMap(({ id }, i) => {
              const own = receiptOf(i);
              return own ? [[id, own] as const] : [];
            }),
          ),
        );
      }
      return written.map((one, i) => {
        const { prompt, target } = facts[i];
        const receipt = receiptOf(i);
        const answer = receipt?.answer?.after;
        return { ...one, prompt, target, receipt, given: answer === undefined ? null : tidy(answer) === tidy(target) };
      });
    },

    async ask(question, { maxTokens, signal } = {}) {
      if (question.trim() === "") throw new UserError("ask: expected a question, got an empty text; say what to ask");
      memory.refresh();
      const query: Query = queryOf(question);
      const [{ inScope, score, threshold, fact }] = await face.look([query]);
      const [answer] = await method.answer([query], { maxTokens, signal });
      const [without] = inScope ? await face.without.answer([query], { maxTokens, signal }) : [answer];
      const nearest = (fact === undefined ? undefined : ledger.rows.byNumber(fact)) ?? null;
      return {
        question,
        answer,
        without,
        inScope,
        score: Number.isFinite(score) ? score : null,
        threshold,
        read: inScope && nearest ? [nearest] : [],
        nearest,
      };
    },

    async replayWithout(id, { signal, onProgress } = {}) {
      ledger.db.requireWritable();
      memory.refresh();
      const fact = ledger.resolve(id, "revert");
      if (fact.status !== "live") {
        throw new UserError(`revert: expected a live fact to replay without, got ${fact.id}, which is ${fact.status}`);
      }
      const later = ledger.rows
        .live()
        .filter((number) => number > fact.fact)
        .flatMap((number) => ledger.rows.byNumber(number) ?? []);
      const texts = later.map(({ prompt, target, rephrasings, source }) => ({ prompt, target, rephrasings, source }));
      // Learned before anything is taken out: what fails or stops leaves the memory as it was
      const made = await encodeFacts(method, texts, {
        signal,
        without: [fact, ...later].map(({ fact: number }) => number),
        onProgress: (done, total) => onProgress?.("encoding", done, total),
      });
      const changed = await memory.forget(fact.id, ...later.map((one) => one.id));
      const written = await memory.writeAll(made);
      return { changed, again: later.map((one, i) => ({ before: one.id, after: written[i].id })) };
    },

    close: memory.close,
  };
}
