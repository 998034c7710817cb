/**
 * Keeps a memory's state equal to its ledger's live facts: it catches up with what other processes wrote, changes
 * memory and ledger together, and takes the memory's part back where the ledger's part fails.
 */
import type { MemoryStore, PlacedFact, StoredFact } from "../memory/memory-store.ts";
import type { Ledger } from "./ledger.ts";
import type { Snapshot } from "./ledger-snapshots.ts";

/** The memory, within one change. */
export interface MirrorChange {
  apply(facts: readonly StoredFact[]): readonly number[];
  remove(numbers: readonly number[]): void;
}

export interface Mirror {
  /** The last event that the state has in it. */
  readonly seq: () => number;
  readonly size: () => number;
  /** Takes in what others wrote, as of now. */
  refresh(): void;
  /** Changes ledger and memory in one transaction that sees everything written before it. */
  change<T>(work: (memory: MirrorChange) => T): T;
  /** The state with the event it stands at. */
  snapshot(): Snapshot;
  restore(snapshot: Snapshot): void;
  /** Computes the state from the live facts alone. */
  rebuild(): void;
  /** Does what `work` does, then rebuilds, of one moment. Says whether the state was the same as the one rebuilt. */
  verify(work: () => void): boolean;
}

/** Facts read from the ledger at a time. */
const chunk = 256;

/** `store` must be empty. */
export function createMirror(ledger: Ledger, store: MemoryStore): Mirror {
  const { db, rows } = ledger;
  const empty = store.snapshot();
  let held = new Map<number, number>();
  let seq = 0;
  /** Set while the state can not be trusted. */
  let broken = false;

  const inChunks = (numbers: readonly number[], work: (facts: readonly PlacedFact[]) => void): void => {
    for (let at = 0; at < numbers.length; at += chunk) work(numbers.slice(at, at + chunk).map(rows.placed));
  };
  const replay = (facts: readonly PlacedFact[]): void => {
    store.replay(facts);
    for (const { fact, placement } of facts) held.set(fact, placement);
  };
  const takeOut = (facts: readonly PlacedFact[]): void => {
    store.remove(facts);
    for (const { fact } of facts) held.delete(fact);
  };

  const rebuild = (): void => {
    broken = true;
    const head = rows.head().seq;
    store.restore(empty);
    held = new Map();
    inChunks(rows.live(), replay);
    seq = head;
    broken = false;
  };

  /** Within a transaction. Compares what is with what should be, so it may be broken off and begun again. */
  const catchUp = (): void => {
    if (broken) return rebuild();
    const head = rows.head().seq;
    if (head === seq) return;
    const gone: number[] = [];
    const come: number[] = [];
    const places = new Map<number, number>();
    for (const number of rows.touchedSince(seq)) {
      const { status, placement } = rows.standing(number);
      const [is, should] = [held.get(number), status === "live" ? placement : undefined];
      if (is === should) continue;
      if (is !== undefined) {
        gone.push(number);
        places.set(number, is);
      }
      if (should !== undefined) come.push(number);
    }
    // First out, then in: a memory is never fuller than the ledger says
    inChunks(gone, (facts) =>
      takeOut(facts.map((fact) => ({ ...fact, placement: places.get(fact.fact) ?? fact.placement }))),
    );
    inChunks(come, replay);
    seq = head;
  };

  return {
    seq: () => seq,
    size: () => held.size,
    refresh: () => db.atOnce(catchUp),
    rebuild: () => db.atOnce(rebuild),
    verify: (work) =>
      db.atOnce(() => {
        work();
        catchUp();
        const before = store.fingerprint();
        rebuild();
        return store.fingerprint() === before;
      }),

    change(work) {
      const undo: (() => void)[] = [];
      const memory: MirrorChange = {
        apply(facts) {
          const places = store.apply(facts);
          const placed = facts.map((fact, i) => ({ ...fact, placement: places[i] }));
          for (const { fact, placement } of placed) held.set(fact, placement);
          undo.push(() => takeOut(placed));
          return places;
        },
        remove(numbers) {
          inChunks(numbers, (facts) => {
            takeOut(facts);
            undo.push(() => replay(facts));
          });
        },
      };
      try {
        const [result, head] = db.together(() => {
          ledger.requirePresent();
          catchUp();
          return [work(memory), rows.head().seq] as const;
        });
        seq = head;
        return result;
      } catch (error) {
        try {
          for (const step of undo.toReversed()) step();
        } catch {
          broken = true;
        }
        throw error;
      }
    },

    snapshot() {
      // Nothing else runs between the two, so state and number belong together
      db.atOnce(catchUp);
      return { seq, chain: rows.chainAt(seq) ?? new Uint8Array(0), state: store.snapshot(), held: new Map(held) };
    },

    restore(snapshot) {
      broken = true;
      store.restore(snapshot.state);
      held = new Map(snapshot.held);
      seq = snapshot.seq;
      broken = false;
    },
  };
}
