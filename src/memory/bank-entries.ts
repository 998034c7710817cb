/**
 * The entries of a bank, wherever their records lie: which documents are in, what goes when the bank is full, pages,
 * counts, and writing the records anew without what is dead. The bank on disk (bank.ts) and the bank in RAM
 * (memory-bank.ts) are this one over records of their own, so that they answer alike.
 */
import { UserError } from "../errors.ts";
import {
  type BankEntry,
  entryBits,
  type KeyFormat,
  packDeletion,
  packEntry,
  readEntry,
  readHead,
} from "./bank-entry.ts";
import type { BankIndex, BankMark } from "./bank-index.ts";
import { type BankTally, createTally, type HistogramOptions } from "./bank-tally.ts";
import type { Codebook, Quantizer } from "./codebook.ts";
import { type LogRecord, type Place, recordBytes } from "./record-log.ts";

/** Chooses the document that goes, among those that may, in the order in which they came. */
export type Evict = (documents: Iterable<string>) => string;

/** Entries that a bank keeps at most, and which document goes first: the oldest by default. */
export interface BankLimit {
  readonly entries: number;
  readonly evict?: Evict;
}

export interface BankChange {
  /** The entries' numbers, in the order given. They hold until the bank is closed. */
  readonly numbers: readonly number[];
  /** Documents that went because the bank was full. */
  readonly evicted: readonly string[];
}

export interface NumberedEntry extends BankEntry {
  readonly number: number;
}

/** Bits of everything that a bank keeps. All but the counts of entries and documents add up to `total`. */
export interface BankSize {
  readonly entries: number;
  readonly documents: number;
  readonly indices: number;
  readonly keys: number;
  readonly ids: number;
  readonly times: number;
  /** Lengths, versions, checksums and spare bits of the live entries. */
  readonly frames: number;
  /** Deleted entries and deletions that wait for the records to be written anew. */
  readonly dead: number;
  /** The settings, and of a bank on disk the head of the log. */
  readonly settings: number;
  /** Each version's numbers (on disk its file), and how many entries use it. */
  readonly codebooks: readonly { readonly version: number; readonly entries: number; readonly bits: number }[];
  readonly total: number;
}

export interface CompactOptions {
  /** Other indices for an entry, of another codebook. */
  readonly recode?: (entry: BankEntry) => Pick<BankEntry, "version" | "indices">;
}

/** What every bank can do. */
export interface BankEntries {
  readonly module: string;
  readonly keys: KeyFormat;
  /** Live entries. */
  readonly count: () => number;
  readonly documentCount: () => number;
  /** Where the bank stands: who has read it up to here needs only what came after, and `goneSince`. */
  mark(): BankMark;
  /** Numbers of the entries that have gone since; undefined where all has to be read again. */
  goneSince(mark: BankMark): readonly number[] | undefined;
  documents(): IterableIterator<string>;
  has(document: string): boolean;
  /** Adds a codebook, rounded to float16 unless told otherwise, and gives its version; the same one gives the same. */
  addCodebook(codebook: Codebook, options?: { readonly bits?: 16 | 32 }): Promise<number>;
  /** Versions there are, ascending. */
  versions(): number[];
  /** The quantiser of a version, with the numbers as they are stored: encode with this one. */
  quantizer(version: number): Quantizer;
  /** Adds entries, all or none. Those of one document come together, and the document is not in yet. */
  append(entries: readonly BankEntry[]): Promise<BankChange>;
  /** The same for documents that may be in: their old entries go in the same write. */
  replace(entries: readonly BankEntry[]): Promise<BankChange>;
  /** Takes documents out, all or none. */
  delete(...documents: readonly string[]): Promise<void>;
  /** The numbers of a document's entries; none where it is not in. */
  numbersOf(document: string): readonly number[];
  /** Entries by their numbers. */
  read(numbers: readonly number[]): Promise<NumberedEntry[]>;
  /** Live entries from a number on in the order in which they came, `size` at a time; writes in between are seen or not. */
  pages(options?: { readonly size?: number; readonly from?: number }): AsyncGenerator<NumberedEntry[]>;
  /**
   * How often each code of a version is in use, [B, K]; `byPosition`: at each position of an entry, [positions, K]. A
   * copy. Empty for full precision.
   */
  histogram(version: number, options?: HistogramOptions): Float64Array;
  size(): Promise<BankSize>;
  /** Writes the records anew without what is dead, and drops codebooks that no entry uses but for the newest. */
  compact(options?: CompactOptions): Promise<void>;
}

/** What is known of the entries without reading them. */
export interface BankContents {
  index: BankIndex;
  tally: BankTally;
  quantizers: Map<number, Quantizer>;
}

/** Where the records lie. */
export interface BankRecords {
  /** In messages. */
  readonly name: string;
  /** Bytes of all records, dead ones too. */
  bytes(): number;
  /** Adds deletions and then entries, all or none, and gives the places of the entries. */
  append(deletions: readonly Uint8Array[], entries: readonly Uint8Array[]): Promise<Place[]>;
  /** Records by their places, in any order. */
  read(places: readonly Place[]): Promise<readonly Pick<LogRecord, "at" | "body">[]>;
  /** Puts these in place of all records. */
  renew(groups: AsyncIterable<readonly Uint8Array[]>): Promise<Place[]>;
  /** Called once the bank reads from the new places. */
  renewed?(): Promise<void>;
}

export interface EntriesOptions {
  readonly module: string;
  readonly keys: KeyFormat;
  /** The bank in messages. */
  readonly name: string;
  readonly contents: BankContents;
  readonly records: BankRecords;
  readonly limit?: BankLimit;
  /** Dead bytes beyond the live ones from which on the records are written anew. */
  readonly slack?: number;
  /** Takes what happened that nobody asked for. */
  readonly notices: string[];
}

/** What the two banks are made of. */
export interface BankCore extends Omit<BankEntries, "addCodebook" | "versions" | "size" | "compact"> {
  /** One after another: a page is not read while the records are written anew. */
  exclusive<T>(work: () => Promise<T>): Promise<T>;
  /** Within `exclusive`. */
  readLive(numbers: readonly number[]): Promise<NumberedEntry[]>;
  /** Within `exclusive`; codebooks stay. */
  rewrite(options?: CompactOptions): Promise<void>;
  /** Versions that no entry uses, but for the newest. */
  unused(): number[];
  /** Bits of settings and codebooks make the size whole. */
  size(settings: number, codebooks: readonly { readonly version: number; readonly bits: number }[]): BankSize;
}

const none = new Uint32Array();

/** Counts a record's entry in or out while a bank is opened; `name` is where its records lie. */
export function countRecord(
  { tally, quantizers }: BankContents,
  keys: KeyFormat,
  { body, at, size }: Pick<LogRecord, "body" | "at" | "size">,
  sign: 1 | -1,
  { who, name }: { readonly who: string; readonly name: string },
): void {
  const head = readHead(body);
  const quantizer = head && quantizers.get(head.version);
  if (!head || !quantizer) {
    throw new UserError(
      `${who}: expected an entry of codebook ${[...quantizers.keys()].join(" or ") || "none"} at byte ${at} of ${name}, ` +
        `got ${head ? `codebook ${head.version}` : "something else"}; put the bank's own files back`,
    );
  }
  const { indices } = quantizer.bins > 0 ? readEntry(body, head, quantizer, keys) : { indices: none };
  tally.count(sign, head.version, indices, entryBits(head, quantizer, keys, size));
}

export function checkLimit(who: string, limit: BankLimit | undefined): void {
  if (!limit || (Number.isInteger(limit.entries) && limit.entries >= 1)) return;
  throw new UserError(`${who}: expected a limit of 1 entry or more, got ${limit.entries}; leave it out for none`);
}

/** The document that came first. */
const oldest: Evict = ([first]) => first;

/** Entries of a document side by side, and where each goes back to. */
function grouped(entries: readonly BankEntry[]): { sorted: BankEntry[]; order: number[] } {
  const first = new Map<string, number>();
  for (const [i, { document }] of entries.entries()) if (!first.has(document)) first.set(document, i);
  const order = [...entries.keys()].sort(
    (a, b) => (first.get(entries[a].document) ?? 0) - (first.get(entries[b].document) ?? 0) || a - b,
  );
  return { sorted: order.map((i) => entries[i]), order };
}

const documentsOf = (entries: readonly BankEntry[]): Set<string> => new Set(entries.map(({ document }) => document));

export function createBankEntries(options: EntriesOptions): BankCore {
  const { module, keys, name, contents, records, limit, slack = 1 << 16, notices } = options;

  let last: Promise<unknown> = Promise.resolve();
  const exclusive = <T>(work: () => Promise<T>): Promise<T> => {
    const next = last.then(work);
    last = next.catch(() => undefined);
    return next;
  };

  const quantizerOf = (version: number): Quantizer => {
    const found = contents.quantizers.get(version);
    if (found) return found;
    const known = [...contents.quantizers.keys()].join(", ") || "none";
    throw new UserError(`bank: expected a codebook version of ${name} (${known}), got ${version}; add it first`);
  };

  const entryOf = (body: Uint8Array): BankEntry => {
    const head = readHead(body);
    if (!head) {
      throw new UserError(`bank: expected an entry in ${records.name}, got something else; recover the bank`);
    }
    return readEntry(body, head, quantizerOf(head.version), keys);
  };
  const bitsOf = (entry: BankEntry, recordBytes: number) =>
    entryBits(entry, quantizerOf(entry.version), keys, recordBytes);

  const isLive = (number: number): boolean => contents.index.placeOf(number) !== undefined;
  const isIn = (document: string): boolean => contents.index.numbersOf(document).length > 0;

  /** In the order of the numbers. */
  const readLive = async (numbers: readonly number[]): Promise<NumberedEntry[]> => {
    const places = numbers.map((number) => {
      const place = contents.index.placeOf(number);
      if (place) return place;
      throw new UserError(`bank.read: expected the number of an entry that is in, got ${number}; ask numbersOf`);
    });
    const bodies = new Map((await records.read(places)).map(({ at, body }) => [at, body]));
    return numbers.map((number, i) => ({ number, ...entryOf(bodies.get(places[i].at) as Uint8Array) }));
  };

  const deadBytes = (): number => records.bytes() - contents.tally.bits().all / 8;

  /** Documents that have to go for `more` entries, `leaving` not counted: they go anyway. */
  const victims = (more: number, leaving: ReadonlySet<string>): string[] => {
    if (!limit) return [];
    if (more > limit.entries) {
      throw new UserError(
        `bank.append: expected at most ${limit.entries} entries (the bank's limit), got ${more}; append fewer at once`,
      );
    }
    const { index } = contents;
    const chosen = new Set(leaving);
    let left = index.count() + more;
    for (const document of leaving) left -= index.numbersOf(document).length;
    const evicted: string[] = [];
    const candidates = function* (): Generator<string> {
      for (const document of index.documents()) if (!chosen.has(document)) yield document;
    };
    while (left > limit.entries) {
      const document = (limit.evict ?? oldest)(candidates());
      if (chosen.has(document) || index.numbersOf(document).length === 0) {
        throw new UserError(`bank.append: expected \`evict\` to choose a document of the bank, got "${document}"`);
      }
      chosen.add(document);
      evicted.push(document);
      left -= index.numbersOf(document).length;
    }
    return evicted;
  };

  /** Deletions and additions in one write; nothing changes unless it succeeds. */
  const write = async (deletions: readonly string[], additions: readonly BankEntry[]): Promise<number[]> => {
    const { index, tally } = contents;
    const bodies = additions.map((entry) => packEntry(entry, quantizerOf(entry.version), keys));
    const leaving = deletions.flatMap((document) => index.numbersOf(document));
    const gone = await readLive(leaving);
    const sizes = leaving.map((number) => index.placeOf(number)?.size ?? 0);
    const places = await records.append(deletions.map(packDeletion), bodies);
    for (const [i, entry] of gone.entries()) tally.count(-1, entry.version, entry.indices, bitsOf(entry, sizes[i]));
    for (const document of deletions) index.remove(document);
    const numbers = additions.map((entry, i) => {
      tally.count(1, entry.version, entry.indices, bitsOf(entry, places[i].size));
      return index.add(entry.document, places[i]);
    });
    if (deadBytes() > tally.bits().all / 8 + slack) {
      // What was asked for is done; that the records stay many is no reason to say that it failed
      await rewrite().catch((error: unknown) => {
        if (!(error instanceof UserError)) throw error;
        notices.push(error.message);
      });
    }
    return numbers;
  };

  const add = async (entries: readonly BankEntry[], leaving: ReadonlySet<string>): Promise<BankChange> => {
    const evicted = victims(entries.length, leaving);
    const { sorted, order } = grouped(entries);
    const written = await write([...leaving, ...evicted], sorted);
    const numbers = [...written];
    for (const [i, at] of order.entries()) numbers[at] = written[i];
    return { numbers, evicted };
  };

  /** Pages that `read` reads. */
  async function* pagesOf(size: number, read: typeof readLive, from = 0): AsyncGenerator<NumberedEntry[]> {
    for (let next = from; ; ) {
      const numbers = contents.index.from(next, size);
      if (numbers.length === 0) return;
      next = numbers[numbers.length - 1] + 1;
      yield await read(numbers);
    }
  }

  /** Writes all live entries to new records that take the old ones' place. */
  const rewrite: BankCore["rewrite"] = async ({ recode } = {}) => {
    const tally = createTally();
    for (const [version, quantizer] of contents.quantizers) tally.open(version, quantizer);
    const groups = async function* (): AsyncGenerator<Uint8Array[]> {
      let group: Uint8Array[] = [];
      let document: string | undefined;
      for await (const page of pagesOf(1024, readLive)) {
        for (const { number: _, ...old } of page) {
          const entry = recode ? { ...old, ...recode(old) } : old;
          const body = packEntry(entry, quantizerOf(entry.version), keys);
          tally.count(1, entry.version, entry.indices, bitsOf(entry, recordBytes(body.length)));
          if (entry.document !== document && group.length > 0) yield group.splice(0);
          document = entry.document;
          group.push(body);
        }
      }
      if (group.length > 0) yield group;
    };
    const places = await records.renew(groups());
    contents.tally = tally;
    contents.index.move(places);
    if (recode) contents.index.beginEra();
    await records.renewed?.();
  };

  return {
    module,
    keys,
    exclusive,
    readLive,
    rewrite,
    unused: () =>
      [...contents.quantizers.keys()].slice(0, -1).filter((version) => contents.tally.entries(version) === 0),
    count: () => contents.index.count(),
    documentCount: () => contents.index.documentCount(),
    mark: () => contents.index.mark(),
    goneSince: (mark) => contents.index.goneSince(mark),
    documents: () => contents.index.documents(),
    has: isIn,
    quantizer: quantizerOf,
    numbersOf: (document) => contents.index.numbersOf(document),

    append: (entries) =>
      exclusive(async () => {
        for (const document of documentsOf(entries)) {
          if (!isIn(document)) continue;
          throw new UserError(
            `bank.append: expected documents that are not in, got "${document}" again; replace it, or give it another id`,
          );
        }
        return add(entries, new Set());
      }),

    replace: (entries) => exclusive(() => add(entries, new Set([...documentsOf(entries)].filter(isIn)))),

    delete: (...documents) =>
      exclusive(async () => {
        for (const document of documents) {
          if (isIn(document)) continue;
          throw new UserError(`bank.delete: expected a document that is in, got "${document}"; look it up`);
        }
        await write([...new Set(documents)], []);
      }),

    read: (numbers) => exclusive(() => readLive(numbers)),
    pages: ({ size = 1024, from } = {}) =>
      pagesOf(size, (numbers) => exclusive(() => readLive(numbers.filter(isLive))), from),
    histogram: (version, options) => {
      quantizerOf(version);
      return contents.tally.histogram(version, options);
    },

    size(settings, codebooks) {
      const { all, ...parts } = contents.tally.bits();
      const dead = 8 * deadBytes();
      return {
        entries: contents.index.count(),
        documents: contents.index.documentCount(),
        ...parts,
        frames: all - parts.indices - parts.keys - parts.ids - parts.times,
        dead,
        settings,
        codebooks: codebooks.map(({ version, bits }) => ({ version, entries: contents.tally.entries(version), bits })),
        total: all + dead + settings + codebooks.reduce((sum, { bits }) => sum + bits, 0),
      };
    },
  };
}
