/**
 * What a bank keeps of a document, as bytes: id, time, codebook version, retrieval key, packed indices; and of a
 * deletion, the id. Widths are not repeated in each entry: they stand once in the bank's settings and its codebooks.
 */
import { float16ToFloat32, float32ToFloat16 } from "../checkpoint/half.ts";
import { UserError } from "../errors.ts";
import { packBits, packedBytes, unpackBits } from "./bits.ts";
import { bitsOfIndex, checkIndices, type Quantizer } from "./codebook.ts";
import { readVarint, unzigzag, varint, zigzag } from "./varint.ts";

/** How retrieval keys are stored: 0 numbers is none. */
export interface KeyFormat {
  readonly width: number;
  readonly bits: 4 | 8 | 16 | 32;
}

/** A key in 4 or 8 bits a number is whole steps of a float16 scale of its own; in more, its numbers. */
export const inSteps = ({ bits }: Pick<KeyFormat, "bits">): boolean => bits <= 8;

export interface BankEntry {
  /** Several entries may share a document: its chunks. */
  readonly document: string;
  /** A whole number: milliseconds, a step of a stream. */
  readonly time: number;
  /** For retrieval; as many numbers as the bank's key format says. */
  readonly key: Float32Array;
  /** The codebook that the indices point into. */
  readonly version: number;
  readonly indices: Uint32Array;
}

/** Bits that the parts of an entry fill. */
export interface EntryBits {
  readonly indices: number;
  readonly keys: number;
  readonly ids: number;
  readonly times: number;
  /** Bytes of one stored record in all, so that what is left is its frame: lengths, version, checksum, spare bits. */
  readonly all: number;
}

const [entryKind, deletionKind] = [1, 2];
/** A document id in UTF-8; an id is a name, not the text. */
export const mostIdBytes = 4096;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const keyBytes = ({ width, bits }: KeyFormat): number =>
  packedBytes(width, bits) + (inSteps({ bits }) && width > 0 ? 2 : 0);

const bytesOf = (array: Float32Array | Uint16Array): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

/** The largest step: of 4 bits 7, of 8 bits 127. */
const mostSteps = (bits: number): number => 2 ** (bits - 1) - 1;

/** A key in steps of one scale, which is float16. */
export function keySteps(
  key: Float32Array,
  bits: number,
): {
  readonly half: Uint16Array;
  readonly scale: number;
  readonly steps: Int8Array;
} {
  // Plain loops: a bank adds a million keys
  let most = 0;
  for (let i = 0; i < key.length; i++) most = Math.max(most, Math.abs(key[i]));
  const end = mostSteps(bits);
  const half = float32ToFloat16(Float32Array.of(most / end));
  const [scale] = float16ToFloat32(half);
  const steps = new Int8Array(key.length);
  for (let i = 0; scale > 0 && i < key.length; i++) {
    steps[i] = Math.max(-end, Math.min(end, Math.round(key[i] / scale)));
  }
  return { half, scale, steps };
}

/** A key as bytes. */
function packKey(key: Float32Array, { width, bits }: KeyFormat): Uint8Array {
  if (key.length !== width) {
    throw new UserError(`bank: expected a key of ${width} numbers, got ${key.length}; use the bank's encoder`);
  }
  let bytes = bytesOf(key);
  if (bits === 16) bytes = bytesOf(float32ToFloat16(key));
  if (inSteps({ bits }) && width > 0) {
    const { half, steps } = keySteps(key, bits);
    // The lowest bits of a step, its sign among them
    const low = Uint8Array.from(steps, (step) => step & (2 ** bits - 1));
    bytes = Buffer.concat([bytesOf(half), packBits(low, bits)]);
  }
  const bad = unpackKey(bytes, { width, bits }).findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) {
    throw new UserError(
      `bank: expected keys of finite numbers within the range of ${bits} bits, got ${key[bad]} at ${bad}; ` +
        "normalise the key",
    );
  }
  return bytes;
}

function unpackKey(bytes: Uint8Array, { width, bits }: KeyFormat): Float32Array {
  const own = new Uint8Array(bytes); // where the bytes lie need not suit their type
  if (width === 0) return new Float32Array();
  if (bits === 32) return new Float32Array(own.buffer);
  if (bits === 16) return float16ToFloat32(new Uint16Array(own.buffer));
  const [scale] = float16ToFloat32(new Uint16Array(own.buffer, 0, 1));
  const low = unpackBits(own.subarray(2), bits, width);
  const key = new Float32Array(width);
  for (let i = 0; i < width; i++) key[i] = ((low[i] << (32 - bits)) >> (32 - bits)) * scale;
  return key;
}

/** A key as it is read back. */
export const storedKey = (key: Float32Array, format: KeyFormat): Float32Array =>
  unpackKey(packKey(key, format), format);

function packId(document: string): Uint8Array {
  const id = Buffer.from(document);
  if (id.length === 0 || id.length > mostIdBytes || id.toString() !== document) {
    throw new UserError(
      `bank: expected a document id of 1 to ${mostIdBytes} bytes of text, got ${id.length} bytes; give it a short name`,
    );
  }
  return id;
}

/** Everything about an entry that could be wrong is found here, before anything is written. */
export function packEntry(entry: BankEntry, quantizer: Quantizer, keys: KeyFormat): Uint8Array {
  const { document, time, key, version, indices } = entry;
  const id = packId(document);
  if (!Number.isSafeInteger(time) || !Number.isSafeInteger(2 * time)) {
    throw new UserError(
      `bank: expected a whole number as the time of "${document}", got ${time}; count steps or milliseconds`,
    );
  }
  const { positions, codebook } = quantizer;
  if (indices.length !== positions) {
    throw new UserError(
      `bank: expected ${positions} indices for "${document}", got ${indices.length}; give one entry at a time`,
    );
  }
  checkIndices("bank.append", indices, codebook, positions);
  return Buffer.concat([
    Uint8Array.from([entryKind, ...varint(id.length)]),
    id,
    Uint8Array.from([...varint(zigzag(time)), ...varint(version)]),
    packKey(key, keys),
    packBits(indices, bitsOfIndex(codebook.codes)),
  ]);
}

/** An entry in the codes of another version: what it stands for, quantised again. */
export const recoded = (
  { indices }: Pick<BankEntry, "indices">,
  from: Quantizer,
  to: Quantizer,
  version: number,
): Pick<BankEntry, "version" | "indices"> => ({ version, indices: to.encode(from.decode(indices)).indices });

export const packDeletion = (document: string): Uint8Array => {
  const id = packId(document);
  return Buffer.concat([Uint8Array.from([deletionKind, ...varint(id.length)]), id]);
};

/** What is needed to know what is live: read without the key and the indices. */
export interface RecordHead {
  readonly deletion: boolean;
  readonly document: string;
  readonly time: number;
  readonly version: number;
  /** Where the key begins. */
  readonly at: number;
}

/** The head of a record, or undefined where the bytes are none. */
export function readHead(body: Uint8Array): RecordHead | undefined {
  const length = readVarint(body, 1);
  if (length === undefined || (body[0] !== entryKind && body[0] !== deletionKind)) return undefined;
  let at = 1 + length.size + length.value;
  if (at > body.length || length.value === 0 || length.value > mostIdBytes) return undefined;
  let document: string;
  try {
    document = utf8.decode(body.subarray(at - length.value, at));
  } catch {
    return undefined;
  }
  if (body[0] === deletionKind) return { deletion: true, document, time: 0, version: 0, at };
  const time = readVarint(body, at);
  const version = time && readVarint(body, at + time.size);
  if (!time || !version) return undefined;
  at += time.size + version.size;
  return { deletion: false, document, time: unzigzag(time.value), version: version.value, at };
}

/** The entry of a record with its head. */
export function readEntry(body: Uint8Array, head: RecordHead, quantizer: Quantizer, keys: KeyFormat): BankEntry {
  const { document, time, version, at } = head;
  const { positions, codebook } = quantizer;
  const bits = bitsOfIndex(codebook.codes);
  const keyEnd = at + keyBytes(keys);
  const end = keyEnd + packedBytes(positions, bits);
  if (end !== body.length) {
    throw new UserError(
      `bank: expected an entry of ${end} bytes for "${document}", got ${body.length}; the settings are another bank's`,
    );
  }
  const indices = unpackBits(body.subarray(keyEnd), bits, positions);
  checkIndices(`bank ("${document}")`, indices, codebook, positions);
  return { document, time, version, key: unpackKey(body.subarray(at, keyEnd), keys), indices };
}

export function entryBits(
  { document, time }: Pick<BankEntry, "document" | "time">,
  quantizer: Quantizer,
  keys: KeyFormat,
  recordBytes: number,
): EntryBits {
  return {
    indices: quantizer.positions * bitsOfIndex(quantizer.codebook.codes),
    keys: 8 * keyBytes(keys),
    ids: 8 * Buffer.byteLength(document),
    times: 8 * varint(zigzag(time)).length,
    all: 8 * recordBytes,
  };
}
