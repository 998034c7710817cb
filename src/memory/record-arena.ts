/**
 * The records of a bank (record-log.ts) in RAM: the same bytes, one after another, in blocks that are never moved. So a
 * million records are a few large arrays and not a million objects, and both kinds of bank count the same bits.
 */
import { UserError } from "../errors.ts";
import { frameRecords, type LogRecord, parseRecord, type Place } from "./record-log.ts";

export interface RecordArena {
  /** Bytes of all records. */
  bytes(): number;
  append(bodies: readonly Uint8Array[]): Place[];
  /** Records by their places, in the order given. */
  read(places: readonly Place[]): LogRecord[];
  /** All records, one after another. */
  scan(): Generator<LogRecord>;
}

const blockBytes = 1 << 20;

/** `bytes`: records to begin with. */
export function createRecordArena(bytes: Uint8Array = new Uint8Array()): RecordArena {
  const blocks: Uint8Array[] = [];
  let end = 0;

  const add = (part: Uint8Array): void => {
    for (let done = 0; done < part.length; ) {
      const at = end % blockBytes;
      if (at === 0) blocks.push(new Uint8Array(blockBytes));
      const size = Math.min(blockBytes - at, part.length - done);
      blocks[blocks.length - 1].set(part.subarray(done, done + size), at);
      done += size;
      end += size;
    }
  };
  /** Within a block where they lie, else a copy. */
  const bytesAt = (at: number, size: number): Uint8Array => {
    const [first, from] = [Math.floor(at / blockBytes), at % blockBytes];
    if (from + size <= blockBytes) return blocks[first].subarray(from, from + size);
    const out = new Uint8Array(size);
    for (let got = 0; got < size; ) {
      const [block, offset] = [Math.floor((at + got) / blockBytes), (at + got) % blockBytes];
      const part = blocks[block].subarray(offset, offset + Math.min(blockBytes - offset, size - got));
      out.set(part, got);
      got += part.length;
    }
    return out;
  };
  const recordAt = (at: number, size: number): LogRecord => {
    let most = Math.min(size, end - at);
    for (;;) {
      const one = parseRecord(bytesAt(at, most), 0);
      if (one !== "bad" && !("needs" in one)) return { at, ...one };
      if (one === "bad" || most >= end - at) {
        throw new UserError(`bank: expected a whole record at byte ${at} of ${end}, got damage; use an undamaged copy`);
      }
      most = Math.min(Math.max(one.needs, most), end - at);
    }
  };
  add(bytes);

  return {
    bytes: () => end,
    append: (bodies) =>
      frameRecords(bodies).map((record) => {
        add(record);
        return { at: end - record.length, size: record.length };
      }),
    read: (places) => places.map(({ at, size }) => recordAt(at, size)),
    *scan() {
      for (let at = 0; at < end; ) {
        const one = recordAt(at, 8);
        yield one;
        at += one.size;
      }
    },
  };
}
