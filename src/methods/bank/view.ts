/**
 * What questions see of a bank: its keys to find entries by, and entries as slots again. The bank may change underneath
 * (a memory folder writes to it), so a view looks whether it still fits before it is used. The controls are views too:
 * of another document's entries, of indices that mean something else, of fewer entries.
 */
import { averageGroups, type Groups, nearestGroups, prunedGroups, randomGroups } from "../../memory/bank-reduction.ts";
import type { NumberedEntry } from "../../memory/bank.ts";
import { createKeyIndex, type KeyIndex } from "../../memory/key-index.ts";
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
  /** The k nearest entries by key, nearest first, with their scores. */
  nearest(key: Float32Array, k: number): Promise<Seen & { readonly scores: readonly number[] }>;
  /** Every entry. */
  all(): Promise<Seen>;
}

export interface ViewOptions {
  readonly bank: EntryStore;
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
  readonly index: KeyIndex;
  /** Numbers of the entries, in the order in which they came. */
  readonly numbers: readonly number[];
  readonly documents: readonly string[];
  /** Keys and slots made anew, by place; read from the bank where there are none. */
  readonly made?: { readonly slots: Float32Array };
  /** Whose entry is read in an entry's place, by place. */
  readonly instead?: readonly number[];
  all?: Promise<Seen>;
}

/** Reduces rows to groups of them. */
const reductions: Partial<Record<Control, (keys: Float32Array, width: number, keep: number, seed: number) => Groups>> =
  {
    prune: (keys, width, keep, seed) => prunedGroups(keys.length / width, keep, randomStream(seed, "pruned")),
    average: (keys, width, keep, seed) => randomGroups(keys.length / width, keep, randomStream(seed, "averaged")),
    nearest: (keys, width, keep) => nearestGroups(keys, width, keep),
  };

export function createView({ bank, size, control, share, seed }: ViewOptions): View {
  let held: { readonly count: number; readonly last: number; readonly made: Promise<Held> } | undefined;
  const { width } = bank.keys;

  const slotsOf = ({ version, indices }: NumberedEntry): Float32Array => {
    const quantizer = bank.quantizer(version);
    if (control !== "permuted" || quantizer.bins === 0) return quantizer.decode(indices);
    return quantizer.decode(remapped(indices, quantizer.codebook.codes, seed));
  };

  /** The number that came last: numbers only grow. */
  const lastNumber = (): number => {
    let last = -1;
    for (const document of bank.documents())
      for (const number of bank.numbersOf(document)) last = Math.max(last, number);
    return last;
  };

  const read = async (): Promise<Held> => {
    const numbers: number[] = [];
    const documents: string[] = [];
    const keys: Float32Array[] = [];
    const reduction = reductions[control];
    const slots: Float32Array[] = [];
    for await (const page of bank.pages()) {
      for (const entry of page) {
        numbers.push(entry.number);
        documents.push(entry.document);
        keys.push(entry.key);
        if (reduction) slots.push(slotsOf(entry));
      }
    }
    const index = createKeyIndex(bank.keys);
    if (reduction && numbers.length > 0) {
      const all = flat(keys, width);
      const groups = reduction(all, width, Math.max(1, Math.round(share * numbers.length)), seed);
      const fewer = averageGroups(all, width, groups);
      for (let g = 0; g < groups.length; g++) index.add(g, fewer.subarray(g * width, (g + 1) * width));
      return {
        index,
        numbers: groups.map((_, g) => g),
        documents: groups.map((group) => documents[group[0]]),
        made: { slots: averageGroups(flat(slots, size), size, groups) },
      };
    }
    // Keys permuted with the codes: an entry is found by another one's key
    const order =
      control === "permuted"
        ? [...randomStream(seed, "permuted keys").permutation(numbers.length)]
        : [...numbers.keys()];
    for (const [place, number] of numbers.entries()) index.add(number, keys[order[place]]);
    const half = Math.ceil(numbers.length / 2);
    const instead = control === "wrong-bank" ? numbers.map((_, i) => (i + half) % numbers.length) : undefined;
    return { index, numbers, documents, instead };
  };

  const current = (): Promise<Held> => {
    const [count, last] = [bank.count(), lastNumber()];
    if (held?.count !== count || held.last !== last) held = { count, last, made: read() };
    return held.made;
  };

  const at = async ({ numbers, documents, made, instead }: Held, places: readonly number[]): Promise<Seen> => {
    const own = places.map((place) => instead?.[place] ?? place);
    const named = places.map((place) => documents[place]);
    if (made)
      return {
        documents: named,
        slots: flat(
          own.map((p) => made.slots.subarray(p * size, (p + 1) * size)),
          size,
        ),
      };
    const entries = await bank.read(own.map((place) => numbers[place]));
    return { documents: named, slots: flat(entries.map(slotsOf), size) };
  };

  return {
    count: () => bank.count(),
    async nearest(key, k) {
      const view = await current();
      const { numbers, scores } = view.index.topK(key, k);
      return { ...(await at(view, placesOf(view.numbers, numbers))), scores };
    },
    async all() {
      const view = await current();
      return (view.all ??= at(view, [...view.numbers.keys()]));
    },
  };
}

/** Rows one after another. */
function flat(parts: readonly Float32Array[], width: number): Float32Array {
  const all = new Float32Array(parts.length * width);
  for (const [i, part] of parts.entries()) all.set(part, i * width);
  return all;
}

/** Where numbers stand in an ascending list. */
function placesOf(ascending: readonly number[], wanted: readonly number[]): number[] {
  return wanted.map((number) => {
    let [low, high] = [0, ascending.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ascending[middle] < number) low = middle + 1;
      else high = middle;
    }
    return low;
  });
}
