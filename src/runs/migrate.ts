/**
 * Brings a database to the present tables by an ordered list of named steps. The table `migrations` says which of
 * them a database has behind it; one that has a step nobody here knows is of a newer version, and left alone.
 */
import type { DatabaseSyncInstance as DatabaseSync } from "@photostructure/sqlite";
import { UserError } from "../errors.ts";

export interface Migration {
  readonly name: string;
  readonly sql: string;
}

/** What a database is for, and how errors speak of it. */
export interface DatabaseKind {
  /** For errors: the function that opens it, what it should be, and how another is named (" with --db"). */
  readonly caller: string;
  readonly what: string;
  readonly elsewhere: string;
  /** The way out where the file is damaged. */
  readonly damaged: string;
  readonly steps: readonly Migration[];
}

const tables = (db: DatabaseSync): string[] =>
  (db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all() as { name: string }[]).map(
    ({ name }) => name,
  );

/** Names of the steps behind a database; none for a new one. */
function applied(db: DatabaseSync, path: string, { caller, what, elsewhere }: DatabaseKind): string[] {
  const found = tables(db);
  if (!found.includes("migrations")) {
    if (found.length === 0) return [];
    throw new UserError(
      `${caller}: expected ${what}, got ${path} with other tables (${found.slice(0, 3).join(", ")}); ` +
        `name another file${elsewhere}`,
    );
  }
  return (db.prepare("SELECT name FROM migrations ORDER BY name").all() as { name: string }[]).map(({ name }) => name);
}

/** Brings a database to the present tables, one process at a time. Refuses one that is ahead of this program. */
export function migrate(db: DatabaseSync, path: string, now: string, kind: DatabaseKind): void {
  const { caller, what, elsewhere, steps } = kind;
  const check = (): Migration[] => {
    const done = applied(db, path, kind);
    const unknown = done.find((name) => !steps.some((step) => step.name === name));
    if (unknown !== undefined) {
      throw new UserError(
        `${caller}: expected ${what} of this version of mneme or an older one, got ${path} from a newer version ` +
          `(it has ${unknown}); update mneme, or name another file${elsewhere}`,
      );
    }
    return steps.filter((step) => !done.includes(step.name));
  };
  // Looking first costs no lock: an up-to-date database can be opened while another process writes.
  if (check().length === 0) return;
  db.exec("BEGIN IMMEDIATE");
  try {
    const missing = check();
    db.exec("CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied TEXT NOT NULL) STRICT");
    for (const { name, sql } of missing) {
      db.exec(sql);
      db.prepare("INSERT INTO migrations (name, applied) VALUES (?, ?)").run(name, now);
    }
    db.exec("COMMIT");
  } catch (error) {
    // A full disk has taken the transaction back by itself: what is thrown must be that
    if (db.isTransaction) db.exec("ROLLBACK");
    throw error;
  }
}
