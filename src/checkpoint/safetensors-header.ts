/**
 * The header of a safetensors file, checked to the last byte: 8 bytes of length (little-endian), then JSON that maps
 * each tensor's name to dtype, shape and byte range, padded with spaces; the ranges must cover the data exactly.
 * https://github.com/huggingface/safetensors#format
 * Pure functions of bytes: the reader and the property tests share them.
 */
import { UserError } from "../errors.ts";
import { isObject, oneLine } from "./files.ts";

/** Bytes per element of every dtype the format knows. Only some can be read: see `safetensors.ts`. */
const storedBytes = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  F8_E4M3: 1,
  F8_E5M2: 1,
  F8_E8M0: 1,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
  C64: 8,
} as const;

export type StoredDType = keyof typeof storedBytes;

/** Where a tensor lies: bytes [begin, end) counted from the first byte after the header. */
export interface TensorInfo {
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

export interface Header {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** The format's own limit. */
const maxHeaderBytes = 100_000_000;

const damaged = "the file is damaged or no safetensors file; download or save it again";

export function headerError(path: string, expected: string, got: string): UserError {
  return new UserError(`safetensors: ${path}: expected ${expected}, got ${got}; ${damaged}`);
}

/** Length of the JSON that follows the first 8 bytes. `prefix`: up to 8 bytes; `fileBytes`: size of the file. */
export function parseHeaderLength(prefix: Uint8Array, fileBytes: number, path: string): number {
  if (prefix.length < 8 || fileBytes < 8) {
    throw headerError(path, "at least 8 bytes", `${Math.min(prefix.length, fileBytes)}`);
  }
  const length = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(maxHeaderBytes))
    throw headerError(path, `a header of at most ${maxHeaderBytes} bytes`, `${length}`);
  if (Number(length) > fileBytes - 8) {
    throw headerError(path, `a header within the file's ${fileBytes} bytes`, `a header of ${length} bytes`);
  }
  return Number(length);
}

/** Parses and checks the JSON. `dataBytes`: how many bytes of the file follow it. */
export function parseHeader(json: Uint8Array, dataBytes: number, path: string): Header {
  if (json[0] !== 0x7b)
    throw headerError(path, 'a header that begins with "{"', json.length === 0 ? "none" : "other bytes");
  let text: string;
  let header: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(json);
    header = JSON.parse(text);
  } catch (error) {
    throw headerError(path, "a header in JSON", error instanceof Error ? oneLine(error.message) : "other bytes");
  }
  if (!isObject(header)) throw headerError(path, "a JSON object", "something else");
  const repeated = findDuplicateKey(text);
  if (repeated !== undefined) throw headerError(path, "every key once", `"${oneLine(repeated, 80)}" twice`);
  const tensors = new Map<string, TensorInfo>();
  for (const [name, entry] of Object.entries(header)) {
    if (name !== "__metadata__") tensors.set(name, parseEntry(name, entry, path));
  }
  checkCoverage(tensors, dataBytes, path);
  return { tensors, metadata: parseMetadata(header.__metadata__, path) };
}

function parseEntry(name: string, entry: unknown, path: string): TensorInfo {
  const label = `tensor "${oneLine(name, 80)}"`;
  if (!isObject(entry)) throw headerError(path, `${label} to be an object`, short(entry));
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== "string" || !Object.hasOwn(storedBytes, dtype)) {
    throw headerError(path, `${label} of a known dtype (${Object.keys(storedBytes).join(", ")})`, short(dtype));
  }
  if (!isSizes(shape)) throw headerError(path, `${label} with a shape of whole numbers >= 0`, short(shape));
  if (!isSizes(offsets) || offsets.length !== 2 || offsets[0] > offsets[1]) {
    throw headerError(path, `${label} with data_offsets [begin, end]`, short(offsets));
  }
  const stored = dtype as StoredDType;
  let bytes: number = storedBytes[stored];
  for (const size of shape) {
    bytes *= size;
    if (!Number.isSafeInteger(bytes)) throw headerError(path, `${label} of a size below 2^53`, `shape ${short(shape)}`);
  }
  const [begin, end] = offsets;
  if (end - begin !== bytes) {
    throw headerError(path, `${label} of ${bytes} bytes (${stored} ${short(shape)})`, `${end - begin} bytes`);
  }
  return { dtype: stored, shape, begin, end };
}

/** Ranges in order must touch: no overlap, no hole, nothing after the last. */
function checkCoverage(tensors: ReadonlyMap<string, TensorInfo>, dataBytes: number, path: string): void {
  const ordered = [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let at = 0;
  for (const [name, { begin, end }] of ordered) {
    if (begin !== at) {
      const what = begin < at ? "an overlap" : "a hole";
      throw headerError(path, `tensor "${oneLine(name, 80)}" to begin at byte ${at}`, `${begin} (${what})`);
    }
    at = end;
  }
  if (at > dataBytes) throw headerError(path, `${at} bytes of data`, `${dataBytes} (truncated)`);
  if (at < dataBytes) throw headerError(path, `${at} bytes of data`, `${dataBytes} (${dataBytes - at} trailing bytes)`);
}

function parseMetadata(value: unknown, path: string): Readonly<Record<string, string>> {
  if (value === undefined || value === null) return {};
  if (!isObject(value)) throw headerError(path, "__metadata__ to be an object", short(value));
  for (const [key, entry] of Object.entries(value)) {
    if (typeof entry !== "string")
      throw headerError(path, `__metadata__ "${oneLine(key, 40)}" to be a string`, short(entry));
  }
  return value as Record<string, string>;
}

const isSizes = (value: unknown): value is readonly number[] =>
  Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0 && !Object.is(size, -0));

const short = (value: unknown): string => oneLine(JSON.stringify(value) ?? "nothing", 60);

/**
 * A key that occurs twice in one object of `text`, which must be valid JSON (JSON.parse keeps the last silently).
 * One pass over strings and brackets; a string followed by a colon is a key.
 */
function findDuplicateKey(text: string): string | undefined {
  const open: (Set<string> | undefined)[] = [];
  const pattern = /"(?:[^"\\]|\\.)*"(\s*:)?|[{}[\]]/g;
  for (let match = pattern.exec(text); match !== null; match = pattern.exec(text)) {
    const token = match[0];
    if (token === "{") open.push(new Set());
    else if (token === "[") open.push(undefined);
    else if (token === "}" || token === "]") open.pop();
    else if (match[1] !== undefined) {
      const key: string = JSON.parse(token.slice(0, token.length - match[1].length));
      const keys = open.at(-1);
      if (keys?.has(key)) return key;
      keys?.add(key);
    }
  }
  return undefined;
}

/** Header bytes for tensors in file order: length, JSON, spaces up to a multiple of 8. */
export function formatHeader(
  tensors: Iterable<readonly [string, TensorInfo]>,
  metadata: Readonly<Record<string, string>> | undefined,
): Uint8Array {
  const entries: [string, unknown][] = [];
  if (metadata !== undefined && Object.keys(metadata).length > 0) {
    const sorted = Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1));
    entries.push(["__metadata__", Object.fromEntries(sorted)]);
  }
  for (const [name, { dtype, shape, begin, end }] of tensors)
    entries.push([name, { dtype, shape, data_offsets: [begin, end] }]);
  // Not Object.fromEntries: it would move integer-like names to the front and lose "__proto__".
  const json = `{${entries.map(([name, entry]) => `${JSON.stringify(name)}:${JSON.stringify(entry)}`).join(",")}}`;
  const body = Buffer.from(json);
  const padded = Math.ceil(body.length / 8) * 8;
  if (padded > maxHeaderBytes)
    throw new UserError(
      `writeSafetensors: expected a header of at most ${maxHeaderBytes} bytes, got ${padded}; write several files`,
    );
  const bytes = new Uint8Array(8 + padded).fill(0x20, 8 + body.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(padded), true);
  bytes.set(body, 8);
  return bytes;
}
