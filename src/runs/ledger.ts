/**
 * The write ledger of a memory: a folder with one SQLite file that holds every fact ever written, with its key and
 * value, and an append-only history of what became of it. It is the truth; the memory's state is computed from it.
 * It knows no method: what a key is, and what a memory does with it, is the memory's own.
 */
import { randomUUID } from "node:crypto";
import { readdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { errorCode, isObject, readError } from "../checkpoint/files.ts";
import { UserError } from "../errors.ts";
import { type Database, openDatabase } from "./database.ts";
import { type LedgerHistory, ledgerHistory } from "./ledger-history.ts";
import { ledgerDatabase } from "./ledger-migrations.ts";
import { type LedgerRows, ledgerRows } from "./ledger-rows.ts";

/** What a memory belongs to, name by name: hashes of the base model and the module, the sizes of the memory. */
export type Identity = Readonly<Record<string, string>>;

export interface LedgerOptions {
  /** What the memory must belong to. Without it the ledger must be there already. */
  readonly identity?: Identity;
  readonly clock?: () => number;
  /** "process" is quicker and survives any crash but that of the machine. */
  readonly durability?: "power" | "process";
}

/** What is kept of a memory beside its facts: how the user named what it was made with, its bank, entries at most. */
export type Note = "made" | "bank" | "limit";

export interface Ledger extends LedgerHistory {
  readonly folder: string;
  /** Path of the database. */
  readonly file: string;
  readonly identity: Identity;
  /** Given when the ledger was made; copies keep it. */
  readonly origin: string;
  readonly clock: () => number;
  readonly db: Database;
  readonly rows: LedgerRows;
  /** A note as it was last put; undefined where there is none. */
  note(name: Note): unknown;
  putNote(name: Note, value: unknown): void;
  dropNote(name: Note): void;
  /** Throws where the file is no longer the one that was opened: what is written now would be lost. */
  requirePresent(): void;
  close(): void;
}

export const ledgerName = "ledger.db";

const short = (value: string | undefined): string =>
  value === undefined ? "nothing" : value.length > 20 ? `${value.slice(0, 16)}...` : value;

/** Refuses a memory that belongs to something else, naming the first difference. */
export function requireIdentity(caller: string, where: string, found: Identity, wanted: Identity): void {
  const name = [...new Set([...Object.keys(wanted), ...Object.keys(found)])].find((key) => found[key] !== wanted[key]);
  if (name === undefined) return;
  throw new UserError(
    `${caller}: expected a memory of ${name} ${short(wanted[name])}, got ${where} of ${name} ${short(found[name])}; use ` +
      "the model and module it was written with, or another memory",
  );
}

/** Refuses a folder that is somebody else's or has lost its ledger. True when there is a ledger. */
function look(folder: string, make: boolean): boolean {
  let names: string[] = [];
  try {
    names = readdirSync(folder);
  } catch (error) {
    if (errorCode(error) === "ENOTDIR") {
      throw new UserError(`openLedger: expected a folder at ${folder}, got a file; name the folder of a memory`);
    }
    if (errorCode(error) !== "ENOENT") throw readError("openLedger", folder, error);
  }
  const visible = names.filter((name) => !name.startsWith("."));
  if (visible.includes(ledgerName)) return true;
  const some = visible.slice(0, 3).join(", ");
  if (visible.some((name) => /^(ledger\.db-|snapshot-|bank$)/.test(name))) {
    throw new UserError(
      `openLedger: expected ${ledgerName} in ${folder}, got only ${some} (half deleted?); put it back, or delete the ` +
        "folder and start again",
    );
  }
  if (visible.length > 0) {
    throw new UserError(`openLedger: expected a memory at ${folder}, got a folder with ${some}; name another folder`);
  }
  if (make) return false;
  throw new UserError(`openLedger: expected a memory at ${folder}, got none; write a fact first, or name its folder`);
}

/** Opens the ledger of a memory folder, making it where there is none and `identity` is given. */
export function openLedger(
  path: string,
  { identity, clock = Date.now, durability = "power" }: LedgerOptions = {},
): Ledger {
  const folder = resolve(path);
  look(folder, identity !== undefined);
  const file = join(folder, ledgerName);
  const now = new Date(clock()).toISOString();
  const db = openDatabase(file, { kind: ledgerDatabase, now, durability, reading: true });
  try {
    const get = db.statement("SELECT value FROM ledger WHERE name = ?");
    const put = db.statement("INSERT OR IGNORE INTO ledger (name, value) VALUES (?, ?)");
    const replace = db.statement("INSERT OR REPLACE INTO ledger (name, value) VALUES (?, ?)");
    if (identity && !get.get("identity")) {
      db.together(() => {
        put.run("origin", randomUUID());
        put.run("identity", JSON.stringify(identity));
      });
    }
    const text = get.get("identity")?.value;
    const found: unknown = typeof text === "string" ? JSON.parse(text) : undefined;
    if (!isObject(found)) {
      throw new UserError(
        `openLedger: expected a memory at ${folder}, got one that was never begun; write a fact first`,
      );
    }
    if (identity) requireIdentity("openLedger", folder, found as Identity, identity);
    const { ino, dev } = statSync(file);
    const rows = ledgerRows(db);
    return {
      ...ledgerHistory(db, rows),
      folder,
      file,
      identity: found as Identity,
      origin: get.get("origin")?.value as string,
      clock,
      db,
      rows,
      note(name) {
        const value = get.get(name)?.value;
        return typeof value === "string" ? (JSON.parse(value) as unknown) : undefined;
      },
      dropNote: (name) => db.statement("DELETE FROM ledger WHERE name = ?").run(name),
      putNote: (name, value) => replace.run(name, JSON.stringify(value)),
      requirePresent() {
        const present = statSync(file, { throwIfNoEntry: false });
        if (present?.ino === ino && present.dev === dev) return;
        throw new UserError(
          `ledger: expected ${file} as it was opened, got ${present ? "another file" : "none"} (deleted or replaced); ` +
            "open the memory again",
        );
      },
      close: () => db.close(),
    };
  } catch (error) {
    db.close();
    throw error;
  }
}
