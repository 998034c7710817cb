/** Text files as the user gives them: strict UTF-8, not empty, not binary; every fault named with its byte offset. */
import { readFile } from "node:fs/promises";
import { UserError } from "../errors.ts";
import { readError } from "./files.ts";

/** Reads a UTF-8 text file. A byte order mark at the start is dropped; line ends stay as they are. */
export async function readTextFile(path: string): Promise<string> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    throw readError("readTextFile", path, error);
  }
  const mark = bytes.length >= 3 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  if (bytes.length === (mark ? 3 : 0))
    throw new UserError(`readTextFile: expected text in ${path}, got an empty file; name another`);
  const zero = bytes.indexOf(0);
  if (zero >= 0) {
    throw new UserError(
      `readTextFile: expected text in ${path}, got a NUL byte at byte ${zero}; ` +
        `is it binary, or UTF-16? Convert it to UTF-8`,
    );
  }
  const bad = firstInvalidUtf8(bytes);
  if (bad !== undefined) {
    const byte = bytes[bad].toString(16).padStart(2, "0");
    throw new UserError(
      `readTextFile: expected UTF-8 in ${path}, got an invalid sequence (0x${byte}) at byte ${bad}; ` +
        `convert it to UTF-8`,
    );
  }
  return bytes.toString("utf8", mark ? 3 : 0);
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
