/**
 * A memory folder of documents: the ledger, which is the truth and has the history, and beside it the bank (folder
 * `bank`), which is what questions read. One process works on it at a time: the bank's lock is taken first.
 *
 * The order of every change: the bank, then one transaction of the ledger, then it is acknowledged. Where the ledger
 * fails, the bank is put right at once; where the process dies between the two, at the next opening (document-bank.ts).
 */
import { createHash } from "node:crypto";
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { isFolder, oneLine } from "../checkpoint/files.ts";
import { isLocked } from "../checkpoint/lock.ts";
import { UserError } from "../errors.ts";
import {
  type Bank,
  type BankEntry,
  type BankOptions,
  type KeyFormat,
  type Lost,
  openBank,
  recoverBank,
} from "../memory/bank.ts";
import { lockPath } from "../memory/bank-manifest.ts";
import {
  alignCodebooks,
  type Difference,
  differenceOf,
  entriesFor,
  putRight,
  recoverCommand,
} from "./document-bank.ts";
import { packEntries } from "./document-pack.ts";
import { type Fact, tidy, type WriteReceipt } from "./ledger-fact.ts";
import {
  carryOut,
  type Changed,
  forgottenWhole,
  type Moment,
  type Plan,
  planForget,
  planRevert,
  planRevertTo,
  steps,
} from "./ledger-plans.ts";
import type { CodebookRow } from "./ledger-rows.ts";
import { verifyHistory } from "./ledger-verify.ts";
import { type Ledger, type LedgerOptions, openLedger } from "./ledger.ts";

/** What a bank must be opened with. */
export interface BankSettings {
  readonly module: string;
  readonly keys: KeyFormat;
}

export interface StoreOptions extends LedgerOptions {
  /** Of a memory that may have to be made; without it the memory must be there. */
  readonly bank?: BankSettings;
  /** Open a damaged bank all the same, and put back from the ledger what it has lost. */
  readonly recover?: boolean;
}

/** A document as it is to be written. */
export interface NewDocument {
  readonly id: string;
  readonly text: string;
  readonly time?: number;
  readonly source: string;
  readonly entries: readonly BankEntry[];
  readonly tokens: number;
  readonly receipt?: WriteReceipt;
}

export interface Kept {
  readonly id: string;
  readonly fact: number;
  /** "duplicate": the document is in with the same text, this is its id, and nothing was written. */
  readonly outcome: "written" | "superseding" | "duplicate";
  /** The document of the same id whose place it took. */
  readonly supersedes?: Fact;
  /** The oldest documents, which went to make room for it. */
  readonly evicted?: readonly Evicted[];
}

/** A document that had to go: the ledger keeps it, with its ids there and as it was learned. */
export interface Evicted {
  readonly id: string;
  readonly document: string;
}

/** What recovering found and did. */
export interface Recovery extends Difference {
  /** Damaged stretches of the bank's log. */
  readonly lost: readonly Lost[];
  /** Why the bank could not be read at all and was made anew; the old one is beside it as `bank.damaged`. */
  readonly anew?: string;
}

export interface DocumentStore {
  readonly ledger: Ledger;
  readonly bank: Bank;
  /** Set when it was opened with `recover`. */
  readonly recovery?: Recovery;
  /** What happened that nobody asked for: a write that a crash broke off, taken back; documents that were put back. */
  notices(): readonly string[];
  /** Entries that the memory keeps at most; undefined for any number. */
  limit(): number | undefined;
  /** From here on; what is too much goes with the next document that comes. */
  setLimit(entries: number): void;
  /** The live document of this id, if its text is this one. */
  same(document: Pick<NewDocument, "id" | "text">): Fact | undefined;
  /** Writes documents, all or none. One whose id is in with another text takes its place. */
  put(documents: readonly NewDocument[]): Promise<Kept[]>;
  /**
   * Documents by their ids in the ledger, or their beginnings, with all earlier texts of theirs. All or none, as the
   * next two.
   */
  forget(...ids: readonly string[]): Promise<Changed[]>;
  revert(id: string): Promise<Changed[]>;
  revertTo(moment: Moment): Promise<Changed[]>;
  /** Checks the history, which throws where it is damaged, and the bank against it; a bank that differs is put right. */
  verify(): Promise<{ readonly events: number; readonly facts: number; readonly equal: boolean }>;
  close(): Promise<void>;
}

const settingsSchema = z.object({
  module: z.string(),
  keys: z.object({ width: z.number(), bits: z.union([z.literal(8), z.literal(16), z.literal(32)]) }),
});

const openingCharacters = 120;
const sha256Of = (text: string): string => createHash("sha256").update(text).digest("hex");

/** The first words of a text on one line. */
const openingOf = (text: string): string => oneLine(tidy(text.slice(0, 4 * openingCharacters)), openingCharacters);

/** The settings that the memory was made with; put down where it is being made. */
function settingsOf(ledger: Ledger, given: BankSettings | undefined): BankSettings {
  const noted = settingsSchema.safeParse(ledger.note("bank")).data;
  if (!noted && !given) {
    throw new UserError(
      `memory: expected a memory of documents in ${ledger.folder}, got one without a bank; learn a document first`,
    );
  }
  if (!noted && given) ledger.putNote("bank", given);
  const settings = noted ?? (given as BankSettings);
  if (given && !isDeepStrictEqual(given, settings)) {
    const text = ({ module, keys }: BankSettings): string =>
      `module "${oneLine(module, 20)}" with keys of ${keys.width} numbers of ${keys.bits} bits`;
    throw new UserError(
      `memory: expected a bank of ${text(given)} in ${ledger.folder}, got one of ${text(settings)}; use the module it ` +
        "was made with, or another memory",
    );
  }
  return settings;
}

/** Opens the bank, damaged as it may be; one that is of no use is moved away. */
async function recovered(
  ledger: Ledger,
  folder: string,
  options: BankOptions,
): Promise<{ bank: Bank; lost: readonly Lost[]; anew?: string }> {
  // A bank in use is not damaged, and must not be moved away
  if (await isLocked(lockPath(folder))) return { bank: await openBank(folder, options), lost: [] };
  try {
    const found = await recoverBank(folder, options);
    await alignCodebooks(ledger, found.bank).catch(async (error: unknown) => {
      await found.bank.close();
      throw error;
    });
    return found;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    let aside = `${folder}.damaged`;
    for (let n = 2; await isFolder(aside); n++) aside = `${folder}.damaged-${n}`;
    await rename(folder, aside);
    // Without the way out, which has just been taken
    const [anew] = error.message.split("; ");
    return { bank: await openBank(folder, options), lost: [], anew };
  }
}

/** Opens a memory folder of documents, or makes it where identity and bank are given. */
export async function openDocumentStore(path: string, options: StoreOptions = {}): Promise<DocumentStore> {
  const { recover = false, durability } = options;
  const ledger = openLedger(path, options);
  let bank: Bank | undefined;
  try {
    const place = join(ledger.folder, "bank");
    const settings = { ...settingsOf(ledger, options.bank), durability };
    if (recover) {
      const found = await recovered(ledger, place, settings);
      ({ bank } = found);
      return await storeOf(ledger, bank, found);
    }
    bank = await openBank(place, settings).catch((error: unknown) => {
      // In use, or a disk that is full or closed: nothing to recover
      if (!(error instanceof UserError) || /^(acquireLock|save):/.test(error.message)) throw error;
      throw new UserError(`${error.message}, or run \`${recoverCommand(path)}\`, which mends it from the ledger`);
    });
    return await storeOf(ledger, bank);
  } catch (error) {
    await bank?.close();
    ledger.close();
    throw error;
  }
}

const listed = (documents: readonly string[]): string =>
  `${documents
    .slice(0, 3)
    .map((document) => JSON.stringify(document))
    .join(", ")}${documents.length > 3 ? ` and ${documents.length - 3} more` : ""}`;

async function storeOf(
  ledger: Ledger,
  bank: Bank,
  found?: { readonly lost: readonly Lost[]; readonly anew?: string },
): Promise<DocumentStore> {
  const { rows, clock, db } = ledger;
  const notices = [...bank.notices()];
  /** Set while the bank may differ from the ledger. */
  let adrift = true;

  /** Versions that are in both. */
  let aligned: string | undefined;
  const newCodebooks = async (): Promise<readonly CodebookRow[]> =>
    bank.versions().join() === aligned ? [] : alignCodebooks(ledger, bank);

  const rights = async (): Promise<Difference> => {
    const fresh = await newCodebooks();
    if (fresh.length > 0) db.together(() => fresh.forEach(rows.putCodebook));
    aligned = bank.versions().join();
    const difference = await differenceOf(ledger, bank);
    const { missing, extra } = difference;
    await putRight(ledger, bank, [...extra, ...missing]);
    adrift = false;
    if (extra.length > 0) notices.push(`took out of the bank what was never acknowledged: ${listed(extra)}`);
    if (missing.length > 0) notices.push(`put back into the bank from the ledger: ${listed(missing)}`);
    return difference;
  };
  const difference = await rights();

  // One after another: between a look at the ledger and the write nothing else happens
  let last: Promise<unknown> = Promise.resolve();
  const exclusive = <T>(work: () => Promise<T>): Promise<T> => {
    const next = last.then(async () => {
      if (adrift) await rights();
      return work();
    });
    last = next.catch(() => undefined);
    return next;
  };

  /** Changes the bank, then the ledger; where one fails, both are as before. */
  const change = async <T>(toBank: () => Promise<unknown>, toLedger: () => T): Promise<T> => {
    ledger.requirePresent();
    adrift = true;
    try {
      await toBank();
      const fresh = await newCodebooks();
      const result = db.together(() => {
        ledger.requirePresent();
        fresh.forEach(rows.putCodebook);
        return toLedger();
      });
      aligned = bank.versions().join();
      adrift = false;
      return result;
    } catch (error) {
      // If even that fails, the next change or the next opening does it
      await rights().catch(() => undefined);
      throw error;
    }
  };

  const entriesOf = entriesFor(ledger, bank);
  let limit = z.int().positive().safeParse(ledger.note("limit")).data;
  const countOf = (documents: readonly string[]): number =>
    documents.reduce((sum, document) => sum + bank.numbersOf(document).length, 0);

  const carry = (plan: () => Plan): Promise<Changed[]> =>
    exclusive(async () => {
      const planned = steps(rows, plan());
      const named = (list: typeof planned.all): string[] =>
        list.flatMap(({ number }) => rows.byNumber(number)?.prompt ?? []);
      const come = new Set(named(planned.come));
      // What comes back takes the place of what has its id
      const gone = named(planned.gone).filter((document) => !come.has(document));
      const entries = planned.come.flatMap(({ number }) => entriesOf(rows.placed(number).value));
      const after = bank.count() - countOf([...gone, ...come]) + entries.length;
      if (limit !== undefined && entries.length > 0 && after > limit) {
        throw new UserError(
          `revert: expected at most ${limit} entries, which the memory is limited to, got ${after}; forget something ` +
            "first, or learn with a larger limit",
        );
      }
      return change(
        async () => {
          if (entries.length > 0) await bank.replace(entries);
          if (gone.length > 0) await bank.delete(...gone);
        },
        () => carryOut(rows, rows.deed(clock), planned),
      );
    });

  const same: DocumentStore["same"] = ({ id, text }) => {
    const old = rows.liveAbout(id);
    return old?.document?.sha256 === sha256Of(text) ? old : undefined;
  };

  /** For each document the oldest others that go to make room for it. */
  const evictionsFor = (documents: readonly NewDocument[]): Fact[][] => {
    const staying = new Set(documents.map(({ id }) => id));
    let count = bank.count();
    if (limit === undefined || count + documents.reduce((sum, { entries }) => sum + entries.length, 0) <= limit) {
      return documents.map(() => []);
    }
    const oldest = rows.live();
    return documents.map(({ id, entries }) => {
      count += entries.length - bank.numbersOf(id).length;
      const gone: Fact[] = [];
      while (limit !== undefined && count > limit && oldest.length > 0) {
        const fact = rows.byNumber(oldest.shift() as number);
        if (!fact || staying.has(fact.prompt)) continue;
        count -= bank.numbersOf(fact.prompt).length;
        gone.push(fact);
      }
      return gone;
    });
  };

  const put = async (documents: readonly NewDocument[]): Promise<Kept[]> => {
    const fresh = documents.filter((document) => !same(document));
    const evictions = evictionsFor(fresh);
    const evicted = evictions.flat();
    const first = rows.nextNumber();
    const write = (): Kept[] => {
      const deed = rows.deed(clock);
      for (const { fact } of evicted) {
        for (const [number, standing] of forgottenWhole(rows, fact)) {
          deed.append("evict", number, { ...standing, placement: rows.standing(number).placement });
        }
      }
      const olds = fresh.map(({ id }) => rows.liveAbout(id));
      olds.forEach((old, i) => {
        if (!old) return;
        deed.append("supersede", old.fact, { status: "superseded", successor: first + i, placement: old.placement });
      });
      return fresh.map(({ id: prompt, text, time, source, entries, tokens, receipt }, i): Kept => {
        const gone = evictions[i].map((one): Evicted => ({ id: one.id, document: one.prompt }));
        const fact = {
          prompt,
          target: openingOf(text),
          source,
          subject: prompt,
          document: {
            sha256: sha256Of(text),
            bytes: Buffer.byteLength(text),
            tokens,
            chunks: entries.length,
            ...(time !== undefined && { time }),
          },
          key: new Uint8Array(),
          value: packEntries(entries, bank),
          receipt: gone.length === 0 ? receipt : { ...receipt, evicted: gone.map(({ document }) => document) },
        };
        const id = deed.add(first + i, fact, 1);
        const old = olds[i];
        const supersedes = old && { ...old, status: "superseded" as const, supersededBy: id };
        const place = { id, fact: first + i, ...(gone.length > 0 && { evicted: gone }) };
        return supersedes ? { ...place, outcome: "superseding", supersedes } : { ...place, outcome: "written" };
      });
    };
    const toBank = async (): Promise<void> => {
      if (evicted.length > 0) await bank.delete(...evicted.map(({ prompt }) => prompt));
      await bank.replace(fresh.flatMap(({ entries }) => entries));
    };
    const written = fresh.length === 0 ? [] : await change(toBank, write);
    const places = new Map(fresh.map((document, i) => [document, written[i]]));
    return documents.map((document) => {
      const { id, fact } = rows.liveAbout(document.id) as Fact;
      return places.get(document) ?? { id, fact, outcome: "duplicate" };
    });
  };

  return {
    ledger,
    bank,
    ...(found && { recovery: { ...found, ...difference } }),
    notices: () => notices,
    same,
    put: (documents) => exclusive(() => put(documents)),
    limit: () => limit,
    setLimit(entries) {
      if (!Number.isSafeInteger(entries) || entries < 1) {
        throw new UserError(`memory: expected a limit of 1 entry or more, got ${entries}; leave it out for none`);
      }
      if (entries !== limit) ledger.putNote("limit", entries);
      limit = entries;
    },
    forget: (...ids) => carry(() => planForget(ledger, ids, { whole: true })),
    revert: (id) => carry(() => planRevert(ledger, id)),
    revertTo: (moment) => carry(() => planRevertTo(ledger, moment)),
    verify: () =>
      exclusive(async () => {
        db.atOnce(() => verifyHistory(ledger, "verify"));
        const { missing, extra } = await rights();
        return { events: rows.head().seq, facts: rows.live().length, equal: missing.length + extra.length === 0 };
      }),
    async close() {
      await last;
      try {
        await bank.close();
      } finally {
        ledger.close();
      }
    },
  };
}
