/**
 * The tables of the run store as an ordered list of named steps. A step that has been released never changes: what
 * comes later is a new step at the end. The table `migrations` says which of them a database has behind it.
 */
import type { DatabaseKind, Migration } from "./migrate.ts";

const steps: readonly Migration[] = [
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

export const runDatabase: DatabaseKind = {
  caller: "openStore",
  what: "a database of runs",
  steps,
  elsewhere: " with --db",
  damaged: "delete it and rebuild it from the run folders with `mneme runs --reindex`, or name another with --db",
};
