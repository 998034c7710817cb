/**
 * The memory in a folder for what needs no model: what it belongs to, forgetting, taking back, checking. Whether facts
 * or documents are in it is the method's to say, by what its definition declares.
 */
import { isDeepStrictEqual } from "node:util";
import { UserError } from "../errors.ts";
import { methodNamed } from "../methods/index.ts";
import { openDocumentStore, type DocumentStore } from "./document-store.ts";
import { type Memory, openMemory } from "./ledger-memory.ts";
import { type Identity, type Ledger, type LedgerOptions, openLedger } from "./ledger.ts";

/** What memories of all kinds have. */
export interface StoredMemory extends Pick<Memory, "ledger" | "forget" | "revert" | "revertTo" | "close"> {
  verify(): ReturnType<Memory["verify"]> | ReturnType<DocumentStore["verify"]>;
}

/** How the user named what a memory was made with: shown and tried again, while hashes say what it belongs to. */
export interface MadeWith {
  readonly model: string;
  /** Options of the method that name something, such as its module, and those of reading. */
  readonly options: Readonly<Record<string, unknown>>;
}

/** What the memory in a folder belongs to, and how that was named; older memories do not say the latter. */
export function describeMemory(folder: string): { readonly identity: Identity; readonly made?: MadeWith } {
  const ledger = openLedger(folder);
  try {
    const made = ledger.note("made") as MadeWith | undefined;
    return { identity: ledger.identity, ...(made && { made }) };
  } finally {
    ledger.close();
  }
}

/** Remembers what a memory was made with, where that is new; a memory that may only be read stays as it is. */
export function noteMade({ db, note, putNote }: Pick<Ledger, "db" | "note" | "putNote">, made: MadeWith): void {
  if (!db.readOnly && !isDeepStrictEqual(note("made"), made)) putNote("made", made);
}

/** Opens the memory in a folder without a model. */
export async function openStoredMemory(
  folder: string,
  options: Omit<LedgerOptions, "identity"> = {},
): Promise<StoredMemory> {
  const { identity } = describeMemory(folder);
  const { name, facts, documents } = methodNamed(identity.method ?? "");
  if (facts) return openMemory(folder, { ...options, identity, store: facts.store(identity) });
  if (documents) return openDocumentStore(folder, { ...options, identity });
  throw new UserError(`memory: expected a memory of a method that keeps facts or documents, got one of ${name}`);
}
