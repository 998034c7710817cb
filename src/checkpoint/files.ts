/**
 * Files that are either whole or absent. Everything the project saves passes through `writeFileAtomic`:
 * a temporary file in the same folder, fsync, rename; after any failure the old file is untouched and the
 * temporary one is gone. Beside it: streamed SHA-256, and reading JSON, checked or not, whose errors are one line.
 */
import { createHash, randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { access, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { z } from "zod";
import { UserError } from "../errors.ts";

type Chunk = Uint8Array | string;
export type Chunks = Chunk | Iterable<Chunk> | AsyncIterable<Chunk>;

/** One write call at most: the system refuses those of 2 GiB and more. */
const writeBytes = 64 << 20;

const reasons: Record<string, string> = {
  ENOSPC: "the disk is full; free some space and try again",
  EDQUOT: "the disk quota is used up; free some space and try again",
  EFBIG: "the file is larger than the file system or the process limit allows; save elsewhere",
  EACCES: "permission denied; choose a place you may write to",
  EPERM: "operation not permitted; choose a place you may write to",
  EROFS: "the file system is read-only; choose another place",
  ENOENT: "the folder does not exist; create it first",
  ENOTDIR: "a part of the path is not a folder; check the path",
  EISDIR: "a folder of that name is in the way; choose another name",
  ENOTEMPTY: "a folder of that name is in the way; choose another name",
  EIO: "the disk reported an input/output error",
};

/** The `code` of a file-system error, such as "ENOENT"; undefined for anything else. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/**
 * Writes `chunks` to `path` so that the path holds either its old content or all of the new one.
 * Chunks may be produced lazily; an error thrown while producing them cleans up and passes through.
 * File-system failures (disk full, no permission, ...) become a `UserError`.
 */
export async function writeFileAtomic(path: string, chunks: Chunks): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.${randomBytes(4).toString("hex")}.tmp`);
  try {
    const handle = await open(temporary, "wx");
    try {
      for await (const chunk of typeof chunks === "string" || chunks instanceof Uint8Array ? [chunks] : chunks) {
        const bytes = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
        for (let at = 0; at < bytes.length; ) {
          at += (await handle.write(bytes, at, Math.min(bytes.length - at, writeBytes))).bytesWritten;
        }
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw writeError(path, error);
  }
  await syncFolder(dirname(path));
}

/** A file-system error while writing `path`, as one line for the user; other errors are returned unchanged. */
export function writeError(path: string, error: unknown): unknown {
  const reason = reasons[errorCode(error) ?? ""];
  return reason === undefined ? error : new UserError(`save: expected to write ${path}, got ${reason}`);
}

/** Makes a rename durable. Not every platform can sync a folder; the file itself is already safe. */
async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, "r");
    await handle.sync().finally(() => handle.close());
  } catch {
    // Windows and some network file systems refuse.
  }
}

/** SHA-256 of a file as lower-case hexadecimal, read as a stream. */
export async function sha256File(path: string): Promise<string> {
  const hash = createHash("sha256");
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk);
  } catch (error) {
    throw readError("sha256File", path, error);
  }
  return hash.digest("hex");
}

export const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

export const isFile = (path: string): Promise<boolean> =>
  stat(path).then(
    (info) => info.isFile(),
    () => false,
  );

export const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    (info) => info.isDirectory(),
    () => false,
  );

export interface EmptyFolder {
  /** For errors: the function or command that wants it, what may be there, and the way out by what was found. */
  readonly caller: string;
  readonly what?: string;
  readonly wayOut?: (found: readonly string[]) => string;
}

/** Refuses a folder in which there is something; one that is not there is as good as empty. */
export async function requireEmptyFolder(
  folder: string,
  { caller, what = "a new or empty folder", wayOut = () => "use another folder" }: EmptyFolder,
): Promise<void> {
  const found = await readdir(folder).catch((error: unknown): string[] => {
    if (errorCode(error) === "ENOENT") return [];
    throw readError(caller, folder, error);
  });
  if (found.length === 0) return;
  const some = found.slice(0, 5).join(", ");
  throw new UserError(`${caller}: expected ${what}, got ${folder} with ${some}; ${wayOut(found)}`);
}

/** A file-system error while reading `path`, as one line for the user; other errors are returned unchanged. */
export function readError(who: string, path: string, error: unknown): unknown {
  const code = errorCode(error);
  if (code === "ENOENT") return new UserError(`${who}: expected a file at ${path}, got nothing there; check the path`);
  if (code === "EISDIR") return new UserError(`${who}: expected a file at ${path}, got a folder; name a file in it`);
  if (code === "EACCES")
    return new UserError(`${who}: expected to read ${path}, got permission denied; check its rights`);
  if (code !== undefined)
    return new UserError(`${who}: expected to read ${path}, got ${code}; check the path and disk`);
  return error;
}

async function readJson(path: string): Promise<unknown> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw readError("readJson", path, error);
  });
  try {
    return JSON.parse(text.startsWith("\uFEFF") ? text.slice(1) : text);
  } catch (error) {
    const detail = error instanceof Error ? oneLine(error.message) : "a syntax error";
    throw new UserError(`readJson: expected JSON in ${path}, got ${detail}; repair or replace the file`);
  }
}

/** Reads and parses a JSON file that must hold an object. Missing, malformed, not an object: one line. */
export async function readJsonObject(path: string): Promise<Record<string, unknown>> {
  const value = await readJson(path);
  if (!isObject(value)) {
    const got = Array.isArray(value) ? "an array" : value === null ? "null" : `a ${typeof value}`;
    throw new UserError(`readJson: expected a JSON object in ${path}, got ${got}; repair or replace the file`);
  }
  return value;
}

export interface CheckedFile {
  /** For errors: the function or command that reads, what the file should hold, and the way out. */
  readonly caller: string;
  readonly what: string;
  readonly wayOut?: string;
}

/** Reads a JSON file by its schema. What does not fit is one line with the file, the field and the way out. */
export async function readChecked<T>(
  path: string,
  schema: z.ZodType<T>,
  { caller, what, wayOut = "delete the folder and start again" }: CheckedFile,
): Promise<T> {
  const parsed = schema.safeParse(await readJson(path));
  if (parsed.success) return parsed.data;
  const [{ path: field, message }] = parsed.error.issues;
  throw new UserError(
    `${caller}: expected ${what} in ${path}, got a wrong or missing ${field.join(".") || "content"}: ` +
      `${oneLine(message)}; ${wayOut}`,
  );
}

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Text from outside made fit for a one-line message. */
export function oneLine(text: string, limit = 160): string {
  const flat = text.replace(/[\s\p{Cc}]+/gu, " ").trim();
  return flat.length > limit ? `${flat.slice(0, limit - 3)}...` : flat;
}
