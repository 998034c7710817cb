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
  type BankChange,
  type BankEntries,
  type BankSize,
  createBankEntries,
  type Evict,
  type NumberedEntry,
} from "./bank-entries.ts";
import type { BankEntry, KeyFormat } from "./bank-entry.ts";
import { type BankFiles, type BankOptions, type Lost, openBankFiles } from "./bank-files.ts";
import {
  codebookBytes,
  logPath,
  type Manifest,
  manifestBytes,
  removeCodebook,
  saveCodebook,
  writeManifest,
} from "./bank-manifest.ts";
import { storedCodebook } from "./codebook.ts";
import { createQuantizer } from "./quantizers.ts";
import { logHeaderBytes, openRecordLog, writeRecordLog } from "./record-log.ts";

export type { BankChange, BankEntry, BankOptions, BankSize, Evict, KeyFormat, Lost, NumberedEntry };

/** `size` counts everything in the folder, but for the lock. */
export interface Bank extends BankEntries {
  readonly folder: string;
  /** What happened that nobody asked for: an unfinished write cut off, a log that could not be written anew. */
  notices(): readonly string[];
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

function bankOf(files: BankFiles, { limit, durability, slack }: BankOptions, notices: string[]): Bank {
  const { folder, quantizers } = files;
  const { module, keys } = files.manifest;

  const setManifest = async (manifest: Manifest): Promise<void> => {
    await writeManifest(folder, manifest);
    files.manifest = manifest;
  };
  const seal = (): Manifest => ({
    ...files.manifest,
    sealed: { generation: files.log.generation, bytes: files.log.end() },
  });

  const {
    exclusive,
    rewrite,
    unused,
    size,
    readLive: _,
    ...entries
  } = createBankEntries({
    module,
    keys,
    name: folder,
    contents: files,
    limit,
    slack,
    notices,
    records: {
      name: logPath(folder),
      bytes: () => files.log.end() - logHeaderBytes,
      append: async (deletions, bodies) => (await files.log.append([...deletions, ...bodies])).slice(deletions.length),
      read: (places) => files.log.read(places),
      async renew(groups) {
        const { log } = files;
        const places = await writeRecordLog(log.path, log.generation + 1, groups);
        // First the old one: nothing may be written to a file that is no longer in the folder
        await log.close();
        files.log = await openRecordLog(log.path, { durability, whole: true });
        return places;
      },
      renewed: () => setManifest(seal()),
    },
  });

  /** Forgets versions that no entry uses, but for the newest. */
  const dropCodebooks = async (): Promise<void> => {
    const { codebooks } = files.manifest;
    const versions = new Set(unused());
    if (versions.size === 0) return;
    await setManifest({ ...files.manifest, codebooks: codebooks.filter(({ version }) => !versions.has(version)) });
    for (const line of codebooks.filter(({ version }) => versions.has(version))) {
      quantizers.delete(line.version);
      await removeCodebook(folder, line);
    }
  };

  return {
    ...entries,
    folder,
    notices: () => notices,
    versions: () => files.manifest.codebooks.map(({ version }) => version),

    addCodebook: (codebook, { bits = 16 } = {}) =>
      exclusive(async () => {
        createQuantizer(codebook); // refuses what no quantiser can use
        const { codebooks, nextVersion } = files.manifest;
        const stored = storedCodebook(codebook, bits);
        const same = codebooks.find(
          (line) => line.bits === bits && isDeepStrictEqual(quantizers.get(line.version)?.codebook, stored),
        );
        if (same) return same.version;
        const quantizer = createQuantizer(stored);
        const line = await saveCodebook(folder, nextVersion, stored, bits);
        await setManifest({ ...files.manifest, nextVersion: nextVersion + 1, codebooks: [...codebooks, line] });
        quantizers.set(nextVersion, quantizer);
        files.tally.open(nextVersion, quantizer);
        return nextVersion;
      }),

    size: () =>
      exclusive(async () => {
        const { manifest } = files;
        const codebooks = await Promise.all(
          manifest.codebooks.map(async (line) => ({
            version: line.version,
            bits: 8 * (await codebookBytes(folder, line)),
          })),
        );
        return size(8 * (logHeaderBytes + manifestBytes(manifest)), codebooks);
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
