/**
 * A memory as one file, to keep or to take to another machine: all facts with their history, and what they belong to.
 * Layout: 8 letters, length of the header (4 bytes), header (JSON), the ledger (SQLite), SHA-256 over all before it.
 * Imported into a new folder, which appears when everything has been checked; the state is computed from the facts.
 */
import { createHash, randomBytes } from "node:crypto";
import { createReadStream, statSync } from "node:fs";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { z } from "zod";
import { readError, requireEmptyFolder, writeError, writeFileAtomic } from "../checkpoint/files.ts";
import { UserError } from "../errors.ts";
import { type Identity, type Ledger, ledgerName, openLedger, requireIdentity } from "./ledger.ts";
import { verifyHistory } from "./ledger-verify.ts";

const headerSchema = z.object({
  format: z.literal(1),
  identity: z.record(z.string(), z.string()),
  origin: z.string(),
  /** ISO 8601. */
  exported: z.string(),
  events: z.number().int().nonnegative(),
  live: z.number().int().nonnegative(),
  /** Of the ledger inside. */
  bytes: z.number().int().positive(),
  /** How model and module were named where it was exported: elsewhere they may lie elsewhere. */
  made: z.object({ model: z.string(), options: z.record(z.string(), z.unknown()) }).optional(),
});

/** What an exported memory says of itself. */
export type ArchiveHeader = z.infer<typeof headerSchema>;

const magic = Buffer.from("mnememem");
const sumBytes = 32;
const mostHeader = 1 << 20;

const temporaryBeside = (path: string): string =>
  join(dirname(path), `.${basename(path)}.${process.pid}.${randomBytes(4).toString("hex")}.tmp`);

/** Writes the memory of a ledger to one file, as it is at this moment. */
export async function exportMemory(ledger: Ledger, path: string): Promise<ArchiveHeader> {
  const { identity, origin, clock, db } = ledger;
  const file = resolve(path);
  // Beside the new file, as the memory may be on a disk that takes none
  const temporary = temporaryBeside(file);
  try {
    ledger.requirePresent();
    await mkdir(temporary).catch((error: unknown) => {
      throw writeError(temporary, error);
    });
    // A copy of one moment without a log beside it. Counted there, because others may write on here
    db.exec(`VACUUM INTO '${join(temporary, ledgerName).replaceAll("'", "''")}'`);
    const copy = openLedger(temporary);
    const counts = copy.counts();
    // Snapshots stay behind
    for (const row of copy.rows.snapshots()) copy.rows.dropSnapshot(row.seq);
    // How model and module are named here is for the header: the memory itself will say how they are named there
    copy.dropNote("made");
    copy.close();
    const made = headerSchema.shape.made.safeParse(ledger.note("made")).data;
    const header: ArchiveHeader = {
      format: 1,
      identity: { ...identity },
      origin,
      exported: new Date(clock()).toISOString(),
      events: counts.events,
      live: counts.live,
      bytes: statSync(copy.file).size,
      ...(made && { made }),
    };
    await writeFileAtomic(file, archiveOf(header, copy.file));
    return header;
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function* archiveOf(header: ArchiveHeader, copy: string): AsyncGenerator<Uint8Array> {
  const hash = createHash("sha256");
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(text.length);
  const head = Buffer.concat([magic, length, text]);
  hash.update(head);
  yield head;
  for await (const chunk of createReadStream(copy, { highWaterMark: 1 << 20 })) {
    hash.update(chunk as Buffer);
    yield chunk as Buffer;
  }
  yield hash.digest();
}

/** Header of an exported memory, with the whole file checked against its checksum. */
export async function readArchive(path: string): Promise<ArchiveHeader & { readonly start: number }> {
  const broken = (expected: string, got: string): never => {
    throw new UserError(`import: expected ${expected} in ${path}, got ${got}; copy or export the memory again`);
  };
  const hash = createHash("sha256");
  let [size, tail, head] = [0, Buffer.alloc(0), Buffer.alloc(0)];
  try {
    for await (const piece of createReadStream(path, { highWaterMark: 1 << 20 })) {
      const chunk = piece as Buffer;
      if (head.length < mostHeader) head = Buffer.concat([head, chunk]);
      size += chunk.length;
      // The last bytes are the checksum: they are held back until it is known that more follow
      const seen = Buffer.concat([tail, chunk]);
      hash.update(seen.subarray(0, Math.max(0, seen.length - sumBytes)));
      tail = seen.subarray(Math.max(0, seen.length - sumBytes));
    }
  } catch (error) {
    throw readError("import", path, error);
  }
  if (!head.subarray(0, magic.length).equals(magic)) broken("an exported memory", "another kind of file");
  if (head.length < 12) broken("a whole memory", `only ${size} bytes`);
  const start = 12 + head.readUInt32LE(8);
  if (start > size) broken("a whole memory", `only ${size} bytes (cut off)`);
  let parsed: unknown;
  try {
    parsed = JSON.parse(head.subarray(12, start).toString());
  } catch {
    broken("a readable header", "a damaged one");
  }
  const format = z.object({ format: z.number() }).safeParse(parsed);
  if (format.data && format.data.format > 1) {
    throw new UserError(
      `import: expected a memory of this version of mneme, got one of format ${format.data.format} in ${path}; update mneme`,
    );
  }
  const checked = headerSchema.safeParse(parsed);
  if (!checked.data) return broken("a readable header", "a damaged one");
  const whole = start + checked.data.bytes + sumBytes;
  if (size !== whole) broken(`${whole} bytes`, `${size}${size < whole ? " (cut off)" : ""}`);
  if (!hash.digest().equals(tail)) broken("a memory as it was exported", "a wrong checksum");
  return { ...checked.data, start };
}

export interface ImportOptions {
  /** What the memory must belong to. */
  readonly identity: Identity;
}

/** Puts an exported memory into a new folder. Nothing is there until all of it has been checked. */
export async function importMemory(path: string, folder: string, { identity }: ImportOptions): Promise<ArchiveHeader> {
  const target = resolve(folder);
  await requireEmptyFolder(target, { caller: "import", wayOut: () => "name another folder, or move this one away" });
  const { start, ...header } = await readArchive(path);
  requireIdentity("import", path, header.identity, identity);
  const temporary = temporaryBeside(target);
  try {
    try {
      await mkdir(temporary, { recursive: true });
      await extract(path, start, header.bytes, join(temporary, ledgerName));
    } catch (error) {
      throw writeError(temporary, error);
    }
    const ledger = openLedger(temporary, { identity });
    try {
      verifyHistory(ledger, "import");
      const { seq } = ledger.rows.head();
      if (seq !== header.events) {
        throw new UserError(`import: expected ${header.events} events in ${path}, got ${seq}; export the memory again`);
      }
    } finally {
      ledger.close();
    }
    await rename(temporary, target).catch((error: unknown) => {
      throw writeError(target, error);
    });
    return header;
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function extract(path: string, start: number, bytes: number, to: string): Promise<void> {
  const handle = await open(to, "wx");
  try {
    for await (const chunk of createReadStream(path, { start, end: start + bytes - 1, highWaterMark: 1 << 20 })) {
      await handle.writeFile(chunk as Buffer);
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
}
