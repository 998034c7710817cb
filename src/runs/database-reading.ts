/**
 * A database where nothing may be written: on a read-only disk, or in somebody else's folder. SQLite's write-ahead log
 * wants files beside the database even for reading, so there are three ways: with them where they are there, without
 * any where the log is empty, and from a copy elsewhere where the log has what the database has not.
 */
import { chmodSync, closeSync, copyFileSync, mkdtempSync, openSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import { DatabaseSync, type DatabaseSyncInstance } from "@photostructure/sqlite";
import { errorCode } from "../checkpoint/files.ts";

/** The write-ahead log and its index, where they are. */
const besides = (path: string) => ["-wal", "-shm"].map((end) => statSync(path + end, { throwIfNoEntry: false }));

/** Is it a file that may not be written to? Its folder may not be either, and that shows only in the attempt. */
export function isReadOnly(path: string): boolean {
  try {
    closeSync(openSync(path, "r+"));
    return false;
  } catch (error) {
    return ["EACCES", "EPERM", "EROFS"].includes(errorCode(error) ?? "");
  }
}

export interface Reading {
  readonly db: DatabaseSyncInstance;
  close(): void;
}

/** Opens it as it is. `prepare` looks at it first; what it throws ends the reading. */
function inPlace(path: string, prepare: (db: DatabaseSyncInstance) => void): Reading | undefined {
  const [log, index] = besides(path);
  if (log && log.size > 0 && !index) return undefined;
  const db = new DatabaseSync(log && index ? path : `${pathToFileURL(path).href}?immutable=1`, { readOnly: true });
  try {
    prepare(db);
    return { db, close: () => db.close() };
  } catch (error) {
    db.close();
    throw error;
  }
}

/** Opens a copy of it, which may be brought to the present tables and goes when it is closed. */
function copied(path: string, prepare: (db: DatabaseSyncInstance) => void): Reading {
  const folder = mkdtempSync(join(tmpdir(), "mneme-reading-"));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  try {
    const copy = join(folder, basename(path));
    for (const end of besides(path)[0] ? ["", "-wal"] : [""]) {
      copyFileSync(path + end, copy + end);
      chmodSync(copy + end, 0o600); // the mode is copied too
    }
    const db = new DatabaseSync(copy);
    const close = (): void => {
      db.close();
      remove();
    };
    try {
      prepare(db);
      return { db, close };
    } catch (error) {
      db.close();
      throw error;
    }
  } catch (error) {
    remove();
    throw error;
  }
}

/** Opens a read-only database; `isOutdated` says of an error of `prepare` that it wanted to write. */
export function openReading(
  path: string,
  prepare: (db: DatabaseSyncInstance) => void,
  isOutdated: (error: unknown) => boolean,
): Reading {
  try {
    const found = inPlace(path, prepare);
    if (found) return found;
  } catch (error) {
    if (!isOutdated(error)) throw error;
  }
  return copied(path, prepare);
}
