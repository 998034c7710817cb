/**
 * What questions see of a bank: its keys to find entries by, and entries as slots again. The bank may change underneath
 * (a memory folder writes to it), so a view catches up before it is used: what came is read, what went is taken out, and
 * the rest is not looked at again. The controls are views too: of another document's entries, of indices that mean
 * something else, of fewer entries. Those that deal all entries out anew read all of them anew.
 */
import { averageGroups, type Groups, nearestGroups, prunedGroups, randomGroups } from "../../memory/bank-reduction.ts";
import type { NumberedEntry } from "../../memory/bank.ts";
import type { BankMark } from "../../memory/bank-index.ts";
import { createKeyIndex, type KeyIndex } from "../../memory/key-index.ts";
import { joinRows } from "../../memory/matrix.ts";
import { randomStream } from "../../tensor/random.ts";
import type { EntryStore } from "../document-face.ts";

export const controlNames = ["none", "adapters", "wrong-bank", "permuted", "prune", "average", "nearest"] as const;
export type Control = (typeof controlNames)[number];

/** Entries as slots [N, T D], with the document of each. */
export interface Seen {
  readonly documents: readonly string[];
  readonly slots: Float32Array;
}

export interface View {
  readonly count: () => number;
  /** Is nothing told, whatever there is? */
  readonly isMute: () => boolean;
  /** Of the nearest entry by key; -Infinity where there is none. */
  best(key: Float32Array): Promise<number>;
  /** The k nearest entries by key, nearest first, with their scores. */
  nearest(key: Float32Array, k: number): Promise<Seen & { readonly scores: readonly number[] }>;
  /** Every entry. */
  all(): Promise<Seen>;
}

export interface ViewOptions {
  /** The bank as it is now: another one may take its place. */
  readonly bank: () => EntryStore;
  /** T D. */
  readonly size: number;
  readonly control: Control;
  /** Share of the entries that are left, for the controls that leave fewer. */
  readonly share: number;
  readonly seed: number;
}

/** Index p(i) in place of i, the same permutation of the codes everywhere. */
function remapped(indices: Uint32Array, codes: number, seed: number): Uint32Array {
  const permutation = randomStream(seed, "permuted codes").permutation(codes);
  return indices.map((index) => permutation[index]);
}

interface Held {
  readonly mark: BankMark;
  readonly index: KeyIndex;
  /** Of each entry by its number, in the order in which they came. */
  readonly documents: Map<number, string>;
  /** Slots made anew, a row for each number; read from the bank where there are none. */
  readonly made?: Float32Array;
  /** The numbers, ascending. */
  order?: readonly number[];
  all?: Promise<Whole>;
  /** All entries at an earlier look: rows that are still there need not be read again. */
  before?: Promise<Whole>;
}

/** All entries, and what they are as slots. */
interface Whole extends Seen {
  readonly numbers: readonly number[];
}

/** Reduces rows to groups of them. */
const reductions: Partial<Record<Control, (keys: Float32Array, width: number, keep: number, seed: number) => Groups>> =
  {
    prune: (keys, width, keep, seed) => prunedGroups(keys.length / width, keep, randomStream(seed, "pruned")),
    average: (keys, width, keep, seed) => randomGroups(keys.length / width, keep, randomStream(seed, "averaged")),
    nearest: (keys, width, keep) => nearestGroups(keys, width, keep),
  };

/** Controls under which an entry is seen as itself, whatever else there is. */
const asThemselves: readonly Control[] = ["none", "adapters", "wrong-bank"];

export function createView({ bank, size, control, share, seed }: ViewOptions): View {
  const slotsOf = ({ version, indices }: NumberedEntry): Float32Array => {
    const quantizer = bank().quantizer(version);
    if (control !== "permuted" || quantizer.bins === 0) return quantizer.decode(indices);
    return quantizer.decode(remapped(indices, quantizer.codebook.codes, seed));
  };

  /** Reads the whole bank. */
  const readAll = async (mark: BankMark): Promise<Held> => {
    const entries: Pick<NumberedEntry, "number" | "document" | "key">[] = [];
    const slots: Float32Array[] = [];
    const reduction = reductions[control];
    for await (const page of bank().pages()) {
      for (const entry of page) {
        if (entry.number >= mark.next) continue;
        const { number, document, key } = entry;
        entries.push({ number, document, key });
        if (reduction) slots.push(slotsOf(entry));
      }
    }
    const { keys } = bank();
    const { width } = keys;
    const index = createKeyIndex(keys);
    const N = entries.length;
    if (reduction && N > 0) {
      const all = joinRows(
        entries.map(({ key }) => key),
        width,
      );
      const groups = reduction(all, width, Math.max(1, Math.round(share * N)), seed);
      const fewer = averageGroups(all, width, groups);
      for (let g = 0; g < groups.length; g++) index.add(g, fewer.subarray(g * width, (g + 1) * width));
      return {
        mark,
        index,
        documents: new Map(groups.map(([first], g) => [g, entries[first].document])),
        made: averageGroups(joinRows(slots, size), size, groups),
      };
    }
    // Keys permuted with the codes: an entry is found by another one's key
    const order = control === "permuted" ? [...randomStream(seed, "permuted keys").permutation(N)] : undefined;
    for (const [place, { number }] of entries.entries()) index.add(number, entries[order?.[place] ?? place].key);
    return { mark, index, documents: new Map(entries.map(({ number, document }) => [number, document])) };
  };

  /** What has changed since, where that is all there is to do. */
  const catchUp = async (held: Held | undefined): Promise<Held> => {
    const mark = bank().mark();
    const gone = held && bank().goneSince(held.mark);
    if (held && gone?.length === 0 && mark.next === held.mark.next) return held;
    if (!held || !gone || !asThemselves.includes(control)) return readAll(mark);
    const { index, documents } = held;
    for (const number of gone) {
      // What came and went between two looks was never in
      if (documents.delete(number)) index.remove(number);
    }
    for await (const page of bank().pages({ from: held.mark.next })) {
      for (const { number, document, key } of page) {
        if (number >= mark.next) continue;
        index.add(number, key);
        documents.set(number, document);
      }
    }
    return { mark, index, documents, before: held.all ?? held.before };
  };

  let last: Promise<Held | undefined> = Promise.resolve(undefined);
  /** One after another, as they change what is held; after a failure all is read again. */
  const current = (): Promise<Held> => {
    const next = last.catch(() => undefined).then(catchUp);
    last = next;
    return next;
  };

  const orderOf = (held: Held): readonly number[] => (held.order ??= [...held.documents.keys()]);

  /** Half the bank away, and on from there to another document's entry; undefined where there is none. */
  const anothers = (held: Held, number: number): number | undefined => {
    const order = orderOf(held);
    const place = placeOf(order, number);
    const own = held.documents.get(number);
    for (let i = 0; i < order.length; i++) {
      const other = order[(place + Math.ceil(order.length / 2) + i) % order.length];
      if (held.documents.get(other) !== own) return other;
    }
    return undefined;
  };

  /** What is read where these were found. */
  const inPlaceOf = (held: Held, numbers: readonly number[]): readonly number[] =>
    control === "wrong-bank" ? numbers.flatMap((number) => anothers(held, number) ?? []) : numbers;

  const slotsAt = async ({ made }: Held, numbers: readonly number[]): Promise<Float32Array> => {
    const rows = made
      ? numbers.map((row) => made.subarray(row * size, (row + 1) * size))
      : (await bank().read(numbers)).map(slotsOf);
    return joinRows(rows, size);
  };

  const isMute = (): boolean => control === "adapters" || (control === "wrong-bank" && bank().documentCount() < 2);
  const named = ({ documents }: Held, numbers: readonly number[]): string[] =>
    numbers.map((number) => documents.get(number) as string);

  const whole = async (held: Held): Promise<Whole> => {
    const numbers = inPlaceOf(held, orderOf(held));
    const documents = named(held, numbers);
    const old = await held.before;
    // What it has is about to be copied: kept, the bank would lie in memory twice
    held.before = undefined;
    if (!old) return { numbers, documents, slots: await slotsAt(held, numbers) };
    const places = new Map(old.numbers.map((number, place) => [number, place]));
    const fresh = numbers.filter((number) => !places.has(number));
    const read = await slotsAt(held, fresh);
    const slots = new Float32Array(numbers.length * size);
    let next = 0;
    for (const [i, number] of numbers.entries()) {
      const place = places.get(number);
      const [from, at] = place === undefined ? [read, next++] : [old.slots, place];
      slots.set(from.subarray(at * size, (at + 1) * size), i * size);
    }
    return { numbers, documents, slots };
  };

  return {
    count: () => bank().count(),
    isMute,
    async best(key) {
      const [score = Number.NEGATIVE_INFINITY] = (await current()).index.topK(key, 1).scores;
      return score;
    },
    async nearest(key, k) {
      const held = await current();
      if (isMute()) return { documents: [], slots: new Float32Array(), scores: [] };
      const { numbers: found, scores } = held.index.topK(key, k);
      const numbers = inPlaceOf(held, found);
      return { documents: named(held, numbers), slots: await slotsAt(held, numbers), scores };
    },
    async all() {
      const held = await current();
      if (isMute()) return { documents: [], slots: new Float32Array() };
      try {
        return await (held.all ??= whole(held));
      } catch (error) {
        last = Promise.resolve(undefined);
        throw error;
      }
    },
  };
}

/** Where a number stands in an ascending list that has it. */
function placeOf(ascending: readonly number[], wanted: number): number {
  let [low, high] = [0, ascending.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ascending[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}
