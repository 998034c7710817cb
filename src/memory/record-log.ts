/**
 * A file that records are only ever added to, several at once or none of them. After a crash everything acknowledged is
 * there and an unfinished write is cut off; damage by anything else is found by checksum, with its place, and what lies
 * behind it can still be read. A file begins with "mnemelog", format and generation (which grows each time it is
 * written anew) and their checksum. A record is its length, with two bits that say where a write begins and ends, as a
 * varint; its bytes; the CRC-32 of both.
 */
import type { FileHandle } from "node:fs/promises";
import { open } from "node:fs/promises";
import { crc32 } from "node:zlib";
import { readError, writeError, writeFileAtomic } from "../checkpoint/files.ts";
import { UserError } from "../errors.ts";
import { readVarint, varint } from "./varint.ts";

export interface LogRecord {
  /** Where it begins in the file, and how many bytes it fills there. */
  readonly at: number;
  readonly size: number;
  readonly body: Uint8Array;
  /** A write begins with it. */
  readonly first: boolean;
}

/** Where a record lies. */
export type Place = Pick<LogRecord, "at" | "size">;

/** Bytes that are no whole record. */
export interface Gap {
  readonly at: number;
  readonly size: number;
  /** Whole records before it. */
  readonly records: number;
  /** The bytes that would be a record's if only they were damaged. */
  readonly body: Uint8Array;
}

export interface LogScan {
  /** Where the last whole write ends. */
  readonly end: number;
  /** Bytes behind it: of a write that a crash broke off. */
  readonly torn: number;
}

export interface RecordLog {
  readonly path: string;
  readonly generation: number;
  /** Its head is damaged, and the generation was given. */
  readonly headless: boolean;
  /** Bytes of the file up to the end of the last write. */
  end(): number;
  /**
   * Hands all records on in their order, and every gap but a torn end, which is cut off, unless it begins below
   * `sealed`: so many bytes there were once. To be called once, before anything is written. Nothing is cut off if
   * `take` throws.
   */
  scan(
    take: { record(record: LogRecord): void; gap(gap: Gap): void },
    options?: { readonly sealed?: number },
  ): Promise<LogScan>;
  /** Adds records, all or none, and returns the place of each. */
  append(bodies: readonly Uint8Array[]): Promise<Place[]>;
  /** Records by their places, in the order of the file; those near each other are read at once. */
  read(places: readonly Place[]): Promise<LogRecord[]>;
  /** Makes everything durable, whatever the durability of a write. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface LogOptions {
  /** What survives: the loss of power (each write waits for the disk), or the death of the process. */
  readonly durability?: "power" | "process";
  /** The generation to take where the head of the file is damaged; without it that is an error. */
  readonly generation?: number;
  /** It has just been written: it ends with the file, and need not be scanned. */
  readonly whole?: boolean;
  /** Whose log it is, for errors. */
  readonly caller?: string;
}

const magic = "mnemelog";
const format = 1;
/** Bytes before the first record. */
export const logHeaderBytes = 20;
/** A record is one entry: longer ones are taken for damage. */
const mostBytes = 1 << 24;
const windowBytes = 1 << 20;
/** Records further apart are read separately. */
const apartBytes = 1 << 16;

function header(generation: number): Buffer {
  const bytes = Buffer.alloc(logHeaderBytes);
  bytes.write(magic, "latin1");
  bytes.writeUInt32LE(format, 8);
  bytes.writeUInt32LE(generation, 12);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, 16)), 16);
  return bytes;
}

function frame(body: Uint8Array, first: boolean, last: boolean): Uint8Array {
  if (body.length > mostBytes) {
    throw new UserError(`bank: expected entries of at most ${mostBytes} bytes, got ${body.length}; cut the document`);
  }
  const head = varint(body.length * 4 + (first ? 1 : 0) + (last ? 2 : 0));
  const bytes = Buffer.alloc(head.length + body.length + 4);
  bytes.set(head);
  bytes.set(body, head.length);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, -4)), bytes.length - 4);
  return bytes;
}

/** Bytes that a record with so many fills in the file. */
export const recordBytes = (length: number): number => varint(length * 4).length + length + 4;

/** Records of one write as bytes. */
export const frameRecords = (bodies: readonly Uint8Array[]): Uint8Array[] =>
  bodies.map((body, i) => frame(body, i === 0, i === bodies.length - 1));

interface Frame {
  readonly body: Uint8Array;
  readonly size: number;
  readonly first: boolean;
  readonly last: boolean;
}

/** The frame at a place, how many bytes there must be to tell, or "bad". */
export function parseRecord(bytes: Uint8Array, at: number): Frame | { readonly needs: number } | "bad" {
  const head = readVarint(bytes, at);
  if (head === undefined) return bytes.length - at >= 8 ? "bad" : { needs: 8 };
  const length = Math.floor(head.value / 4);
  if (length > mostBytes) return "bad";
  const size = head.size + length + 4;
  if (at + size > bytes.length) return { needs: size };
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, size);
  if (view.getUint32(size - 4, true) !== crc32(bytes.subarray(at, at + size - 4))) return "bad";
  const body = bytes.subarray(at + head.size, at + size - 4);
  return { body, size, first: head.value % 2 === 1, last: Math.floor(head.value / 2) % 2 === 1 };
}

async function readBytes(handle: FileHandle, at: number, size: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(size);
  for (let got = 0; got < size; ) {
    const { bytesRead } = await handle.read(bytes, got, size - got, at + got);
    if (bytesRead === 0) return bytes.subarray(0, got);
    got += bytesRead;
  }
  return bytes;
}

type Piece = ({ readonly kind: "record" } & Frame & { readonly at: number }) | ({ readonly kind: "gap" } & Gap);

/** The whole file as records and gaps, read in windows that grow where a record is longer. */
async function* pieces(handle: FileHandle, fileSize: number): AsyncGenerator<Piece> {
  let [bytes, from]: [Uint8Array, number] = [new Uint8Array(), logHeaderBytes];
  let records = 0;
  let gap = -1;
  /** Makes sure that the window holds `size` bytes from `at`, if the file does. */
  const reach = async (at: number, size: number): Promise<void> => {
    if (at + size <= from + bytes.length || from + bytes.length >= fileSize) return;
    bytes = await readBytes(handle, at, Math.min(fileSize - at, Math.max(size, windowBytes)));
    from = at;
  };
  const gapBefore = async (at: number): Promise<Piece> => {
    const raw = await readBytes(handle, gap, Math.min(at - gap, 4096));
    return { kind: "gap", at: gap, size: at - gap, records, body: raw.subarray(readVarint(raw, 0)?.size ?? 0) };
  };
  for (let at = logHeaderBytes; at < fileSize; ) {
    await reach(at, 8);
    let found = parseRecord(bytes, at - from);
    if (found !== "bad" && "needs" in found) {
      await reach(at, found.needs);
      found = parseRecord(bytes, at - from);
    }
    if (found === "bad" || "needs" in found) {
      if (gap < 0) gap = at;
      at++;
      continue;
    }
    if (gap >= 0) yield await gapBefore(at);
    gap = -1;
    yield { kind: "record", at, ...found };
    records++;
    at += found.size;
  }
  if (gap >= 0) yield await gapBefore(fileSize);
}

/** Writes a log anew in place of the one that may be there; the records of a group are one write. */
export async function writeRecordLog(
  path: string,
  generation: number,
  groups: Iterable<readonly Uint8Array[]> | AsyncIterable<readonly Uint8Array[]>,
): Promise<Place[]> {
  const places: Place[] = [];
  await writeFileAtomic(
    path,
    (async function* () {
      // Many records are one write call
      let [waiting, bytes]: [Uint8Array[], number] = [[header(generation)], logHeaderBytes];
      let at = logHeaderBytes;
      for await (const group of groups) {
        for (const one of frameRecords(group)) {
          places.push({ at, size: one.length });
          at += one.length;
          bytes += one.length;
          waiting.push(one);
        }
        if (bytes < windowBytes) continue;
        yield Buffer.concat(waiting);
        [waiting, bytes] = [[], 0];
      }
      yield Buffer.concat(waiting);
    })(),
  );
  return places;
}

/** Opens a log. What it holds is not read yet: `scan` it. */
export async function openRecordLog(
  path: string,
  { durability = "power", generation: otherwise, whole = false, caller = "bank" }: LogOptions = {},
): Promise<RecordLog> {
  const opener = caller === "bank" ? "openBank" : caller;
  const handle = await open(path, "r+").catch((error: unknown) => {
    throw readError(opener, path, error);
  });
  try {
    const head = Buffer.from(await readBytes(handle, 0, logHeaderBytes));
    const generation = head.length === logHeaderBytes ? head.readUInt32LE(12) : 0;
    if (!head.equals(header(generation))) {
      if (otherwise !== undefined)
        return { ...withHandle(handle, path, otherwise, durability, logHeaderBytes, caller), headless: true };
      const known = head.toString("latin1", 0, 8) === magic && head.length === logHeaderBytes;
      const other = known && head.readUInt32LE(8) !== format && head.readUInt32LE(16) === crc32(head.subarray(0, 16));
      throw new UserError(
        `${opener}: expected a log of format ${format} in ${path}, got ` +
          (other ? `format ${head.readUInt32LE(8)}; use a newer mneme` : "damage at byte 0; put the file back"),
      );
    }
    const end = whole ? (await handle.stat()).size : logHeaderBytes;
    return withHandle(handle, path, generation, durability, end, caller);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

function withHandle(
  handle: FileHandle,
  path: string,
  generation: number,
  durability: "power" | "process",
  start: number,
  caller: string,
): RecordLog {
  let end = start;
  let broken = "";

  /** After a failed write: back to the end of the last whole one. Where even that fails, nothing more is written. */
  const undo = async (): Promise<void> => {
    try {
      await handle.truncate(end);
    } catch {
      broken = "an earlier write failed and could not be undone";
    }
  };

  return {
    path,
    generation,
    headless: false,
    end: () => end,

    async scan(take, { sealed = 0 } = {}) {
      const { size: fileSize } = await handle.stat();
      // Of a write that has begun and not ended, and what may prove to be its torn end
      let held: Piece[] = [];
      const flush = (): void => {
        for (const piece of held) {
          if (piece.kind === "gap") take.gap(piece);
          else take.record(piece);
        }
        held = [];
      };
      let records = 0;
      for await (const piece of pieces(handle, fileSize)) {
        if (piece.kind === "record") records++;
        // A write only begins once the one before has ended: what is held lies amid acknowledged writes
        if (piece.kind === "record" && piece.first) flush();
        held.push(piece);
        if (piece.kind === "record" && piece.last && held.every(({ kind }) => kind === "record")) flush();
        if (held.length === 0) end = piece.at + piece.size;
      }
      if (end < sealed) {
        flush();
        if (fileSize < sealed) take.gap({ at: fileSize, size: sealed - fileSize, records, body: new Uint8Array() });
        return { end, torn: 0 };
      }
      const torn = Math.max(0, fileSize - end);
      if (torn > 0) {
        await handle.truncate(end).catch((error: unknown) => {
          throw writeError(path, error);
        });
      }
      return { end, torn };
    },

    async append(bodies) {
      if (bodies.length === 0) return [];
      const { size } = await handle.stat();
      if (size !== end && broken === "") broken = `the file has ${size} bytes and not ${end}: another process wrote it`;
      if (broken !== "") {
        throw new UserError(
          `${caller}: expected to write ${path} alone, got trouble: ${broken}; open the ${caller} again`,
        );
      }
      const parts = frameRecords(bodies);
      let at = end;
      const places = parts.map((bytes) => ({ at: (at += bytes.length) - bytes.length, size: bytes.length }));
      const all = Buffer.concat(parts);
      try {
        for (let done = 0; done < all.length; ) {
          done += (await handle.write(all, done, all.length - done, end + done)).bytesWritten;
        }
        if (durability === "power") await handle.datasync();
      } catch (error) {
        await undo();
        throw writeError(path, error);
      }
      end = at;
      return places;
    },

    async read(places) {
      const sorted = places.toSorted((a, b) => a.at - b.at);
      const found: LogRecord[] = [];
      for (let i = 0; i < sorted.length; ) {
        const { at, size } = sorted[i];
        let [next, to] = [i + 1, at + size];
        for (; next < sorted.length && sorted[next].at <= to + apartBytes && to < at + windowBytes; next++) {
          to = sorted[next].at + sorted[next].size;
        }
        const bytes = await readBytes(handle, at, to - at);
        for (; i < next; i++) {
          const one = parseRecord(bytes, sorted[i].at - at);
          if (one === "bad" || "needs" in one) {
            throw new UserError(
              `bank: expected a whole record at byte ${sorted[i].at} of ${path}, got damage since the bank was ` +
                "opened; recover the bank",
            );
          }
          found.push({ at: sorted[i].at, ...one });
        }
      }
      return found;
    },

    sync: () => handle.datasync(),
    close: () => handle.close(),
  };
}
