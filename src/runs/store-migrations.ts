/**
 * The tables of the run store as an ordered list of named steps. A step that has been released never changes: what
 * comes later is a new step at the end. The table `migrations` says which of them a database has behind it.
 */
import type { DatabaseSyncInstance as DatabaseSync } from "@photostructure/sqlite";
import { UserError } from "../errors.ts";

interface Migration {
  readonly name: string;
  readonly sql: string;
}

export const migrations: readonly Migration[] = [
  {
    name: "001-runs",
    // A run may have several seeds: one row here, and events and a result of its own for each seed.
    sql: `
      CREATE TABLE runs (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        folder TEXT NOT NULL UNIQUE,
        task TEXT NOT NULL,
        method TEXT NOT NULL,
        model TEXT NOT NULL,
        seeds TEXT NOT NULL,
        config TEXT NOT NULL,
        versions TEXT NOT NULL,
        machine TEXT NOT NULL,
        started TEXT NOT NULL,
        finished TEXT,
        status TEXT NOT NULL
      ) STRICT;
      CREATE INDEX runs_by_name ON runs (name);
      CREATE TABLE events (
        run INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        seed INTEGER NOT NULL,
        line INTEGER NOT NULL,
        time REAL NOT NULL,
        type TEXT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (run, seed, line)
      ) STRICT, WITHOUT ROWID;
      CREATE TABLE results (
        run INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        seed INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (run, seed)
      ) STRICT, WITHOUT ROWID;
    `,
  },
  {
    name: "002-sweeps",
    sql: `
      CREATE TABLE sweeps (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        folder TEXT NOT NULL UNIQUE,
        config TEXT NOT NULL,
        started TEXT NOT NULL,
        seconds REAL NOT NULL DEFAULT 0
      ) STRICT;
      CREATE TABLE trials (
        sweep INTEGER NOT NULL REFERENCES sweeps (id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        options TEXT NOT NULL,
        folder TEXT NOT NULL,
        status TEXT NOT NULL,
        summary TEXT,
        error TEXT,
        seconds REAL,
        PRIMARY KEY (sweep, number)
      ) STRICT, WITHOUT ROWID;
    `,
  },
];

const tables = (db: DatabaseSync): string[] =>
  (db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all() as { name: string }[]).map(
    ({ name }) => name,
  );

/** Names of the steps behind a database; none for a new one. */
function applied(db: DatabaseSync, path: string): string[] {
  const found = tables(db);
  if (!found.includes("migrations")) {
    if (found.length === 0) return [];
    throw new UserError(
      `openStore: expected a database of runs, got ${path} with other tables (${found.slice(0, 3).join(", ")}); ` +
        "name another file with --db",
    );
  }
  return (db.prepare("SELECT name FROM migrations ORDER BY name").all() as { name: string }[]).map(({ name }) => name);
}

/** Brings a database to the present tables, one process at a time. Refuses one that is ahead of this program. */
export function migrate(db: DatabaseSync, path: string, now: string, steps: readonly Migration[] = migrations): void {
  const check = (): Migration[] => {
    const done = applied(db, path);
    const unknown = done.find((name) => !steps.some((step) => step.name === name));
    if (unknown !== undefined) {
      throw new UserError(
        `openStore: expected a database of this version of mneme or an older one, got ${path} from a newer version ` +
          `(it has ${unknown}); update mneme, or name another file with --db`,
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
