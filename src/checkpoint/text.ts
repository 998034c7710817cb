/** Text files as the user gives them: strict UTF-8, not empty, not binary; every fault named with its byte offset. */
import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { UserError } from "../errors.ts";
import { readError } from "./files.ts";

export interface TextFile {
  readonly path: string;
  readonly text: string;
  /** Size on disk. */
  readonly bytes: number;
  readonly sha256: string;
}

/** Bytes of a text in UTF-8. */
export const byteLength = (text: string): number => Buffer.byteLength(text, "utf8");

/** Checks bytes to be text in UTF-8 and decodes them. A byte order mark at the start is dropped; line ends stay. */
function decodeText(path: string, bytes: Uint8Array): string {
  const expected = `readTextFile: expected UTF-8 text in ${path}`;
  const zero = bytes.indexOf(0);
  if (zero >= 0) {
    throw new UserError(`${expected}, got a NUL byte at offset ${zero}; is it binary, or UTF-16? Convert it to UTF-8`);
  }
  const bad = firstInvalidUtf8(bytes);
  if (bad !== undefined) {
    const byte = bytes[bad].toString(16).padStart(2, "0");
    throw new UserError(`${expected}, got an invalid byte 0x${byte} at offset ${bad}; convert the file to UTF-8`);
  }
  const text = new TextDecoder().decode(bytes);
  if (text.trim() === "") {
    throw new UserError(`${expected}, got an empty file (${bytes.length} bytes); leave it out or give it text`);
  }
  return text;
}

/** Reads one text file. */
export async function readTextFile(path: string): Promise<TextFile> {
  const refuse = (error: unknown): never => {
    throw readError("readTextFile", path, error);
  };
  // A device such as /dev/zero never ends
  const kind = await stat(path).catch(refuse);
  if (kind.isCharacterDevice() || kind.isBlockDevice()) {
    throw new UserError(`readTextFile: expected a text file at ${path}, got a device; name a file`);
  }
  const data = await readFile(path).catch(refuse);
  const sha256 = createHash("sha256").update(data).digest("hex");
  return { path, text: decodeText(path, data), bytes: data.length, sha256 };
}

/** Offset of the first byte that begins no well-formed sequence (Unicode, table 3-7); undefined when all is well. */
export function firstInvalidUtf8(bytes: Uint8Array): number | undefined {
  const follows = (at: number, low = 0x80, high = 0xbf): boolean => bytes[at] >= low && bytes[at] <= high;
  for (let at = 0; at < bytes.length; ) {
    const lead = bytes[at];
    let length = 1;
    if (lead >= 0x80) {
      if (lead < 0xc2 || lead > 0xf4) return at;
      length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
      // The second byte rules out overlong forms, surrogates and values above U+10FFFF.
      const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
      const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
      if (!follows(at + 1, low, high)) return at;
      for (let i = 2; i < length; i++) if (!follows(at + i)) return at;
    }
    at += length;
  }
  return undefined;
}
