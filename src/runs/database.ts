/**
 * SQLite as this project uses it: a write-ahead log, patience with other processes, short transactions, and errors of
 * the user's world (full disk, damaged file, no permission) as one line. What the tables are, others say.
 */
import { existsSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync, type DatabaseSyncInstance } from "@photostructure/sqlite";
import { errorCode } from "../checkpoint/files.ts";
import { UserError } from "../errors.ts";
import { isReadOnly, openReading, type Reading } from "./database-reading.ts";
import { type DatabaseKind, migrate } from "./migrate.ts";

export type Row = Record<string, unknown>;
export type SqlValue = null | number | string | Uint8Array;

interface Statement {
  all(...values: SqlValue[]): Row[];
  /** Row after row, for many. */
  each(...values: SqlValue[]): IterableIterator<Row>;
  get(...values: SqlValue[]): Row | undefined;
  run(...values: SqlValue[]): void;
}

export interface Database {
  readonly path: string;
  /** It may not be written to, and was opened for reading. */
  readonly readOnly: boolean;
  /** Throws where it is for reading only. */
  requireWritable(): void;
  exec(sql: string): void;
  statement(sql: string): Statement;
  /** All or nothing, and alone: other writers wait for the end of `work`, and see all of it or nothing. */
  together<T>(work: () => T): T;
  /** One moment of the database for several reads. */
  atOnce<T>(work: () => T): T;
  close(): void;
}

export interface DatabaseOptions {
  readonly kind: DatabaseKind;
  /** For the table of migrations: ISO 8601. */
  readonly now: string;
  /** "power": a commit survives the machine going off. "process": it survives any death of the process. */
  readonly durability: "power" | "process";
  /** Where it may not be written to, it is opened for reading. Off by default: then that is an error. */
  readonly reading?: boolean;
}

/** Milliseconds to wait for another process that is writing. */
const patience = 20_000;

const sqliteCode = (error: unknown): number | undefined =>
  typeof error === "object" && error !== null && "errcode" in error && typeof error.errcode === "number"
    ? error.errcode & 0xff
    : undefined;

/** SQLite's result codes that a user can do something about. */
function reasonOf(code: number | undefined, { damaged, elsewhere }: DatabaseKind): string | undefined {
  if (code === 5) return "a lock that another process did not give back; wait for it to end, or stop it";
  if (code === 8) return `a read-only file; choose a place you may write to${elsewhere}`;
  if (code === 10) return "an input/output error of the disk; make room if it is full, else check it";
  if (code === 11) return `a damaged file; ${damaged}`;
  if (code === 13) return "a full disk; make room and try again";
  if (code === 14) return "a file that cannot be opened; check the path and its permissions";
  if (code === 26) return `a file that is no database; ${damaged}`;
  return undefined;
}

/** Switching to the write-ahead log needs the file alone for a moment, and SQLite does not wait for that by itself. */
function useWriteAheadLog(db: DatabaseSyncInstance): void {
  const until = Date.now() + patience;
  for (;;) {
    try {
      db.prepare("PRAGMA journal_mode = WAL").get();
      return;
    } catch (error) {
      if (sqliteCode(error) !== 5 || Date.now() > until) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5 + Math.random() * 20);
    }
  }
}

interface Connection extends Reading {
  readonly readOnly: boolean;
}

function connect(path: string, options: DatabaseOptions): Connection {
  const { kind, now, reading = false } = options;
  const forReading = (): Connection => {
    const prepare = (db: DatabaseSyncInstance): void => migrate(db, path, now, kind);
    return { ...openReading(path, prepare, (error) => sqliteCode(error) === 8), readOnly: true };
  };
  if (reading && isReadOnly(path)) return forReading();
  try {
    return connectWriting(path, options);
  } catch (error) {
    // A file in a folder that takes no log
    if (!reading || ![8, 14].includes(sqliteCode(error) ?? 0) || !existsSync(path)) throw error;
    return forReading();
  }
}

function connectWriting(path: string, { kind, now, durability }: DatabaseOptions): Connection {
  try {
    mkdirSync(dirname(path), { recursive: true });
  } catch (error) {
    const code = errorCode(error);
    if (code === undefined) throw error;
    throw new UserError(`${kind.caller}: expected to create the folder of ${path}, got ${code}; choose another place`);
  }
  const db = new DatabaseSync(path, { timeout: patience, enableForeignKeyConstraints: true });
  try {
    // The write-ahead log is a property of the file; a fresh file gets it before its tables.
    const tables = db.prepare("SELECT count(*) AS count FROM sqlite_schema").get() as { count: number };
    if (tables.count === 0) useWriteAheadLog(db);
    // First of all, because it writes nothing into a file that is not ours
    migrate(db, path, now, kind);
    useWriteAheadLog(db);
    db.exec(`PRAGMA synchronous = ${durability === "power" ? "FULL" : "NORMAL"}`);
    return { db, readOnly: false, close: () => db.close() };
  } catch (error) {
    db.close();
    throw error;
  }
}

/** Opens the database at `path` and brings its tables up to date; makes file and folder if there are none. */
export function openDatabase(path: string, options: DatabaseOptions): Database {
  const guarded = <T>(work: () => T): T => {
    try {
      return work();
    } catch (error) {
      const reason = reasonOf(sqliteCode(error), options.kind);
      if (error instanceof UserError || reason === undefined) throw error;
      throw new UserError(`${options.kind.caller}: expected to use the database ${path}, got ${reason}`);
    }
  };
  const { db, readOnly, close } = guarded(() => connect(path, options));
  const requireWritable = (): void => {
    if (!readOnly) return;
    const { caller, what } = options.kind;
    throw new UserError(
      `${caller}: expected ${what} that may be written to, got ${path}, which is read-only; copy its folder to a place ` +
        "you may write to",
    );
  };
  const transaction = <T>(begin: string, work: () => T): T => {
    guarded(() => db.exec(begin));
    try {
      const result = work();
      guarded(() => db.exec("COMMIT"));
      return result;
    } catch (error) {
      // A full disk has taken the transaction back by itself: what is thrown must be that
      if (db.isTransaction) db.exec("ROLLBACK");
      throw error;
    }
  };
  return {
    path,
    readOnly,
    requireWritable,
    exec: (sql) => guarded(() => db.exec(sql)),
    statement(sql) {
      const prepared = guarded(() => db.prepare(sql));
      return {
        all: (...values) => guarded(() => prepared.all(...values)) as Row[],
        *each(...values) {
          const rows = guarded(() => prepared.iterate(...values)) as IterableIterator<Row>;
          try {
            for (let next = guarded(() => rows.next()); !next.done; next = guarded(() => rows.next())) yield next.value;
          } finally {
            rows.return?.();
          }
        },
        get: (...values) => guarded(() => prepared.get(...values)) as Row | undefined,
        run: (...values) => void guarded(() => prepared.run(...values)),
      };
    },
    together(work) {
      requireWritable();
      return transaction("BEGIN IMMEDIATE", work);
    },
    atOnce: (work) => transaction("BEGIN", work),
    close() {
      // Closing would do this, if this SQLite could end its prepared statements: the file is whole without its log
      try {
        if (!readOnly) db.exec("PRAGMA wal_checkpoint(PASSIVE)");
      } catch {
        // The log has everything; whoever opens the file next takes it from there.
      }
      close();
    },
  };
}
