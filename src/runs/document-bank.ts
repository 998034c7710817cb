/**
 * Makes the bank of a memory folder hold what its ledger says, and nothing else. A document goes into the bank first
 * and into the ledger after it, which is when it counts: what a crash left between the two is taken out of the bank
 * again, and what the bank has lost is put back, since the ledger has every entry as bytes.
 */
import { isDeepStrictEqual } from "node:util";
import { UserError } from "../errors.ts";
import type { Bank, BankEntry } from "../memory/bank.ts";
import { recoded } from "../memory/bank-entry.ts";
import type { Quantizer } from "../memory/codebook.ts";
import { createQuantizer } from "../memory/quantizers.ts";
import { packCodebook, packEntries, unpackCodebook, unpackEntries } from "./document-pack.ts";
import type { CodebookRow } from "./ledger-rows.ts";
import type { Ledger } from "./ledger.ts";

/** What the bank lacked or had otherwise, and what was in it that the ledger does not have: ids of documents. */
export interface Difference {
  readonly missing: readonly string[];
  readonly extra: readonly string[];
}

export const recoverCommand = (folder: string): string => `mneme memory recover --memory ${folder}`;

/** Documents that are put back in one write. */
const together = 256;

/** Gives the bank the ledger's codebooks, and says which the ledger does not have yet. */
export async function alignCodebooks({ rows, folder }: Ledger, bank: Bank): Promise<CodebookRow[]> {
  const kept = new Map(rows.codebooks().map((row) => [row.version, row]));
  const other = (version: number, got: string): never => {
    throw new UserError(
      `memory: expected codebook ${version} of ${folder} in its bank, got ${got}: the bank is of another codebook ` +
        `version; put the memory's own bank back, or run \`${recoverCommand(folder)}\``,
    );
  };
  for (const [version, row] of kept) {
    if (bank.versions().includes(version)) {
      const { shape, bits, data } = packCodebook(version, bank.quantizer(version).codebook);
      const isSame = shape === row.shape && bits === row.bits && Buffer.compare(data, row.data) === 0;
      if (!isSame) other(version, "another one");
      continue;
    }
    // A bank whose entries were all coded anew has dropped what none of them uses
    if (bank.versions().some((newer) => newer > version)) continue;
    const got = await bank.addCodebook(unpackCodebook(row), { bits: row.bits === 16 ? 16 : 32 });
    if (got !== version) other(version, `it as codebook ${got}`);
  }
  return bank
    .versions()
    .filter((version) => !kept.has(version))
    .map((version) => packCodebook(version, bank.quantizer(version).codebook));
}

/** Versions that the ledger has and the bank no longer needs. */
function quantizerFor({ rows }: Ledger, bank: Bank): (version: number) => Quantizer {
  const dropped = new Map<number, Quantizer>();
  return (version) => {
    if (bank.versions().includes(version)) return bank.quantizer(version);
    const known = dropped.get(version);
    if (known) return known;
    const row = rows.codebooks().find((one) => one.version === version);
    const found = row ? createQuantizer(unpackCodebook(row)) : bank.quantizer(version);
    dropped.set(version, found);
    return found;
  };
}

/** Entries of a document in the ledger as they go into the bank: those of a version it has dropped in its newest codes. */
export function entriesFor(ledger: Ledger, bank: Bank): (value: Uint8Array) => BankEntry[] {
  const quantizer = quantizerFor(ledger, bank);
  return (value) =>
    unpackEntries(value, { keys: bank.keys, quantizer }).map((entry) => {
      if (bank.versions().includes(entry.version)) return entry;
      const newest = Math.max(...bank.versions());
      return { ...entry, ...recoded(entry, quantizer(entry.version), bank.quantizer(newest), newest) };
    });
}

/** All documents of a bank with their entries. */
async function* documentsOf(bank: Bank): AsyncGenerator<readonly [string, BankEntry[]]> {
  let entries: BankEntry[] = [];
  for await (const page of bank.pages()) {
    for (const { number: _, ...entry } of page) {
      if (entries.length > 0 && entries[0].document !== entry.document) yield [entries[0].document, entries.splice(0)];
      entries.push(entry);
    }
  }
  if (entries.length > 0) yield [entries[0].document, entries];
}

/** How the bank differs from the ledger. Both must stay as they are while it runs. */
export async function differenceOf(ledger: Ledger, bank: Bank): Promise<Difference> {
  const missing = ledger.rows.liveDocuments();
  const quantizer = quantizerFor(ledger, bank);
  /** A bank may be coded anew with a newer codebook: the same entries in other codes are no difference. */
  const inCodesOf = (old: BankEntry, version = old.version): BankEntry =>
    version > old.version ? { ...old, ...recoded(old, quantizer(old.version), bank.quantizer(version), version) } : old;
  const extra: string[] = [];
  for await (const [document, entries] of documentsOf(bank)) {
    const bytes = missing.get(document);
    if (!bytes) extra.push(document);
    // A key that was packed, read and packed again need not have the same bytes, but it has the same numbers
    else if (
      Buffer.compare(packEntries(entries, bank), bytes) === 0 ||
      isDeepStrictEqual(
        unpackEntries(bytes, { keys: bank.keys, quantizer }).map((entry, i) => inCodesOf(entry, entries[i]?.version)),
        entries,
      )
    ) {
      missing.delete(document);
    }
  }
  return { missing: [...missing.keys()], extra };
}

/** Brings these documents of the bank to what the ledger says. */
export async function putRight(ledger: Ledger, bank: Bank, documents: readonly string[]): Promise<void> {
  const { rows } = ledger;
  const entriesOf = entriesFor(ledger, bank);
  const gone = documents.filter((document) => !rows.liveAbout(document) && bank.has(document));
  if (gone.length > 0) await bank.delete(...gone);
  const back = documents.flatMap((document) => rows.liveAbout(document) ?? []);
  for (let at = 0; at < back.length; at += together) {
    const entries = back.slice(at, at + together).flatMap(({ fact }) => entriesOf(rows.placed(fact).value));
    await bank.replace(entries);
  }
}
