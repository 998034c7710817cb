/**
 * A memory with its ledger: facts are written, forgotten, reverted, and the memory's state follows. One transaction
 * holds a fact with its key and value; what was acknowledged survives any crash, what was not leaves no trace. Several
 * processes may work on one folder: each takes in what the others wrote before it writes.
 */
import { UserError } from "../errors.ts";
import type { MemoryStore } from "../memory/memory-store.ts";
import { subjectOf } from "../memory/subject.ts";
import { checkFact, checkList, type Fact, factBytes, type NewFact, tidy, type WriteReceipt } from "./ledger-fact.ts";
import type { LedgerCounts } from "./ledger-history.ts";
import { createMirror } from "./ledger-mirror.ts";
import {
  carryOut,
  type Changed,
  type Moment,
  type Plan,
  planForget,
  planRevert,
  planRevertTo,
  type Steps,
  steps,
} from "./ledger-plans.ts";
import { latestSnapshotFile, loadSnapshot, saveSnapshot } from "./ledger-snapshots.ts";
import { verifyHistory } from "./ledger-verify.ts";
import { type Identity, type Ledger, type LedgerOptions, openLedger } from "./ledger.ts";

export interface MemoryOptions extends LedgerOptions {
  readonly identity: Identity;
  /** The empty memory that the ledger's facts go into. From here on it is the ledger's. */
  readonly store: MemoryStore;
  /** Events after which the state is saved again, at least; with many facts more, an eighth of their number. */
  readonly snapshotEvery?: number;
  /** Bytes of a fact in all. */
  readonly limit?: number;
}

export interface Written {
  readonly id: string;
  readonly fact: number;
  readonly placement: number;
  /** "duplicate": the same fact was live already, this is its id, and nothing was written. */
  readonly outcome: "written" | "superseding" | "duplicate";
  /** The fact whose place it took. */
  readonly supersedes?: Fact;
}

export interface MemoryStats extends LedgerCounts {
  /** Events that are not in the latest snapshot. */
  readonly unsaved: number;
  readonly snapshots: readonly { readonly seq: number; readonly bytes: number; readonly time: number }[];
  /** Why a snapshot was passed over or could not be saved; the ledger has everything all the same. */
  readonly notes: readonly string[];
}

export interface Memory {
  readonly ledger: Ledger;
  /** Takes in what other processes wrote. Writing does so by itself; do it before reading. */
  refresh(): void;
  write(fact: NewFact): Promise<Written>;
  /** All or none. `nameOf` says what the user calls the i-th fact in errors, such as "line 3". */
  writeAll(facts: readonly NewFact[], options?: { nameOf?: (i: number) => string }): Promise<Written[]>;
  /** Facts by their ids, or their beginnings. All or none. */
  forget(...ids: readonly string[]): Promise<Changed[]>;
  /**
   * Takes back what happened to a fact last. A live one goes, and the fact whose place it took comes back; one that is
   * forgotten or superseded comes back, and takes the place of a live fact about the same.
   */
  revert(id: string): Promise<Changed[]>;
  /** The facts that were live then, and no others. */
  revertTo(moment: Moment): Promise<Changed[]>;
  /** Adds what was measured after a write. */
  setReceipt(id: string, receipt: WriteReceipt): void;
  /** The same for several facts, by their ids. All or none. */
  setReceipts(receipts: ReadonlyMap<string, WriteReceipt>): void;
  stats(): MemoryStats;
  /** Checks the history, which throws where it is damaged, and computes the state anew: was it the same? */
  verify(): { readonly events: number; readonly facts: number; readonly equal: boolean };
  /** Saves the state now. */
  save(): Promise<void>;
  /** Saves the state if enough has changed, and closes the ledger. */
  close(): Promise<void>;
}

/** Opens a memory folder, or makes it. The state is what the ledger's live facts say, whatever happened before. */
export async function openMemory(path: string, options: MemoryOptions): Promise<Memory> {
  const { store, snapshotEvery = 256, limit = factBytes } = options;
  const ledger = openLedger(path, options);
  try {
    return await withLedger(ledger, store, snapshotEvery, limit);
  } catch (error) {
    ledger.close();
    throw error;
  }
}

async function withLedger(ledger: Ledger, store: MemoryStore, snapshotEvery: number, limit: number): Promise<Memory> {
  const { rows, clock, folder } = ledger;
  // The file first: another process may write and save in between
  const saved = latestSnapshotFile(folder);
  const { seq: present } = rows.head();
  if (saved > present) {
    throw new UserError(
      `openMemory: expected a ledger of at least ${saved} events in ${folder}, got ${present} (half deleted, or an older ` +
        `copy?); put the ledger back, or delete snapshot-${saved}.safetensors to go on with what is there`,
    );
  }
  const mirror = createMirror(ledger, store);
  const { snapshot, passedOver } = await loadSnapshot(ledger);
  const notes = [...passedOver];
  let savedAt = snapshot?.seq ?? 0;
  if (snapshot) {
    try {
      mirror.restore(snapshot);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      notes.push(error.message);
      savedAt = 0;
      mirror.rebuild();
    }
  }
  mirror.refresh();

  let saving: Promise<void> = Promise.resolve();
  const save = (): Promise<void> => {
    saving = saving.then(async () => {
      const now = mirror.snapshot();
      if (now.seq === savedAt) return;
      await saveSnapshot(ledger, now);
      savedAt = now.seq;
    });
    const result = saving;
    saving = saving.catch(() => undefined);
    return result;
  };
  const saveIfDue = async (): Promise<void> => {
    if (ledger.db.readOnly || mirror.seq() - savedAt < Math.max(snapshotEvery, mirror.size() / 8)) return;
    // The ledger has the facts: a snapshot that can not be saved costs time at the next opening, and nothing else
    await save().catch((error: unknown) => void notes.push(error instanceof Error ? error.message : String(error)));
  };

  /** Refuses to change facts that later ones stand on, where the memory is one in which they do. */
  const requireFree = (caller: string, { gone, come }: Steps): void => {
    const moved = [...gone, ...come].map(({ number }) => rows.placed(number));
    const above = store.standOn?.(moved) ?? [];
    if (above.length === 0) return;
    const names = above.slice(0, 3).map((number) => rows.byNumber(number)?.id ?? "");
    const more = above.length > names.length ? ` and ${above.length - names.length} more` : "";
    const own = rows.byNumber(moved[0].fact)?.id ?? "";
    throw new UserError(
      `${caller}: expected writes that no later one stands on, got ${own} under ${names.join(", ")}${more}; ` +
        `\`mneme revert ${own} --replay\` takes it out and learns again what came after it`,
    );
  };

  const carry = async (caller: string, plan: () => Plan): Promise<Changed[]> => {
    const changed = mirror.change((change) => {
      const planned = steps(rows, plan());
      requireFree(caller, planned);
      change.remove(planned.gone.map(({ number }) => number));
      const places = change.apply(planned.come.map(({ number }) => rows.placed(number)));
      const placeOf = new Map(planned.come.map(({ number }, i) => [number, places[i]]));
      return carryOut(rows, rows.deed(clock), planned, placeOf);
    });
    await saveIfDue();
    return changed;
  };

  const writeTogether = (facts: readonly NewFact[]): Written[] =>
    mirror.change((memory) => {
      const olds = facts.map(({ prompt }) => rows.liveAbout(subjectOf(prompt)));
      const isSame = (old: Fact | undefined, { target, rephrasings = [] }: NewFact): boolean =>
        old !== undefined &&
        tidy(old.target) === tidy(target) &&
        JSON.stringify(old.rephrasings.map(tidy)) === JSON.stringify(rephrasings.map(tidy));
      const fresh = facts.flatMap((fact, i) => (isSame(olds[i], fact) ? [] : [{ fact, old: olds[i] }]));
      memory.remove(fresh.flatMap(({ old }) => old?.fact ?? []));
      const first = rows.nextNumber();
      const places = memory.apply(fresh.map(({ fact }, i) => ({ fact: first + i, key: fact.key, value: fact.value })));
      const deed = rows.deed(clock);
      fresh.forEach(({ old }, i) => {
        if (!old) return;
        const standing = { status: "superseded", successor: first + i, placement: old.placement } as const;
        deed.append("supersede", old.fact, standing);
      });
      const written = fresh.map(({ fact, old }, i): Written => {
        const id = deed.add(first + i, fact, places[i]);
        const place = { id, fact: first + i, placement: places[i] };
        const supersedes = old && { ...old, status: "superseded" as const, supersededBy: id };
        return supersedes ? { ...place, outcome: "superseding", supersedes } : { ...place, outcome: "written" };
      });
      let next = 0;
      return facts.map((fact, i): Written => {
        const old = olds[i];
        if (!old || !isSame(old, fact)) return written[next++];
        return { id: old.id, fact: old.fact, placement: old.placement, outcome: "duplicate" };
      });
    });

  const writeFacts = async (facts: readonly NewFact[], nameOf: (i: number) => string): Promise<Written[]> => {
    checkList(facts, nameOf);
    facts.forEach((fact, i) => checkFact(fact, { limit, where: facts.length > 1 ? nameOf(i) : "" }));
    if (facts.length === 0) return [];
    const written = writeTogether(facts);
    await saveIfDue();
    return written;
  };

  const memory: Memory = {
    ledger,
    refresh: () => mirror.refresh(),
    write: async (fact) => (await writeFacts([fact], () => "fact 1"))[0],
    writeAll: (facts, { nameOf = (i: number) => `fact ${i + 1}` } = {}) => writeFacts(facts, nameOf),

    forget: (...ids) => carry("forget", () => planForget(ledger, ids)),
    revert: (id) => carry("revert", () => planRevert(ledger, id)),
    revertTo: (moment) => carry("revert", () => planRevertTo(ledger, moment)),

    setReceipt: (id, receipt) => memory.setReceipts(new Map([[id, receipt]])),

    setReceipts(receipts) {
      ledger.db.together(() => {
        ledger.requirePresent();
        for (const [id, receipt] of receipts) rows.setReceipt(ledger.resolve(id, "setReceipt").fact, receipt);
      });
    },

    stats: () => ({
      ...ledger.counts(),
      unsaved: rows.head().seq - savedAt,
      snapshots: rows.snapshots().map(({ seq, bytes, time }) => ({ seq, bytes, time })),
      notes,
    }),

    verify() {
      const equal = mirror.verify(() => verifyHistory(ledger, "verify"));
      return { events: mirror.seq(), facts: mirror.size(), equal };
    },

    save,
    async close() {
      await saveIfDue();
      await saving;
      ledger.close();
    },
  };
  return memory;
}
