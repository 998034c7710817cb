/**
 * Downloads one file so that it can be trusted: into `<target>.incomplete`, continued there by a Range request when an
 * earlier attempt broke off, compared with the hash that the hub announced, and only then renamed to its name.
 * (The hub library's own download starts afresh each time and compares nothing.)
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { open, rename, rm, stat } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { UserError } from "../errors.ts";
import { errorCode, oneLine, writeError } from "./files.ts";

export interface DownloadRequest {
  readonly url: string;
  /** The file's name, for messages. */
  readonly name: string;
  /** Where it goes; its folder must exist. */
  readonly target: string;
  readonly bytes: number;
  /** SHA-256 (64 digits), or the git blob's SHA-1 (40 digits), in lower-case hexadecimal. */
  readonly hash: string;
  readonly fetch: typeof fetch;
  readonly signal?: AbortSignal;
  /** Bytes of this file that are on the disk now, those of earlier attempts included. */
  readonly onProgress?: (bytes: number) => void;
  /** Pauses before the attempts that follow one without any new byte. */
  readonly retryMs?: readonly number[];
}

/** The server answered, and the answer is no. */
export class HttpError extends Error {
  readonly status: number;
  constructor(status: number, url: string) {
    super(`HTTP ${status} from ${url}`);
    this.status = status;
  }
}

/** Fetches, continues, verifies, renames. After a failure the partial file stays for the next attempt. */
export async function download(request: DownloadRequest): Promise<void> {
  const { name, target, bytes, retryMs = [500, 2000] } = request;
  const partial = `${target}.incomplete`;
  let have = await sizeOf(partial);
  for (let barren = 0; have !== bytes; ) {
    if (have !== undefined && have > bytes) {
      await rm(partial, { force: true });
      have = undefined;
    }
    let reason: string;
    try {
      await fetchRest(request, partial, have ?? 0);
      reason = "too few bytes";
    } catch (error) {
      if (request.signal?.aborted || error instanceof UserError || (error instanceof HttpError && error.status < 500))
        throw error;
      reason = describe(error);
    }
    const now = await sizeOf(partial);
    if (now === bytes) break;
    barren = (now ?? 0) > (have ?? 0) ? 0 : barren + 1;
    have = now;
    if (barren > retryMs.length) {
      throw new UserError(
        `download: expected ${bytes} bytes of ${name}, got ${now ?? 0} (${reason}); ` +
          `check the connection and run again: it continues there`,
      );
    }
    if (barren > 0) await sleep(retryMs[barren - 1], undefined, { signal: request.signal });
  }
  const got = await blobHash(partial, bytes, request.hash.length === 40 ? "sha1" : "sha256");
  if (got !== request.hash) {
    await rm(partial, { force: true });
    throw new UserError(
      `download: expected ${name} with checksum ${request.hash}, got ${got}; the corrupted file was deleted, run again`,
    );
  }
  await rename(partial, target);
}

/** Appends what is missing from byte `from` on; a server that ignores the range starts the file anew. */
async function fetchRest(request: DownloadRequest, partial: string, from: number): Promise<void> {
  const headers: Record<string, string> = { "Accept-Encoding": "identity" };
  if (from > 0) headers.Range = `bytes=${from}-`;
  const response = await request.fetch(request.url, { headers, signal: request.signal });
  if (response.status === 416) {
    await rm(partial, { force: true });
    return;
  }
  if (!response.ok || response.body === null) {
    await response.body?.cancel();
    throw new HttpError(response.status, request.url);
  }
  const range = /^bytes (\d+)-/.exec(response.headers.get("Content-Range") ?? "");
  const append = response.status === 206 && Number(range?.[1]) === from;
  if (response.status === 206 && !append) {
    await response.body.cancel();
    throw new Error("another range than the one asked for");
  }
  const handle = await openFor(partial, append);
  let at = append ? from : 0;
  try {
    for await (const chunk of response.body) {
      if (at + chunk.length > request.bytes) throw new Error("more bytes than announced");
      await handle.writeFile(chunk).catch((error: unknown) => {
        throw writeError(partial, error);
      });
      at += chunk.length;
      request.onProgress?.(at);
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function openFor(path: string, append: boolean): Promise<FileHandle> {
  return open(path, append ? "a" : "w").catch((error: unknown) => {
    throw writeError(path, error);
  });
}

const sizeOf = (path: string): Promise<number | undefined> =>
  stat(path).then(
    ({ size }) => size,
    () => undefined,
  );

/** SHA-256 of the content, or the SHA-1 that git gives a blob of it. */
async function blobHash(path: string, bytes: number, kind: "sha1" | "sha256"): Promise<string> {
  const hash = createHash(kind);
  if (kind === "sha1") hash.update(`blob ${bytes}\0`);
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk);
  return hash.digest("hex");
}

/** `fetch` hides the reason ("fetch failed") in the error's cause. */
export function describe(error: unknown): string {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  return errorCode(cause) ?? (cause instanceof Error ? oneLine(cause.message, 80) : "an unknown error");
}
