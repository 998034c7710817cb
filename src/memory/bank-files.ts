/**
 * The folder of a bank while it is open: settings, log, codebooks, and what is known of the entries without reading
 * them. Opening reads the whole log once and says what of it is lost.
 */
import { mkdir } from "node:fs/promises";
import { errorCode, isFile, writeError } from "../checkpoint/files.ts";
import { acquireLock } from "../checkpoint/lock.ts";
import { UserError } from "../errors.ts";
import { type BankContents, type BankLimit, checkLimit, countRecord } from "./bank-entries.ts";
import { type KeyFormat, readHead } from "./bank-entry.ts";
import { createBankIndex } from "./bank-index.ts";
import { loadCodebook, lockPath, logPath, type Manifest, readManifest, sweep, writeManifest } from "./bank-manifest.ts";
import { createTally } from "./bank-tally.ts";
import type { Quantizer } from "./codebook.ts";
import { createQuantizer } from "./quantizers.ts";
import {
  type Gap,
  logHeaderBytes,
  type LogRecord,
  openRecordLog,
  type Place,
  type RecordLog,
  writeRecordLog,
} from "./record-log.ts";

export interface BankOptions {
  /** What encodes the documents, such as a hash: a bank of another module is refused. */
  readonly module?: string;
  /** Of a new bank; an old one must have the same. No keys by default. */
  readonly keys?: KeyFormat;
  readonly limit?: BankLimit;
  /** What an acknowledged write survives: the loss of power, or the death of the process. */
  readonly durability?: "power" | "process";
  /** Dead bytes beyond the live ones from which on the log is written anew. */
  readonly slack?: number;
}

export interface BankFiles extends BankContents {
  readonly folder: string;
  /** As it stands in the folder. */
  manifest: Manifest;
  log: RecordLog;
  /** Closes the log and lets other processes in. */
  close: () => Promise<void>;
}

/** A stretch of a damaged log. */
export interface Lost {
  /** The byte where it begins, and how many bytes it has. */
  readonly at: number;
  readonly size: number;
  /** The number of whole entries and deletions before it. */
  readonly records: number;
  /** The document that it seems to be about. */
  readonly document?: string;
}

async function create(folder: string, { module = "", keys = { width: 0, bits: 8 } }: BankOptions): Promise<Manifest> {
  const manifest: Manifest = {
    format: 1,
    module,
    keys: { ...keys },
    nextVersion: 1,
    codebooks: [],
    sealed: { generation: 0, bytes: 0 },
  };
  await writeManifest(folder, manifest);
  return manifest;
}

function checkSettings(folder: string, found: Manifest, { module, keys, limit }: BankOptions): void {
  if (module !== undefined && module !== found.module) {
    throw new UserError(
      `openBank: expected a bank of module "${module}" in ${folder}, got one of "${found.module}"; open it with its own ` +
        "module, or use another folder",
    );
  }
  const text = ({ width, bits }: KeyFormat): string => `${width} numbers of ${bits} bits`;
  if (keys && text(keys) !== text(found.keys)) {
    throw new UserError(
      `openBank: expected keys of ${text(keys)} in ${folder}, got ${text(found.keys)}; use another folder`,
    );
  }
  checkLimit("openBank", limit);
}

async function makeFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true }).catch((error: unknown) => {
    if (errorCode(error) !== "EEXIST") throw writeError(folder, error);
    throw new UserError(`openBank: expected a folder at ${folder}, got a file; use another name`);
  });
}

/**
 * Opens the folder of a bank, or makes it, and reads all of it; what is lost is for the caller to judge. The folder is
 * locked until `close`.
 */
export async function openBankFiles(
  folder: string,
  options: BankOptions,
  { recover }: { readonly recover: boolean },
): Promise<{ readonly files: BankFiles; readonly lost: readonly Lost[]; readonly torn: number }> {
  await makeFolder(folder);
  const lock = await acquireLock(lockPath(folder), folder);
  let files: BankFiles | undefined;
  const close = async (): Promise<void> => {
    await files?.log.close();
    await lock.release();
  };
  try {
    const found = await sweep(folder);
    const before = await readManifest(folder);
    if (!before && found.length > 0) {
      const some = found.slice(0, 5).join(", ");
      throw new UserError(
        `openBank: expected a bank, or a new or empty folder, got ${folder} with ${some}; use another folder`,
      );
    }
    const manifest = before ?? (await create(folder, options));
    checkSettings(folder, manifest, options);
    const quantizers = new Map<number, Quantizer>();
    const tally = createTally();
    for (const line of manifest.codebooks) {
      const quantizer = createQuantizer(await loadCodebook(folder, line));
      quantizers.set(line.version, quantizer);
      tally.open(line.version, quantizer);
    }
    const log = await openLog(folder, manifest, options, recover);
    files = { folder, manifest, log, tally, index: createBankIndex(), quantizers, close };
    return { files, ...(await load(files)) };
  } catch (error) {
    await close();
    throw error;
  }
}

async function openLog(
  folder: string,
  { sealed }: Manifest,
  { durability }: BankOptions,
  recover: boolean,
): Promise<RecordLog> {
  const path = logPath(folder);
  // A crash may fall between the settings and the log of a new bank
  if (sealed.bytes === 0 && !(await isFile(path))) await writeRecordLog(path, 0, []);
  const log = await openRecordLog(path, { durability, ...(recover && { generation: sealed.generation }) });
  if (log.generation >= sealed.generation) return log;
  await log.close();
  throw new UserError(
    `openBank: expected generation ${sealed.generation} of ${path}, got ${log.generation}: an older copy; put the ` +
      "newer one back",
  );
}

/** Reads the whole log into index and tally. */
async function load(files: BankFiles): Promise<{ lost: readonly Lost[]; torn: number }> {
  const { log, index, manifest } = files;
  const count = (one: LogRecord, sign: 1 | -1): void =>
    countRecord(files, manifest.keys, one, sign, { who: "openBank", name: log.path });
  const dead: Place[] = [];
  const lost: Lost[] = log.headless ? [{ at: 0, size: logHeaderBytes, records: 0 }] : [];
  /** Documents of the write that is being read: more entries of these are further chunks. */
  let fresh = new Set<string>();
  const record = (one: LogRecord): void => {
    if (one.first) fresh = new Set();
    const head = readHead(one.body);
    if (!head || head.deletion) {
      if (head) dead.push(...index.remove(head.document));
      else lost.push({ at: one.at, size: one.size, records: index.count() });
      return;
    }
    count(one, 1);
    // In again without a deletion: that was in a damaged stretch, and the newer one counts
    if (!fresh.has(head.document)) dead.push(...index.remove(head.document));
    fresh.add(head.document);
    index.add(head.document, one);
  };
  const gap = ({ at, size, records, body }: Gap): void => {
    const document = readHead(body)?.document;
    lost.push({ at, size, records, ...(document !== undefined && { document }) });
  };
  const { torn } = await log.scan(
    { record, gap },
    { sealed: log.generation === manifest.sealed.generation ? manifest.sealed.bytes : 0 },
  );
  for (const one of await log.read(dead)) count(one, -1);
  return { lost, torn };
}
