/**
 * The bank of a compressed memory: for each document a few packed indices, an id, a time and a retrieval key, in a
 * folder on disk. Entries are appended to a log (record-log.ts) and read by pages; deleting adds a line, and the log is
 * written anew when more of it is dead than alive, after which nothing deleted is left in it. What attention over the
 * whole bank needs, how often each code is in use, is always at hand. One process works on a bank at a time: it holds a lock.
 */
import { copyFile } from "node:fs/promises";
import { isDeepStrictEqual } from "node:util";
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
import { type BankFiles, type BankOptions, type Evict, type Lost, openBankFiles } from "./bank-files.ts";
import {
  codebookBytes,
  logPath,
  type Manifest,
  manifestBytes,
  removeCodebook,
  saveCodebook,
  storedCodebook,
  writeManifest,
} from "./bank-manifest.ts";
import { createTally } from "./bank-tally.ts";
import type { Codebook, Quantizer } from "./codebook.ts";
import { createQuantizer } from "./quantizers.ts";
import { logHeaderBytes, type LogRecord, openRecordLog, recordBytes, writeRecordLog } from "./record-log.ts";

export type { BankEntry, BankOptions, Evict, KeyFormat, Lost };

export interface BankChange {
  /** The entries' numbers, in the order given. They hold until the bank is closed. */
  readonly numbers: readonly number[];
  /** Documents that went because the bank was full. */
  readonly evicted: readonly string[];
}

/** Bits of everything that the bank keeps in its folder, but for the lock. All but the counts add up to `total`. */
export interface BankSize {
  readonly entries: number;
  readonly documents: number;
  readonly indices: number;
  readonly keys: number;
  readonly ids: number;
  readonly times: number;
  /** Lengths, versions, checksums and spare bits of the live entries. */
  readonly frames: number;
  /** Deleted entries and deletions that wait for the log to be written anew. */
  readonly dead: number;
  /** The settings and the head of the log. */
  readonly settings: number;
  /** Each version's file, and how many entries use it. */
  readonly codebooks: readonly { readonly version: number; readonly entries: number; readonly bits: number }[];
  readonly total: number;
}

export interface NumberedEntry extends BankEntry {
  readonly number: number;
}

export interface Bank {
  readonly folder: string;
  readonly module: string;
  readonly keys: KeyFormat;
  /** Live entries. */
  readonly count: () => number;
  documents(): IterableIterator<string>;
  has(document: string): boolean;
  /** What happened that nobody asked for: an unfinished write cut off, a log that could not be written anew. */
  notices(): readonly string[];
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
  /** All live entries in the order in which they came, `size` at a time; writes in between are seen or not. */
  pages(options?: { readonly size?: number }): AsyncGenerator<NumberedEntry[]>;
  /** How often each code of a version is in use, [B, K]: a copy. Empty for full precision. */
  histogram(version: number): Float64Array;
  size(): Promise<BankSize>;
  /** Writes the log anew without what is dead; `recode` may give entries other indices (of another codebook). */
  compact(options?: { readonly recode?: (entry: BankEntry) => Pick<BankEntry, "version" | "indices"> }): Promise<void>;
  close(): Promise<void>;
}

/** Opens a bank, or makes one in a new or empty folder. What a crash left unfinished is cut off. */
export async function openBank(folder: string, options: BankOptions = {}): Promise<Bank> {
  const { files, lost, torn } = await openBankFiles(folder, options, { recover: false });
  const { log } = files;
  if (lost.length > 0) {
    await files.close();
    const [{ at, size, records, document }] = lost;
    throw new UserError(
      `openBank: expected whole entries in ${log.path}, got damage at byte ${at} (${size} bytes, record ${records + 1}` +
        `${document === undefined ? "" : `, which seems to be "${document}"`}` +
        `${lost.length > 1 ? `; ${lost.length - 1} more places` : ""}); recover the bank, which keeps all others`,
    );
  }
  const notice = `openBank: cut off ${torn} bytes of an unfinished write at byte ${log.end()} of ${log.path}`;
  return bankOf(files, options, torn > 0 ? [notice] : []);
}

/**
 * Opens a damaged bank with all that can still be read, and says what cannot. The damaged log stays beside the new one
 * as entries.log.damaged. Where the lost bytes were a deletion, the document is there again: delete it once more.
 */
export async function recoverBank(
  folder: string,
  options: BankOptions = {},
): Promise<{ readonly bank: Bank; readonly lost: readonly Lost[] }> {
  const { files, lost } = await openBankFiles(folder, options, { recover: true });
  const bank = bankOf(files, options, []);
  try {
    if (lost.length > 0) {
      await copyFile(logPath(folder), `${logPath(folder)}.damaged`);
      await bank.compact();
    }
  } catch (error) {
    await files.close();
    throw error;
  }
  return { bank, lost };
}

/** The document that came first. */
const oldest: Evict = ([first]) => first;

function bankOf(files: BankFiles, { limit, durability, slack = 1 << 16 }: BankOptions, notices: string[]): Bank {
  const { folder, index, quantizers } = files;
  const { module, keys } = files.manifest;

  // One after another: a page is not read while the log is written anew
  let last: Promise<unknown> = Promise.resolve();
  const exclusive = <T>(work: () => Promise<T>): Promise<T> => {
    const next = last.then(work);
    last = next.catch(() => undefined);
    return next;
  };

  const quantizerOf = (version: number): Quantizer => {
    const found = quantizers.get(version);
    if (found) return found;
    const known = [...quantizers.keys()].join(", ") || "none";
    throw new UserError(`bank: expected a codebook version of ${folder} (${known}), got ${version}; add it first`);
  };

  const entryOf = ({ body }: LogRecord): BankEntry => {
    const head = readHead(body);
    if (!head)
      throw new UserError(`bank: expected an entry in ${files.log.path}, got something else; recover the bank`);
    return readEntry(body, head, quantizerOf(head.version), keys);
  };
  const bitsOf = (entry: BankEntry, recordBytes: number) =>
    entryBits(entry, quantizerOf(entry.version), keys, recordBytes);

  /** In the order of the numbers. */
  const readNumbers = async (numbers: readonly number[]): Promise<NumberedEntry[]> => {
    const places = numbers.map((number) => {
      const place = index.placeOf(number);
      if (place) return place;
      throw new UserError(`bank.read: expected the number of an entry that is in, got ${number}; ask numbersOf`);
    });
    const records = new Map((await files.log.read(places)).map((record) => [record.at, record]));
    return numbers.map((number, i) => ({ number, ...entryOf(records.get(places[i].at) as LogRecord) }));
  };

  const deadBytes = (): number => files.log.end() - logHeaderBytes - files.tally.bits().all / 8;

  /** Documents that have to go for `more` entries, `leaving` not counted: they go anyway. */
  const victims = (more: number, leaving: ReadonlySet<string>): string[] => {
    if (!limit) return [];
    if (more > limit.entries) {
      throw new UserError(
        `bank.append: expected at most ${limit.entries} entries (the bank's limit), got ${more}; append fewer at once`,
      );
    }
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
    const bodies = [
      ...deletions.map(packDeletion),
      ...additions.map((entry) => packEntry(entry, quantizerOf(entry.version), keys)),
    ];
    const leaving = deletions.flatMap((document) => index.numbersOf(document));
    const gone = await readNumbers(leaving);
    const sizes = leaving.map((number) => index.placeOf(number)?.size ?? 0);
    const places = await files.log.append(bodies);
    for (const [i, entry] of gone.entries())
      files.tally.count(-1, entry.version, entry.indices, bitsOf(entry, sizes[i]));
    for (const document of deletions) index.remove(document);
    const numbers = additions.map((entry, i) => {
      const place = places[deletions.length + i];
      files.tally.count(1, entry.version, entry.indices, bitsOf(entry, place.size));
      return index.add(entry.document, place);
    });
    if (deadBytes() > files.tally.bits().all / 8 + slack) {
      // What was asked for is done; that the log stays long is no reason to say that it failed
      await rewrite().catch((error: unknown) => {
        if (!(error instanceof UserError)) throw error;
        notices.push(error.message);
      });
    }
    return numbers;
  };

  /** Entries of a document side by side, and where each goes back to. */
  const grouped = (entries: readonly BankEntry[]): { sorted: BankEntry[]; order: number[] } => {
    const first = new Map<string, number>();
    for (const [i, { document }] of entries.entries()) if (!first.has(document)) first.set(document, i);
    const order = [...entries.keys()].sort(
      (a, b) => (first.get(entries[a].document) ?? 0) - (first.get(entries[b].document) ?? 0) || a - b,
    );
    return { sorted: order.map((i) => entries[i]), order };
  };

  const add = async (entries: readonly BankEntry[], leaving: ReadonlySet<string>): Promise<BankChange> => {
    const evicted = victims(entries.length, leaving);
    const { sorted, order } = grouped(entries);
    const written = await write([...leaving, ...evicted], sorted);
    const numbers = [...written];
    for (const [i, at] of order.entries()) numbers[at] = written[i];
    return { numbers, evicted };
  };

  const documentsOf = (entries: readonly BankEntry[]): Set<string> => new Set(entries.map(({ document }) => document));
  const isLive = (number: number): boolean => index.placeOf(number) !== undefined;
  const isIn = (document: string): boolean => index.numbersOf(document).length > 0;

  const setManifest = async (manifest: Manifest): Promise<void> => {
    await writeManifest(folder, manifest);
    files.manifest = manifest;
  };
  const seal = (): Manifest => ({
    ...files.manifest,
    sealed: { generation: files.log.generation, bytes: files.log.end() },
  });

  /** Writes all live entries to a new log that takes the old one's place. */
  const rewrite: Bank["compact"] = async ({ recode } = {}) => {
    const { log } = files;
    const tally = createTally();
    for (const [version, quantizer] of quantizers) tally.open(version, quantizer);
    const groups = async function* (): AsyncGenerator<Uint8Array[]> {
      let group: Uint8Array[] = [];
      let document: string | undefined;
      for await (const page of pagesOf(1024, readNumbers)) {
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
    const places = await writeRecordLog(log.path, log.generation + 1, groups());
    // First the old one: nothing may be written to a file that is no longer in the folder
    await log.close();
    files.log = await openRecordLog(log.path, { durability, whole: true });
    files.tally = tally;
    index.move(places);
    await setManifest(seal());
  };

  /** Pages that `read` reads. */
  async function* pagesOf(size: number, read: typeof readNumbers): AsyncGenerator<NumberedEntry[]> {
    for (let next = 0; ; ) {
      const numbers = index.from(next, size);
      if (numbers.length === 0) return;
      next = numbers[numbers.length - 1] + 1;
      yield await read(numbers);
    }
  }

  /** Forgets versions that no entry uses, but for the newest. */
  const dropCodebooks = async (): Promise<void> => {
    const { codebooks } = files.manifest;
    const unused = codebooks.slice(0, -1).filter(({ version }) => files.tally.entries(version) === 0);
    if (unused.length === 0) return;
    await setManifest({ ...files.manifest, codebooks: codebooks.filter((line) => !unused.includes(line)) });
    for (const line of unused) {
      quantizers.delete(line.version);
      await removeCodebook(folder, line);
    }
  };

  return {
    folder,
    module,
    keys,
    count: () => index.count(),
    documents: () => index.documents(),
    has: isIn,
    notices: () => notices,
    versions: () => files.manifest.codebooks.map(({ version }) => version),
    quantizer: quantizerOf,
    numbersOf: (document) => index.numbersOf(document),

    addCodebook: (codebook, { bits = 16 } = {}) =>
      exclusive(async () => {
        createQuantizer(codebook); // refuses what no quantiser can use
        const { codebooks, nextVersion } = files.manifest;
        const stored = storedCodebook(codebook, bits);
        const same = codebooks.find(
          (line) => line.bits === bits && isDeepStrictEqual(quantizerOf(line.version).codebook, stored),
        );
        if (same) return same.version;
        const quantizer = createQuantizer(stored);
        const line = await saveCodebook(folder, nextVersion, stored, bits);
        await setManifest({ ...files.manifest, nextVersion: nextVersion + 1, codebooks: [...codebooks, line] });
        quantizers.set(nextVersion, quantizer);
        files.tally.open(nextVersion, quantizer);
        return nextVersion;
      }),

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

    read: (numbers) => exclusive(() => readNumbers(numbers)),
    pages: ({ size = 1024 } = {}) => pagesOf(size, (numbers) => exclusive(() => readNumbers(numbers.filter(isLive)))),
    histogram: (version) => {
      quantizerOf(version);
      return Float64Array.from(files.tally.histogram(version));
    },

    size: () =>
      exclusive(async () => {
        const { all, ...parts } = files.tally.bits();
        const codebooks = await Promise.all(
          files.manifest.codebooks.map(async (line) => ({
            version: line.version,
            entries: files.tally.entries(line.version),
            bits: 8 * (await codebookBytes(folder, line)),
          })),
        );
        const settings = 8 * (logHeaderBytes + manifestBytes(files.manifest));
        const dead = 8 * deadBytes();
        return {
          entries: index.count(),
          documents: [...index.documents()].length,
          ...parts,
          frames: all - parts.indices - parts.keys - parts.ids - parts.times,
          dead,
          settings,
          codebooks,
          total: all + dead + settings + codebooks.reduce((sum, { bits }) => sum + bits, 0),
        };
      }),

    compact: (options) =>
      exclusive(async () => {
        await rewrite(options);
        await dropCodebooks();
      }),

    close: () =>
      exclusive(async () => {
        try {
          await files.log.sync();
          if (!isDeepStrictEqual(seal(), files.manifest)) await setManifest(seal());
        } finally {
          await files.close();
        }
      }),
  };
}
