/**
 * Text files as they come from a user: read whole, checked to be UTF-8 text, with errors that name the byte offset.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { UserError } from "../errors.ts";

export interface TextFile {
  readonly path: string;
  readonly text: string;
  /** Size on disk. */
  readonly bytes: number;
  readonly sha256: string;
}

/** Offset where the first character begins that is not UTF-8, by bisection over prefixes. */
function invalidOffset(data: Uint8Array): number {
  // A stream holds back a cut character at the end, so the text's length is the offset of what is wrong behind it.
  const decode = (end: number) =>
    new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data.subarray(0, end), { stream: true });
  let good = 0;
  let bad = data.length;
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    try {
      decode(middle);
      good = middle;
    } catch {
      bad = middle;
    }
  }
  return Buffer.byteLength(decode(good));
}

/** Checks bytes to be non-empty UTF-8 text without NUL and decodes them; a byte order mark is dropped. */
export function decodeText(path: string, data: Uint8Array): string {
  const expected = `readTextFile: expected UTF-8 text in ${path}`;
  const nul = data.indexOf(0);
  if (nul >= 0) {
    throw new UserError(`${expected}, got a zero byte at offset ${nul} (a binary file?); convert it to plain text`);
  }
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(data);
  } catch {
    const offset = invalidOffset(data);
    const byte = data[offset].toString(16).padStart(2, "0");
    throw new UserError(`${expected}, got an invalid byte 0x${byte} at offset ${offset}; convert the file to UTF-8`);
  }
  if (text.trim() === "") {
    throw new UserError(`${expected}, got an empty file (${data.length} bytes); leave it out or give it text`);
  }
  return text;
}

/** Reads one text file. */
export async function readTextFile(path: string): Promise<TextFile> {
  const data = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    const reason =
      error.code === "ENOENT" ? "no such file" : error.code === "EISDIR" ? "a folder" : (error.code ?? error.message);
    throw new UserError(`readTextFile: expected a text file at ${path}, got ${reason}; check the path`);
  });
  return {
    path,
    text: decodeText(path, data),
    bytes: data.length,
    sha256: createHash("sha256").update(data).digest("hex"),
  };
}
