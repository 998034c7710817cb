/**
 * The face of a method that keeps whole documents in a bank: what a document is as entries, the bank they go into, and
 * which documents a question reads. As with facts (fact-face.ts), a ledger knows no method and a method no ledger.
 */
import { UserError } from "../errors.ts";
import type { Bank, BankEntry } from "../memory/bank.ts";
import type { EncodeOptions, FactIdentity } from "./fact-face.ts";
import type { Document, Method, Query } from "./method.ts";

/** What a method asks of a bank, on disk or in RAM. */
export type EntryStore = Pick<
  Bank,
  | "module"
  | "keys"
  | "count"
  | "documentCount"
  | "mark"
  | "goneSince"
  | "documents"
  | "has"
  | "addCodebook"
  | "versions"
  | "quantizer"
  | "append"
  | "replace"
  | "delete"
  | "numbersOf"
  | "read"
  | "pages"
  | "histogram"
>;

/** A document ready for the bank: one entry, or one for each chunk where it is longer than the encoder. */
export interface EncodedDocument {
  readonly document: string;
  readonly entries: readonly BankEntry[];
  /** Tokens read, over all chunks. */
  readonly tokens: number;
  /** Mean squared error of quantising it, where there is a codebook: how it moves says whether the codebook still fits. */
  readonly error?: number;
}

/** A document that a question read, and its part of the attention; the parts of all documents of a question sum to 1. */
export interface ReadDocument {
  readonly document: string;
  readonly weight: number;
}

export interface DocumentReading {
  /** Largest weight first; empty while the bank is. */
  readonly read: readonly ReadDocument[];
}

export interface DocumentFace {
  readonly identity: FactIdentity;
  /** Entries that a memory is to keep at most: then the oldest documents go. Any number by default. */
  readonly mostEntries?: number;
  /** The bank that the method reads: in RAM, until another takes its place. */
  readonly bank: EntryStore;
  /** From here on the method reads and writes this bank, which must be of the same module and keys. */
  use(bank: EntryStore): Promise<void>;
  /** Documents as entries, in the order given. Throws for an empty document, before anything is written. */
  encode(documents: readonly Document[], options?: EncodeOptions): Promise<EncodedDocument[]>;
  look(queries: readonly Query[]): Promise<DocumentReading[]>;
  /** What the method says with an empty bank. */
  readonly without: Pick<Method, "answer" | "rate">;
}

/** Documents in lots that a memory of so many entries has room for; one that alone has more is a lot of its own. */
export function inLots<E extends Pick<EncodedDocument, "entries">>(documents: readonly E[], limit = Infinity): E[][] {
  const lots: E[][] = [];
  let room = 0;
  for (const document of documents) {
    const size = document.entries.length;
    if (size > room || lots.length === 0) {
      lots.push([]);
      room = limit;
    }
    lots[lots.length - 1].push(document);
    room -= size;
  }
  return lots;
}

/** What the memory of a method belongs to, whether it keeps facts or documents. */
export const memoryIdentityOf = (method: Method): FactIdentity => (method.facts ?? documentFaceOf(method)).identity;

/** The face of a method that has one. */
export function documentFaceOf({ name, documents }: Method): DocumentFace {
  if (documents) return documents;
  throw new UserError(
    `memory: expected a method that keeps documents, got ${name}; \`mneme learn --help\` names those`,
  );
}
