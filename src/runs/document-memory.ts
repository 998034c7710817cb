/**
 * A memory of documents in use: a method that keeps them in a bank, taught and asked through a ledger. What a document
 * became, when it came and from where is in the ledger; what a question reads is the bank (document-store.ts).
 * Which method it is shows nowhere here: everything goes through its face for documents (methods/document-face.ts).
 */
import type { MemoryValue } from "../eval/result.ts";
import { UserError } from "../errors.ts";
import { mostIdBytes } from "../memory/bank-entry.ts";
import { documentFaceOf, inLots } from "../methods/document-face.ts";
import type { AnswerOptions, Document, Method } from "../methods/method.ts";
import { queryOf } from "../methods/prompt.ts";
import { type DocumentStore, type Kept, openDocumentStore, type StoreOptions } from "./document-store.ts";
import { type DocumentStats, documentStats, memoryValue, type Probe } from "./document-stats.ts";
import { quoted } from "./ledger-fact.ts";

export interface LearnOptions {
  /** Who says so: one name for all, or one for each. */
  readonly source?: string | ((i: number) => string);
  /** What the user calls the i-th document in errors, such as "line 3". */
  readonly nameOf?: (i: number) => string;
  /** Documents that are encoded and written together: what is acknowledged at once. */
  readonly batch?: number;
  /** Stops between two batches; what is written stays. */
  readonly signal?: AbortSignal;
  /** Documents done so far, and those there are in all. */
  readonly onProgress?: (done: number, total: number) => void;
}

export interface Learned extends Pick<Kept, "id" | "outcome" | "evicted"> {
  readonly document: string;
  /** Id of what stands in the history as superseded. */
  readonly supersedes?: string;
  readonly chunks: number;
  readonly tokens: number;
}

export interface ReadByQuestion {
  /** In the ledger. */
  readonly id: string;
  readonly document: string;
  /** Its first words. */
  readonly opening: string;
  readonly weight: number;
}

export interface AskedDocuments {
  readonly question: string;
  readonly answer: string;
  /** Of the same with an empty bank. */
  readonly without: string;
  /** In the bank. */
  readonly documents: number;
  /** The documents with the largest weights, the largest first. */
  readonly read: readonly ReadByQuestion[];
}

export interface AskDocumentsOptions extends Pick<AnswerOptions, "maxTokens" | "signal"> {
  /** Documents that are named at most. */
  readonly most?: number;
}

export interface DocumentMemory extends Omit<DocumentStore, "put" | "same" | "setLimit"> {
  /**
   * Takes documents in, batch by batch: what is acknowledged stays whatever comes after. One that is in already is
   * left alone, so the same call again goes on where the last one ended; one of the same id takes the old one's place.
   * Where the memory is limited, the oldest documents go to make room, and what is learned says which.
   */
  learn(documents: readonly Document[], options?: LearnOptions): Promise<Learned[]>;
  ask(question: string, options?: AskDocumentsOptions): Promise<AskedDocuments>;
  /** What the memory weighs and how its codebook is used, and what it is worth on probes if there are some. */
  stats(
    probes?: readonly Probe[],
    options?: Pick<AnswerOptions, "signal">,
  ): Promise<DocumentStats & { readonly value?: MemoryValue }>;
}

/** Refuses a document without an id or a text, and a second one of the same id. `nameOf` names the i-th: "line 3". */
export function checkDocuments(documents: readonly Document[], nameOf = (i: number) => `document ${i + 1}`): void {
  const seen = new Map<string, number>();
  for (const [i, { id, text, time }] of documents.entries()) {
    const refuse = (expected: string, got: string, wayOut: string): never => {
      throw new UserError(`learn: expected ${expected}, got ${got} in ${nameOf(i)}; ${wayOut}`);
    };
    if (text.trim() === "") refuse(`a text in document ${quoted(id)}`, "an empty one", "leave it out or give it text");
    const bytes = Buffer.byteLength(id);
    if (id.trim() === "" || bytes > mostIdBytes) {
      const got = bytes > mostIdBytes ? `${bytes}` : "none";
      refuse(`a document id of 1 to ${mostIdBytes} bytes`, got, "give it a short name");
    }
    if (/\p{Surrogate}|\0/u.test(id) || /\p{Surrogate}|\0/u.test(text)) {
      refuse(`whole characters in document ${quoted(id)}`, "half of one", "mend the text");
    }
    if (time !== undefined && !(Number.isInteger(time) && Number.isSafeInteger(2 * time))) {
      refuse(`a whole number as the time of document ${quoted(id)}`, `${time}`, "count steps or milliseconds");
    }
    const first = seen.get(id);
    if (first !== undefined) {
      const got = documents[first].text === text ? "the same again" : "another text";
      refuse(`one text for document ${quoted(id)}`, `${got}, first in ${nameOf(first)},`, "remove one of them");
    }
    seen.set(id, i);
  }
}

/** Opens the memory of a method in a folder, or makes it. From here on the method reads the folder's bank. */
export async function openDocumentMemory(
  folder: string,
  method: Method,
  options: Omit<StoreOptions, "identity" | "bank"> = {},
): Promise<DocumentMemory> {
  const face = documentFaceOf(method);
  const { module, keys } = face.bank;
  const { same, put, setLimit, ...store } = await openDocumentStore(folder, {
    ...options,
    identity: face.identity,
    bank: { module, keys: { ...keys } },
  });
  const { ledger, bank } = store;
  try {
    await face.use(bank);
  } catch (error) {
    await store.close();
    throw error;
  }

  /** Encodes and writes the documents of a batch that are not in yet. */
  const take = async (
    documents: readonly Document[],
    { source = "library", nameOf = (i: number) => `document ${i + 1}`, signal }: LearnOptions,
    first: number,
  ): Promise<Learned[]> => {
    // What is in already, before anything goes to make room
    const there = new Map(documents.flatMap((document) => [[document, same(document)] as const]));
    const fresh = documents.flatMap((document, i) => (there.get(document) ? [] : [{ document, at: first + i }]));
    const started = performance.now();
    const encoded = await face.encode(
      fresh.map(({ document }) => document),
      { signal, nameOf: (i) => nameOf(fresh[i].at) },
    );
    const seconds = (performance.now() - started) / 1000 / Math.max(1, fresh.length);
    const limit = store.limit();
    const made = fresh.map(({ document, at }, i) => {
      const { entries, tokens, error } = encoded[i];
      if (limit !== undefined && entries.length > limit) {
        throw new UserError(
          `learn: expected documents of at most ${limit} entries, which the memory is limited to, got ` +
            `${entries.length} in ${nameOf(at)}; cut it, or give the memory a larger limit`,
        );
      }
      return {
        ...document,
        source: typeof source === "string" ? source : source(at),
        entries,
        tokens,
        receipt: { seconds: { write: seconds }, ...(error !== undefined && { error }) },
      };
    });
    const kept: Kept[] = [];
    for (const lot of inLots(made, limit)) kept.push(...(await put(lot)));
    const written = new Map(fresh.map(({ document }, i) => [document, { ...made[i], ...kept[i] }]));
    return documents.map((document): Learned => {
      const one = written.get(document);
      const old = there.get(document);
      return {
        id: one?.id ?? old?.id ?? "",
        document: document.id,
        outcome: one?.outcome ?? "duplicate",
        ...(one?.supersedes && { supersedes: one.supersedes.id }),
        ...(one?.evicted && { evicted: one.evicted }),
        chunks: one?.entries.length ?? old?.document?.chunks ?? 0,
        tokens: one?.tokens ?? old?.document?.tokens ?? 0,
      };
    });
  };

  return {
    ...store,

    async learn(documents, learning = {}) {
      const { batch = 32, nameOf, signal, onProgress } = learning;
      checkDocuments(documents, nameOf);
      if (face.mostEntries !== undefined) setLimit(face.mostEntries);
      const learned: Learned[] = [];
      while (learned.length < documents.length) {
        signal?.throwIfAborted();
        const some = documents.slice(learned.length, learned.length + batch);
        try {
          learned.push(...(await take(some, learning, learned.length)));
        } catch (error) {
          if (!(error instanceof UserError) || learned.length === 0) throw error;
          throw new UserError(`${error.message}; the ${learned.length} documents before are in`);
        }
        onProgress?.(learned.length, documents.length);
      }
      return learned;
    },

    async ask(question, { maxTokens, signal, most = 8 } = {}) {
      if (question.trim() === "") throw new UserError("ask: expected a question, got an empty text; say what to ask");
      const query = queryOf(question);
      const [{ read }] = await face.look([query]);
      const [answer] = await method.answer([query], { maxTokens, signal });
      const isEmpty = bank.count() === 0;
      const [without] = isEmpty ? [answer] : await face.without.answer([query], { maxTokens, signal });
      return {
        question,
        answer,
        without,
        documents: bank.documentCount(),
        read: read.slice(0, most).flatMap(({ document, weight }) => {
          const fact = ledger.rows.liveAbout(document);
          return fact ? [{ id: fact.id, document, opening: fact.target, weight }] : [];
        }),
      };
    },

    async stats(probes, { signal } = {}) {
      const stats = await documentStats(store);
      return probes ? { ...stats, value: await memoryValue(method, probes, { signal }) } : stats;
    },
  };
}
