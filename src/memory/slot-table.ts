/**
 * The values of a memory layer as a table of rows, read and written by index: in RAM, or in a file of any size that the
 * disk holds, of which only a cache of pages is in RAM. A write is all or nothing: its rows go to a log beside the file
 * first (record-log.ts), then into the file; what a crash left in the log is put into the file when it is next opened.
 * The file: "mneslots", version, format, width, rows, CRC-32 of these; rows from byte 64 on, all equally long.
 */
import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { crc32 } from "node:zlib";
import { exists, readError, writeError, writeFileAtomic } from "../checkpoint/files.ts";
import { internal, UserError } from "../errors.ts";
import { logHeaderBytes, openRecordLog, type RecordLog, writeRecordLog } from "./record-log.ts";
import { createRowCodec, type RowCodec, type RowFormat, rowFormats } from "./row-codec.ts";

export interface SlotTable {
  /** N. */
  readonly rows: number;
  /** W. */
  readonly width: number;
  readonly format: RowFormat;
  /** The rows at these places, [M, W], in the order given; a place may be named repeatedly. */
  read(places: ArrayLike<number>): Promise<Float32Array>;
  /** Puts rows [M, W] at M different places: all of them, or none. Refuses what is not finite. */
  write(places: ArrayLike<number>, rows: Float32Array): Promise<void>;
  /** SHA-256 (hexadecimal) of what it holds: equal in RAM and on the disk. */
  hash(): Promise<string>;
  /** Bytes of RAM at most, and of the disk. */
  bytes(): { readonly ram: number; readonly disk: number };
  close(): Promise<void>;
}

export interface TableShape {
  readonly rows: number;
  readonly width: number;
  readonly format?: RowFormat;
}

const magic = "mneslots";
const version = 1;
const headerBytes = 64;
/** Rows are read and kept by so many bytes of the file. */
const pageBytes = 1 << 14;
/** Pages beside each other are read at once, up to this. */
const mostAtOnce = 1 << 20;
const parallelReads = 4;
/** Bytes of rows in one record of the log: what a crash tore off is looked through byte by byte. */
const recordBytes = 1 << 16;
/** The log is emptied when it has grown to this. */
const longLog = 1 << 26;

const logPath = (path: string): string => `${path}.log`;

function header({ rows, width, format }: Required<TableShape>): Buffer {
  const bytes = Buffer.alloc(headerBytes);
  bytes.write(magic, "latin1");
  bytes.writeUInt32LE(version, 8);
  bytes.writeUInt32LE(rowFormats.indexOf(format), 12);
  bytes.writeUInt32LE(width, 16);
  bytes.writeDoubleLE(rows, 24);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, 60)), 60);
  return bytes;
}

function checkShape({ rows, width, format = "float32" }: TableShape): Required<TableShape> {
  if (!Number.isSafeInteger(rows) || rows < 1 || !Number.isInteger(width) || width < 1)
    throw new UserError(`slots: expected 1 or more rows of 1 or more numbers, got ${rows} of ${width}`);
  return { rows, width, format };
}

function checkPlaces(places: ArrayLike<number>, rows: number): void {
  for (let i = 0; i < places.length; i++) {
    if (!Number.isInteger(places[i]) || places[i] < 0 || places[i] >= rows)
      throw new UserError(`slots: expected rows from 0 to ${rows - 1}, got ${places[i]}; the table has ${rows}`);
  }
}

/** The rows of a write as bytes, all of them checked before any is written. */
function encodeRows(codec: RowCodec, rows: number, places: ArrayLike<number>, values: Float32Array): Uint8Array[] {
  const { width } = codec;
  checkPlaces(places, rows);
  if (new Set(Array.from(places)).size !== places.length)
    throw new UserError("slots: expected different rows in one write, got one twice; add them up first");
  if (values.length !== places.length * width)
    throw new UserError(`slots: expected ${places.length} rows of ${width} numbers, got ${values.length} numbers`);
  return Array.from(places, (place, i) => codec.encode(values.subarray(i * width, (i + 1) * width), `row ${place}`));
}

/** A table in RAM, of zeros or of the given numbers [N, W]. */
export function createSlotTable(given: TableShape, values?: Float32Array): SlotTable {
  const shape = checkShape(given);
  const { rows, width } = shape;
  const codec = createRowCodec(shape.format, width);
  const data = new Uint8Array(rows * codec.bytes);
  const put = (place: number, bytes: Uint8Array): void => data.set(bytes, place * codec.bytes);
  if (values && values.length !== rows * width)
    throw new UserError(`slots: expected ${rows} rows of ${width} numbers, got ${values.length} numbers`);
  for (let row = 0; row < rows; row++)
    put(row, codec.encode(values?.subarray(row * width, (row + 1) * width) ?? new Float32Array(width), `row ${row}`));
  return {
    ...shape,
    async read(places) {
      checkPlaces(places, rows);
      const out = new Float32Array(places.length * width);
      for (let i = 0; i < places.length; i++) {
        const at = places[i] * codec.bytes;
        codec.decode(data.subarray(at, at + codec.bytes), out.subarray(i * width, (i + 1) * width));
      }
      return out;
    },
    async write(places, next) {
      for (const [i, bytes] of encodeRows(codec, rows, places, next).entries()) put(places[i], bytes);
    },
    hash: async () => createHash("sha256").update(header(shape)).update(data).digest("hex"),
    bytes: () => ({ ram: data.byteLength, disk: 0 }),
    async close() {},
  };
}

/** Writes a new table file; `fill` gives the numbers of each row in turn (zeros at first). */
export async function writeSlotTable(
  path: string,
  given: TableShape,
  fill: (row: number, out: Float32Array) => void = () => {},
): Promise<void> {
  const shape = checkShape(given);
  const codec = createRowCodec(shape.format, shape.width);
  const perChunk = Math.max(1, Math.floor(mostAtOnce / codec.bytes));
  const chunks = function* (): Generator<Uint8Array> {
    yield header(shape);
    const row = new Float32Array(shape.width);
    for (let first = 0; first < shape.rows; first += perChunk) {
      const count = Math.min(perChunk, shape.rows - first);
      const bytes = new Uint8Array(count * codec.bytes);
      for (let i = 0; i < count; i++) {
        row.fill(0);
        fill(first + i, row);
        bytes.set(codec.encode(row, `row ${first + i}`), i * codec.bytes);
      }
      yield bytes;
    }
  };
  if (await exists(path)) throw new UserError(`slots: expected a new file, got ${path}; name another or delete it`);
  // The log first: one that was left behind would be put into the new table
  await writeRecordLog(logPath(path), 1, []);
  await writeFileAtomic(path, chunks());
}

export interface OpenOptions {
  /** RAM for pages. */
  readonly cacheBytes?: number;
  /** What a finished write survives: the loss of power, or the death of the process. */
  readonly durability?: "power" | "process";
}

async function readShape(handle: FileHandle, path: string): Promise<Required<TableShape>> {
  const head = Buffer.alloc(headerBytes);
  const { bytesRead } = await handle.read(head, 0, headerBytes, 0);
  const format = rowFormats[head.readUInt32LE(12)];
  const shape = { rows: head.readDoubleLE(24), width: head.readUInt32LE(16), format };
  if (bytesRead < headerBytes || format === undefined || !head.equals(header(shape)))
    throw new UserError(`slots: expected a table of slots in ${path}, got something else; name a table or restore it`);
  const { size } = await handle.stat();
  const whole = headerBytes + shape.rows * createRowCodec(format, shape.width).bytes;
  if (size !== whole)
    throw new UserError(
      `slots: expected ${whole} bytes in ${path} (${shape.rows} rows), got ${size}; the file is cut off or damaged, ` +
        "restore it from a copy",
    );
  return shape;
}

/** Rows of a write as records: places as doubles, then the rows. */
function recordsOf(places: ArrayLike<number>, rows: readonly Uint8Array[], size: number): Uint8Array[] {
  const perRecord = Math.max(1, Math.floor(recordBytes / (size + 8)));
  const records: Uint8Array[] = [];
  for (let first = 0; first < rows.length; first += perRecord) {
    const count = Math.min(perRecord, rows.length - first);
    const body = Buffer.alloc(4 + count * (8 + size));
    body.writeUInt32LE(count, 0);
    for (let i = 0; i < count; i++) {
      body.writeDoubleLE(places[first + i], 4 + 8 * i);
      body.set(rows[first + i], 4 + 8 * count + i * size);
    }
    records.push(body);
  }
  return records;
}

function* rowsOf(record: Uint8Array, size: number): Generator<readonly [place: number, bytes: Uint8Array]> {
  const body = Buffer.from(record.buffer, record.byteOffset, record.byteLength);
  const count = body.readUInt32LE(0);
  for (let i = 0; i < count; i++) {
    const at = 4 + 8 * count + i * size;
    yield [body.readDoubleLE(4 + 8 * i), body.subarray(at, at + size)];
  }
}

/** Opens a table file; an unfinished write is finished or dropped first. One process may have it open. */
export async function openSlotTable(
  path: string,
  { cacheBytes = 1 << 26, durability = "power" }: OpenOptions = {},
): Promise<SlotTable> {
  const handle = await open(path, "r+").catch((error: unknown) => {
    throw readError("slots", path, error);
  });
  let log: RecordLog | undefined;
  try {
    const shape = await readShape(handle, path);
    const { rows, width } = shape;
    const codec = createRowCodec(shape.format, width);
    const size = codec.bytes;
    const rowAt = (place: number): number => headerBytes + place * size;

    const writeAt = async (bytes: Uint8Array, at: number): Promise<void> => {
      for (let done = 0; done < bytes.length; ) {
        done += (await handle.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
      }
    };
    const openLog = (whole: boolean): Promise<RecordLog> =>
      openRecordLog(logPath(path), { durability, whole, caller: "slots" });
    const emptyLog = async (): Promise<void> => {
      if (durability === "power") await handle.datasync();
      const generation = (log?.generation ?? 0) + 1;
      await log?.close();
      log = undefined;
      await writeRecordLog(logPath(path), generation, []);
      log = await openLog(true);
    };

    if (await exists(logPath(path))) {
      log = await openLog(false);
      const waiting: Uint8Array[] = [];
      await log.scan({
        record: ({ body }) => waiting.push(Uint8Array.from(body)),
        gap({ at }) {
          throw new UserError(
            `slots: expected whole writes in ${logPath(path)}, got damage at byte ${at}; restore both files from a copy`,
          );
        },
      });
      for (const record of waiting) {
        for (const [place, bytes] of rowsOf(record, size)) {
          checkPlaces([place], rows);
          await writeAt(bytes, rowAt(place));
        }
      }
      if (waiting.length > 0) await emptyLog();
    } else await emptyLog();

    /** Pages by number, the one used last at the end. */
    const pages = new Map<number, Uint8Array>();
    const mostPages = Math.max(1, Math.floor(cacheBytes / pageBytes));
    const fileBytes = rowAt(rows);

    /** Makes sure that these pages are there, in any order; more than the cache holds may be there for a while. */
    const load = async (wanted: Iterable<number>): Promise<void> => {
      const missing: number[] = [];
      for (const page of wanted) {
        const known = pages.get(page);
        if (known) {
          pages.delete(page);
          pages.set(page, known);
        } else missing.push(page);
      }
      missing.sort((a, b) => a - b);
      const runs: { first: number; count: number }[] = [];
      for (const page of missing) {
        const last = runs.at(-1);
        if (last && last.first + last.count === page && last.count * pageBytes < mostAtOnce) last.count++;
        else runs.push({ first: page, count: 1 });
      }
      let next = 0;
      const worker = async (): Promise<void> => {
        for (let run = runs[next++]; run; run = runs[next++]) {
          const from = run.first * pageBytes;
          const bytes = new Uint8Array(Math.min(run.count * pageBytes, fileBytes - from));
          for (let got = 0; got < bytes.length; ) {
            const { bytesRead } = await handle.read(bytes, got, bytes.length - got, from + got);
            if (bytesRead === 0) throw new UserError(`slots: expected ${fileBytes} bytes in ${path}, got fewer now`);
            got += bytesRead;
          }
          // Copies, so that a page does not keep its neighbours in RAM
          for (let i = 0; i < run.count; i++) pages.set(run.first + i, bytes.slice(i * pageBytes, (i + 1) * pageBytes));
        }
      };
      await Promise.all(Array.from({ length: Math.min(parallelReads, runs.length) }, worker));
    };
    const trim = (): void => {
      for (const page of pages.keys()) {
        if (pages.size <= mostPages) break;
        pages.delete(page);
      }
    };
    /** Hands each piece of the file's bytes [at, at + size) that lies in a loaded page on. */
    const inPages = (
      at: number,
      use: (page: Uint8Array | undefined, from: number, to: number, done: number) => void,
    ) => {
      for (let done = 0; done < size; ) {
        const page = Math.floor((at + done) / pageBytes);
        const from = at + done - page * pageBytes;
        const part = Math.min(size - done, pageBytes - from);
        use(pages.get(page), from, from + part, done);
        done += part;
      }
    };

    // One after another: a read sees a write whole or not at all
    let busy: Promise<unknown> = Promise.resolve();
    let broken = false;
    const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
      const result = busy.then(() => {
        if (broken) throw new UserError(`slots: expected a whole table, got a failed write to ${path}; open it again`);
        return work();
      });
      busy = result.catch(() => {});
      return result;
    };

    return {
      ...shape,
      read: (places) =>
        inTurn(async () => {
          checkPlaces(places, rows);
          const wanted = new Set<number>();
          for (let i = 0; i < places.length; i++) {
            const at = rowAt(places[i]);
            for (let page = Math.floor(at / pageBytes); page * pageBytes < at + size; page++) wanted.add(page);
          }
          await load(wanted);
          const out = new Float32Array(places.length * width);
          const bytes = new Uint8Array(size);
          for (let i = 0; i < places.length; i++) {
            inPages(rowAt(places[i]), (page, from, to, done) => {
              if (!page) internal(`slots: a page of row ${places[i]} was not loaded`);
              bytes.set(page.subarray(from, to), done);
            });
            codec.decode(bytes, out.subarray(i * width, (i + 1) * width));
          }
          trim();
          return out;
        }),
      write: (places, values) =>
        inTurn(async () => {
          const encoded = encodeRows(codec, rows, places, values);
          await (log as RecordLog).append(recordsOf(places, encoded, size));
          try {
            for (const [i, bytes] of encoded.entries()) {
              const at = rowAt(places[i]);
              await writeAt(bytes, at);
              inPages(at, (page, from, to, done) => page?.set(bytes.subarray(done, done + to - from), from));
            }
            if ((log as RecordLog).end() > longLog) await emptyLog();
          } catch (error) {
            // The log has the write: opening the table finishes it
            broken = true;
            throw writeError(path, error);
          }
        }),
      hash: () =>
        inTurn(async () => {
          const sum = createHash("sha256");
          const bytes = new Uint8Array(mostAtOnce);
          for (let at = 0; at < fileBytes; ) {
            const { bytesRead } = await handle.read(bytes, 0, Math.min(bytes.length, fileBytes - at), at);
            if (bytesRead === 0) throw new UserError(`slots: expected ${fileBytes} bytes in ${path}, got fewer now`);
            sum.update(bytes.subarray(0, bytesRead));
            at += bytesRead;
          }
          return sum.digest("hex");
        }),
      bytes: () => ({ ram: Math.min(mostPages * pageBytes, fileBytes), disk: fileBytes + (log?.end() ?? 0) }),
      async close() {
        await busy;
        if (!broken && (log as RecordLog).end() > logHeaderBytes) await emptyLog();
        await log?.close();
        await handle.close();
      },
    };
  } catch (error) {
    await log?.close();
    await handle.close();
    throw error;
  }
}
