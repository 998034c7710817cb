/**
 * What a ledger needs of a memory: facts go in and out, and the state can be saved. The ledger keeps every fact's key
 * and value as bytes that only the memory understands; the memory's state can always be computed from them again.
 */
import type { MemoryState } from "./packed.ts";

/** A fact as the ledger keeps it for the memory. */
export interface StoredFact {
  /** Its number: a whole number from 1, never used twice. */
  readonly fact: number;
  /** Bytes of the memory's own making. */
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** A fact and the number of the memory it lies in. */
export interface PlacedFact extends StoredFact {
  readonly placement: number;
}

/**
 * The state may depend on which facts are in and where they lie, and on nothing else: not on their order, nor on what
 * was in and taken out between. Each of these is all or nothing: it throws and leaves the state as it was.
 */
export interface MemoryStore {
  /** Adds new facts and says in which memory each lies. */
  apply(facts: readonly StoredFact[]): readonly number[];
  /** Adds facts where they lay before. */
  replay(facts: readonly PlacedFact[]): void;
  /** Takes facts out again; key and value as they were added. */
  remove(facts: readonly PlacedFact[]): void;
  /**
   * Of a memory in which later writes are learned on top of earlier ones: the facts that are in, others than these, and
   * stand on one of them. While there are any, these can not come or go as if they had never been.
   */
  standOn?(facts: readonly PlacedFact[]): readonly number[];
  /** A copy of the state. */
  snapshot(): MemoryState;
  /** Takes on a snapshot of a memory of the same options, or throws. */
  restore(state: MemoryState): void;
  /** The same for equal states, and for no others that anybody will meet. */
  fingerprint(): string;
}
