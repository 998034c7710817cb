/**
 * Writes that change rows of a table: which slots each changed, and the rows it left there. What a slot holds is what the
 * latest of the writes that are in left; without any it is the table's own. So taking out a write that no later one
 * shares a slot with puts back, bit for bit, what was there before. Under a later one it can not go as if it had never
 * been, as the later one was learned on top of it: `standOn` names those.
 * As bytes: the key is the slots (int32), the value their rows (float32), both as typed arrays lie here.
 */
import { createHash } from "node:crypto";
import { UserError } from "../errors.ts";
import { float32Host, type HostTensor, int32Host } from "../tensor/dtype.ts";
import type { MemoryStore, PlacedFact, StoredFact } from "./memory-store.ts";
import { type MemoryState, numberOf } from "./packed.ts";

export interface RowWrite {
  /** Different ones, in rising order. */
  readonly slots: Int32Array;
  /** [slots, W]. */
  readonly rows: Float32Array;
}

export interface RowWrites extends MemoryStore {
  pack(write: RowWrite): { readonly key: Uint8Array; readonly value: Uint8Array };
  /** Numbers of the writes that can be taken out, in rising order. */
  writes(): number[];
  slotsOf(write: number): Int32Array;
  /** A write that is in, as it was applied. */
  placed(write: number): PlacedFact;
  /** The latest write that changed a slot. */
  writerOf(slot: number): number | undefined;
  /** The oldest writes, down to so many that stay: their rows hold from now on as if they were the table's own. */
  settle(most: number): void;
  standOn: NonNullable<MemoryStore["standOn"]>;
  bytes(): number;
}

export interface RowWritesOptions {
  /** W. */
  readonly width: number;
  /** N. */
  readonly slots: number;
  /** Told of every slot that changes, and its row from then on; undefined for the table's own. */
  readonly put?: (slot: number, row: Float32Array | undefined) => void;
}

interface Left {
  readonly write: number;
  readonly row: Float32Array;
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Int32Array | Float32Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength).slice();
/** The slots in the key of a write; a copy, as a view of a part of a file need not be aligned. */
export const slotsIn = (bytes: Uint8Array): Int32Array => new Int32Array(bytes.slice().buffer, 0, bytes.length >> 2);
const floatsIn = (bytes: Uint8Array): Float32Array => new Float32Array(bytes.slice().buffer, 0, bytes.length >> 2);

export function createRowWrites({ width, slots: count, put = () => {} }: RowWritesOptions): RowWrites {
  let writes = new Map<number, Int32Array>();
  /** What the writes left in each slot, in their order. */
  let chains = new Map<number, Left[]>();
  let settled = new Map<number, Float32Array>();

  const rowAt = (slot: number): Float32Array | undefined => chains.get(slot)?.at(-1)?.row ?? settled.get(slot);
  const tell = (touched: Iterable<number>): void => {
    for (const slot of touched) put(slot, rowAt(slot));
  };

  /** Refuses what is no write into such a table. */
  const checked = (of: string, slots: Int32Array, rows: Float32Array): RowWrite => {
    const isRising = slots.every((slot, i) => slot >= 0 && slot < count && (i === 0 || slot > slots[i - 1]));
    if (!isRising || rows.length !== slots.length * width) {
      throw new UserError(
        `memory: expected ${of} as rows of ${width} numbers for slots below ${count}, got something else; it is damaged ` +
          "or of another model: import an exported copy",
      );
    }
    const bad = rows.findIndex((value) => !Number.isFinite(value));
    if (bad < 0) return { slots, rows };
    const slot = slots[Math.floor(bad / width)];
    throw new UserError(`memory: expected finite numbers in ${of}, got ${rows[bad]} in slot ${slot}; leave it out`);
  };
  const unpack = ({ fact, key, value }: StoredFact): RowWrite =>
    checked(`write ${fact}`, slotsIn(key), floatsIn(value));

  const add = (write: number, { slots, rows }: RowWrite): void => {
    writes.set(write, slots);
    for (const [i, slot] of slots.entries()) {
      const chain = chains.get(slot) ?? [];
      chains.set(slot, chain);
      chain.push({ write, row: rows.subarray(i * width, (i + 1) * width) });
      // Only one that comes back is not the last
      chain.sort((a, b) => a.write - b.write);
    }
    tell(slots);
  };
  /** Takes the write out of its chains, whatever the table shows. */
  const unlink = (write: number): { slots: Int32Array; rows: Map<number, Float32Array> } => {
    const slots = writes.get(write) ?? new Int32Array();
    const rows = new Map<number, Float32Array>();
    writes.delete(write);
    for (const slot of slots) {
      const chain = chains.get(slot) ?? [];
      for (const one of chain) if (one.write === write) rows.set(slot, one.row);
      const rest = chain.filter((one) => one.write !== write);
      if (rest.length > 0) chains.set(slot, rest);
      else chains.delete(slot);
    }
    return { slots, rows };
  };
  const addAll = (facts: readonly StoredFact[]): void => {
    // All are looked at before any changes the table
    const sound = facts.map((fact) => [fact.fact, unpack(fact)] as const);
    for (const [fact, write] of sound) add(fact, write);
  };
  const rising = (): number[] => [...writes.keys()].sort((a, b) => a - b);

  const rowsOf = (write: number): RowWrite => {
    const slots = writes.get(write) ?? new Int32Array();
    const rows = new Float32Array(slots.length * width);
    for (const [i, slot] of slots.entries()) {
      rows.set(chains.get(slot)?.find((one) => one.write === write)?.row ?? [], i * width);
    }
    return { slots, rows };
  };
  /** Slots and rows, one write after the other. */
  const written = (): [number, RowWrite][] => rising().map((write) => [write, rowsOf(write)]);
  const settledWrite = (): RowWrite => {
    const slots = Int32Array.from(settled.keys()).sort();
    const rows = new Float32Array(slots.length * width);
    for (const [i, slot] of slots.entries()) rows.set(settled.get(slot) ?? [], i * width);
    return { slots, rows };
  };

  const pack = ({ slots, rows }: RowWrite) => ({ key: bytesOf(slots), value: bytesOf(rows) });

  return {
    pack,
    placed: (write) => ({ fact: write, placement: 0, ...pack(rowsOf(write)) }),
    writes: rising,
    slotsOf: (write) => writes.get(write) ?? new Int32Array(),
    writerOf: (slot) => chains.get(slot)?.at(-1)?.write,
    apply(facts) {
      addAll(facts);
      return facts.map(() => 0);
    },
    replay: addAll,
    remove(facts) {
      for (const { fact } of facts) tell(unlink(fact).slots);
    },
    standOn(facts) {
      const these = new Set(facts.map(({ fact }) => fact));
      const found = new Set<number>();
      for (const { fact, key } of facts) {
        for (const slot of slotsIn(key)) {
          for (const { write } of chains.get(slot) ?? []) if (write > fact && !these.has(write)) found.add(write);
        }
      }
      return [...found].sort((a, b) => a - b);
    },
    settle(most) {
      for (const write of rising().slice(0, Math.max(0, writes.size - most))) {
        for (const [slot, row] of unlink(write).rows) settled.set(slot, row);
      }
    },
    snapshot(): MemoryState {
      const all = written();
      const own = settledWrite();
      const tensors: Record<string, HostTensor> = {};
      const save = (name: string, { slots, rows }: RowWrite): void => {
        if (slots.length === 0) return;
        tensors[`${name}.slots`] = int32Host([slots.length], slots.slice());
        tensors[`${name}.rows`] = float32Host([slots.length, width], rows);
      };
      save("settled", own);
      for (const [write, one] of all) save(`write.${write}`, one);
      return { tensors, json: { width, slots: count, writes: all.map(([write]) => write) } };
    },
    restore(state) {
      const saved = (name: string): RowWrite => {
        const slots = state.tensors[`${name}.slots`]?.data ?? new Int32Array();
        const rows = state.tensors[`${name}.rows`]?.data ?? new Float32Array();
        if (slots instanceof Int32Array && rows instanceof Float32Array)
          return checked(name, slots.slice(), rows.slice());
        throw new UserError(`memory.restore: expected slots and rows of ${name}, got others; the file is damaged`);
      };
      const isOther = numberOf(state, "width", 1) !== width || numberOf(state, "slots", 1) !== count;
      const numbers = state.json.writes;
      if (isOther || !Array.isArray(numbers) || !numbers.every((one) => Number.isInteger(one) && one > 0)) {
        throw new UserError(
          "memory.restore: expected writes into a table of this size, got others; name its own memory",
        );
      }
      const all = (numbers as number[]).map((write) => [write, saved(`write.${write}`)] as const);
      const own = saved("settled");
      const before = new Set([...chains.keys(), ...settled.keys()]);
      [writes, chains] = [new Map(), new Map()];
      settled = new Map([...own.slots].map((slot, i) => [slot, own.rows.subarray(i * width, (i + 1) * width)]));
      for (const [write, one] of all) add(write, one);
      tell(new Set([...before, ...settled.keys()]));
    },
    fingerprint() {
      const hash = createHash("sha256");
      for (const [write, { slots, rows }] of [[0, settledWrite()] as const, ...written()])
        hash.update(`${write}:${slots.length};`).update(bytesOf(slots)).update(bytesOf(rows));
      return hash.digest("hex");
    },
    bytes: () => 4 * (1 + width) * ([...writes.values()].reduce((sum, { length }) => sum + length, 0) + settled.size),
  };
}
