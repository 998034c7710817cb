/**
 * The face of a method to whoever writes facts one by one and keeps a ledger of them: what a fact is as bytes, the
 * memory those bytes go into, and which facts a question reads. The ledger knows no method, and nothing here knows a
 * ledger: the runs floor brings the two together.
 */
import { UserError } from "../errors.ts";
import type { MemoryStore } from "../memory/memory-store.ts";
import type { MethodDefinition } from "./definition.ts";
import type { Method, Query, StatedFact } from "./method.ts";

/** What a memory belongs to, name by name: the method, hashes of base and module, sizes, kept options. */
export type FactIdentity = Readonly<Record<string, string>>;

/** Key and value as bytes that only the method's store understands. */
export interface EncodedFact {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

export interface EncodeOptions {
  /** What the user calls the i-th fact, such as "line 3". */
  readonly nameOf?: (i: number) => string;
  readonly signal?: AbortSignal;
  /** Facts done so far, and those there are in all. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Of what is written all the same, and yet not as it should be. */
  readonly onNote?: (message: string) => void;
  /** Numbers of facts that go when these come, for memories in which a write stands on what is there. */
  readonly without?: readonly number[];
}

/** What a question would read. */
export interface FactReading {
  /** Is it about something written? If not, nothing is read. */
  readonly inScope: boolean;
  /** At or above `threshold` is in scope; -Infinity while nothing is written. */
  readonly score: number;
  readonly threshold: number;
  /** Number of the fact that it is about, or is nearest to; undefined while there is none. */
  readonly fact?: number;
}

export interface FactFace {
  readonly identity: FactIdentity;
  /** The memory that the method reads. Given to a ledger it is the ledger's: `observe` would write past it. */
  readonly store: MemoryStore;
  /** Bytes of a fact in all, where they are more than the ledger's own limit. */
  readonly mostBytes?: number;
  /** Facts as bytes. Throws where one can not be written: too long, or an answer that the base can not say. */
  encode(facts: readonly StatedFact[], options?: EncodeOptions): Promise<EncodedFact[]>;
  look(queries: readonly Query[]): Promise<FactReading[]>;
  /** What the method says as long as nothing is written. */
  readonly without: Pick<Method, "answer" | "rate">;
}

/** What a definition says of the options of its method's memories. */
export interface MemoryOptionNames {
  /** Options that a memory keeps as it was made with; they stand in its identity. */
  readonly kept: readonly string[];
  /** Options that name what is hashed in its identity, such as a module: a memory remembers them. */
  readonly named: readonly string[];
  /** Options of reading, or of writing: a memory remembers those it was made with, and a call may have others. */
  readonly reading?: readonly string[];
}

/** What a definition says of its method's memory without a model. */
export interface FactsDefinition extends MemoryOptionNames {
  /** The empty memory of an identity: forgetting and taking back need no more. */
  store(identity: FactIdentity): MemoryStore;
  /** Can a whole text be a fact, which goes on from its beginning? */
  readonly texts?: boolean;
  /** Slots of a memory layer that a write changed, by its key, where that is what a write is. */
  slots?(key: Uint8Array): readonly number[];
}

/** Options as an identity has them. */
export const identityOf = (options: Readonly<Record<string, unknown>>): FactIdentity =>
  Object.fromEntries(Object.entries(options).map(([name, value]) => [name, String(value)]));

/** The options that the memory of this identity was made with. */
export function keptOptions(
  { facts, documents, options }: MethodDefinition,
  identity: FactIdentity,
): Record<string, unknown> {
  // An option may be a text that looks like a number
  const value = (name: string, text: string): unknown =>
    options.shape[name]?.safeParse(text).success || !/^(true|false|-?\d.*)$/.test(text) ? text : JSON.parse(text);
  return Object.fromEntries(
    ((facts ?? documents)?.kept ?? []).flatMap((name) =>
      Object.hasOwn(identity, name) ? [[name, value(name, identity[name])]] : [],
    ),
  );
}

/** The face of a method that has one. */
export function factFaceOf({ name, facts }: Method): FactFace {
  if (facts) return facts;
  throw new UserError(
    `memory: expected a method that writes facts one by one, got ${name}; \`mneme edit --help\` names those`,
  );
}
