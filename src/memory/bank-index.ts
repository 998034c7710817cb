/** Which entries of a bank are live, where they lie in the log, and which belong to a document. */
import type { Place } from "./record-log.ts";

/** A moment of a bank, for who has read it and wants to know what is new. */
export interface BankMark {
  /** Another one where entries of old numbers have come to mean something else. */
  readonly era: symbol;
  /** The number that the next entry gets. */
  readonly next: number;
  /** Entries that have gone so far. */
  readonly gone: number;
}

export interface BankIndex {
  /** Live entries. */
  readonly count: () => number;
  /** Documents that have some. */
  readonly documentCount: () => number;
  mark(): BankMark;
  /** Numbers of the entries that have gone since; undefined where the mark is of another era. */
  goneSince(mark: BankMark): readonly number[] | undefined;
  /** Old numbers mean something else from here on. */
  beginEra(): void;
  /** Documents in the order in which they came; a replaced one is new. */
  documents(): IterableIterator<string>;
  /** The numbers of a document's entries, ascending; none where it is not in. */
  numbersOf(document: string): readonly number[];
  /** Where an entry lies; undefined where it is not live. */
  placeOf(number: number): Place | undefined;
  /** Adds an entry and gives its number: they ascend and are not used twice while the bank is open. */
  add(document: string, place: Place): number;
  /** Takes a document's entries out, and says where they lie. */
  remove(document: string): Place[];
  /** Up to `most` live numbers from a number on. */
  from(number: number, most: number): number[];
  /** New places of all live entries, in the order of their numbers. */
  move(places: readonly Place[]): void;
}

export function createBankIndex(): BankIndex {
  // Two plain arrays of numbers: a million small objects would cost ten times as much
  const starts: number[] = [];
  const sizes: number[] = [];
  const documents = new Map<string, number[]>();
  let live = 0;
  const gone = -1;
  let era = Symbol("era");
  const left: number[] = [];
  const placeOf = (number: number): Place | undefined =>
    (starts[number] ?? gone) === gone ? undefined : { at: starts[number], size: sizes[number] };
  return {
    count: () => live,
    documentCount: () => documents.size,
    mark: () => ({ era, next: starts.length, gone: left.length }),
    goneSince: (mark) => (mark.era === era ? left.slice(mark.gone) : undefined),
    beginEra() {
      era = Symbol("era");
    },
    documents: () => documents.keys(),
    numbersOf: (document) => documents.get(document) ?? [],
    placeOf,
    add(document, { at, size }) {
      const number = starts.push(at) - 1;
      sizes.push(size);
      live++;
      const before = documents.get(document);
      if (before) before.push(number);
      else documents.set(document, [number]);
      return number;
    },
    remove(document) {
      const places = (documents.get(document) ?? []).map((number) => {
        const place = { at: starts[number], size: sizes[number] };
        starts[number] = gone;
        left.push(number);
        live--;
        return place;
      });
      documents.delete(document);
      return places;
    },
    from(number, most) {
      const found: number[] = [];
      for (let n = number; n < starts.length && found.length < most; n++) if (starts[n] !== gone) found.push(n);
      return found;
    },
    move(places) {
      let next = 0;
      for (let n = 0; n < starts.length; n++) {
        if (starts[n] === gone) continue;
        ({ at: starts[n], size: sizes[n] } = places[next++]);
      }
    },
  };
}
