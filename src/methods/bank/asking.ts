/**
 * How questions are asked of a bank: the entries that a question reads are found, aggregated under the question, and what
 * comes of it stands before the question as keys and values. An empty bank leaves the base as it is.
 */
import { joinRows } from "../../memory/matrix.ts";
import type { Condition } from "../../models/condition.ts";
import type { DocumentReading, ReadDocument } from "../document-face.ts";
import type { LanguageFace } from "../language.ts";
import type { AnswerOptions, Method, Query } from "../method.ts";
import { askedIn, documentBreak, promptOf } from "../prompt.ts";
import type { Reader } from "./reader.ts";
import type { View } from "./view.ts";

export interface AskingOptions {
  readonly reader: Reader;
  readonly bare: LanguageFace;
  /** Where a view is mute: the base with its adapters and nothing before the question. */
  readonly adaptersOnly?: LanguageFace;
  readonly view: View;
  /** A question as the encoder reads it. */
  readonly questionIds: (query: Query) => readonly number[];
  /** T D. */
  readonly size: number;
  /** Entries that a question reads; 0 for all. */
  readonly topK: number;
  /** Cosine of a question's key and the nearest entry's from which on the bank is read; below it the base answers. */
  readonly threshold: number;
  /** How much an entry's slots are set back for each unit that its key is farther than the nearest. */
  readonly sharpness: number;
  /** Entries that are aggregated at once where all are read; more in a hierarchy. 0 for any number. */
  readonly together: number;
  /** Keys of texts, one after another. */
  readonly keysOf: (texts: readonly string[]) => Promise<Float32Array>;
  /** Reads the whole bank without looking at its entries; undefined where that would not be exact. */
  readonly fast?: (questions: Float32Array) => Promise<Float32Array> | undefined;
}

/** Questions that are answered together: what they are told takes memory. */
const AT_ONCE = 64;
/** The same where each reads the whole bank. */
const WHOLE_AT_ONCE = 8;
/** Entries of no weight, where questions read different numbers of them. */
const ABSENT = -1e9;

export interface Asking extends Pick<Method, "score" | "generate" | "answer" | "rate"> {
  look(queries: readonly Query[]): Promise<DocumentReading[]>;
  readonly without: Pick<Method, "answer" | "rate">;
}

interface Found {
  /** [Q, T, D]. */
  readonly latents: Float32Array;
  /** For each question the entries it read; empty where the whole bank was read at once. */
  readonly read: readonly (readonly ReadDocument[])[];
}

/** A question, and its key where anything is found by keys. */
interface Asked {
  readonly query: Query;
  readonly key?: Float32Array;
  /** Is it about something in the bank? */
  readonly isInside: boolean;
}

/** Parts of one document's chunks added up, largest first. */
function byDocument(documents: readonly string[], weights: Float32Array): ReadDocument[] {
  const parts = new Map<string, number>();
  for (const [i, document] of documents.entries()) parts.set(document, (parts.get(document) ?? 0) + weights[i]);
  return [...parts].map(([document, weight]) => ({ document, weight })).sort((a, b) => b.weight - a.weight);
}

export function createAsking(options: AskingOptions): Asking {
  const { reader, bare, adaptersOnly, view, questionIds, size, topK, threshold, sharpness, together, keysOf, fast } =
    options;

  /** Each question over the few entries that are nearest to it. */
  const overNearest = async (keys: readonly Float32Array[], questions: Float32Array): Promise<Found> => {
    const found = [];
    for (const key of keys) found.push(await view.nearest(key, topK));
    const N = Math.max(...found.map(({ documents }) => documents.length));
    const bank = new Float32Array(keys.length * N * size);
    const bias = new Float32Array(keys.length * N).fill(ABSENT);
    for (const [i, { slots, scores }] of found.entries()) {
      bank.set(slots, i * N * size);
      for (const [k, score] of scores.entries()) bias[i * N + k] = sharpness * (score - scores[0]);
    }
    const { latents, weights } = await reader.aggregate(questions, bank, bias, keys.length);
    return { latents, read: found.map(({ documents }, i) => byDocument(documents, weights.subarray(i * N))) };
  };

  /** Each question over all entries; beyond `together` of them chunk by chunk, and over what comes of the chunks. */
  const overAll = async (questions: Float32Array): Promise<Found> => {
    const { documents, slots } = await view.all();
    const N = documents.length;
    const Q = questions.length / size;
    if (together === 0 || N <= together) {
      const { latents, weights } = await reader.aggregate(questions, slots, new Float32Array(Q * N));
      return { latents, read: Array.from({ length: Q }, (_, i) => byDocument(documents, weights.subarray(i * N))) };
    }
    const latents = new Float32Array(questions.length);
    for (let i = 0; i < Q; i++) {
      const own = questions.subarray(i * size, (i + 1) * size);
      let bank = slots;
      while (bank.length > together * size) {
        const parts: Float32Array[] = [];
        for (let at = 0; at < bank.length; at += together * size) {
          const chunk = bank.subarray(at, at + together * size);
          parts.push((await reader.aggregate(own, chunk, new Float32Array(chunk.length / size))).latents);
        }
        bank = joinRows(parts, size);
      }
      latents.set((await reader.aggregate(own, bank, new Float32Array(bank.length / size))).latents, i * size);
    }
    return { latents, read: [] };
  };

  const find = async (asked: readonly Asked[], { entries = false } = {}): Promise<Found> => {
    const questions = await reader.questions(asked.map(({ query }) => questionIds(query)));
    const keys = asked.flatMap(({ key }) => key ?? []);
    if (topK > 0) return overNearest(keys, questions);
    const latents = entries ? undefined : await fast?.(questions);
    return latents ? { latents, read: [] } : overAll(questions);
  };

  /** Which questions are about something in the bank. */
  const meet = async (queries: readonly Query[]): Promise<Asked[]> => {
    if (view.count() === 0) return queries.map((query) => ({ query, isInside: false }));
    if (threshold <= -1 && topK === 0) return queries.map((query) => ({ query, isInside: true }));
    const keys = await keysOf(queries.map(({ text }) => text));
    const width = keys.length / queries.length;
    const asked: Asked[] = [];
    for (const [i, query] of queries.entries()) {
      const key = keys.subarray(i * width, (i + 1) * width);
      asked.push({ query, key, isInside: threshold <= -1 || (await view.best(key)) >= threshold });
    }
    return asked;
  };

  const told = async (asked: readonly Asked[]): Promise<Condition[]> => reader.conditions((await find(asked)).latents);

  /** Lots of queries on the base under what they are told; all on another model where there is nothing to tell. */
  const inLots = async <I, R>(
    items: readonly I[],
    asking: AnswerOptions,
    queryOf: (item: I) => Query,
    run: (
      face: LanguageFace,
      items: readonly I[],
      conditions: readonly Condition[] | undefined,
      asking: AnswerOptions,
    ) => Promise<R[]>,
  ): Promise<R[]> => {
    const results: R[] = [];
    let done = 0;
    const onLot = async (
      face: LanguageFace,
      members: readonly number[],
      conditions?: readonly Condition[],
    ): Promise<void> => {
      const onProgress = (part: number): void => asking.onProgress?.(done + part, items.length);
      const some = members.map((i) => items[i]);
      const found = await run(face, some, conditions, { ...asking, onProgress });
      for (const [k, i] of members.entries()) results[i] = found[k];
      done += members.length;
    };
    const asked = await meet(items.map(queryOf));
    const [inside, outside] = [true, false].map((is) => [...items.keys()].filter((i) => asked[i].isInside === is));
    if (outside.length > 0) await onLot(bare, outside);
    const mute = view.isMute() ? adaptersOnly : undefined;
    if (mute && inside.length > 0) await onLot(mute, inside);
    const lot = topK > 0 || fast ? AT_ONCE : WHOLE_AT_ONCE;
    for (let start = 0; start < inside.length && !mute; start += lot) {
      asking.signal?.throwIfAborted();
      const members = inside.slice(start, start + lot);
      await onLot(reader.face, members, await told(members.map((i) => asked[i])));
    }
    return results;
  };

  /** The prompt behind what is told, or alone. */
  const promptFor = (query: Query, isTold: boolean): string => promptOf(query, isTold ? [""] : []);

  const answers =
    (on: typeof inLots): Method["answer"] =>
    (queries, asking = {}) =>
      on(
        queries,
        asking,
        (query) => query,
        (face, some, conditions, rest) =>
          face.answer(
            some.map((query) => promptFor(query, conditions !== undefined)),
            { ...rest, conditions },
          ),
      );
  const ratings =
    (on: typeof inLots): Method["rate"] =>
    (pairs, asking = {}) =>
      on(
        pairs,
        asking,
        ({ query }) => query,
        (face, some, conditions, rest) =>
          face.rate(
            some.map(({ query, answer }, k) => ({
              prompt: promptFor(query, conditions !== undefined),
              answer,
              condition: conditions?.[k],
            })),
            rest,
          ),
      );
  /** Who goes on from a prompt, and under what. */
  const facing = async (prompt: string): Promise<{ face: LanguageFace; condition?: Condition }> => {
    const query = askedIn(prompt);
    const [asked] = query.text.trim() === "" ? [] : await meet([query]);
    if (!asked?.isInside) return { face: bare };
    if (adaptersOnly && view.isMute()) return { face: adaptersOnly };
    const [condition] = await told([asked]);
    return { face: reader.face, condition };
  };
  const onBare: typeof inLots = (items, asking, _queryOf, run) => run(bare, items, undefined, asking);

  return {
    answer: answers(inLots),
    rate: ratings(inLots),
    without: { answer: answers(onBare), rate: ratings(onBare) },
    async look(queries) {
      const asked = view.isMute() ? [] : await meet(queries);
      const inside = [...asked.keys()].filter((i) => asked[i].isInside);
      const readings: DocumentReading[] = queries.map(() => ({ read: [] }));
      const lot = topK > 0 ? AT_ONCE : WHOLE_AT_ONCE;
      for (let start = 0; start < inside.length; start += lot) {
        const members = inside.slice(start, start + lot);
        const { read } = await find(
          members.map((i) => asked[i]),
          { entries: true },
        );
        for (const [k, i] of members.entries()) readings[i] = { read: read[k] ?? [] };
      }
      return readings;
    },
    async score(prompt, continuation) {
      const { face, condition } = await facing(prompt);
      return face.score(condition ? documentBreak + prompt : prompt, continuation, condition);
    },
    async *generate(prompt, sampling = {}) {
      const { face, condition } = await facing(prompt);
      yield* face.generate(
        condition ? documentBreak + prompt : prompt,
        condition ? { ...sampling, conditions: [condition] } : sampling,
      );
    },
  };
}
