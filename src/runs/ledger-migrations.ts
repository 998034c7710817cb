/**
 * The tables of a write ledger as an ordered list of named steps. A step that has been released never changes.
 * `events` is the history: rows come and stay, which two triggers see to. The status, the place and the successor of
 * a fact in `facts` repeat its last event, for speed. Keys and values lie apart, so that texts are read without them.
 */
import type { DatabaseKind, Migration } from "./migrate.ts";

const steps: readonly Migration[] = [
  {
    name: "001-ledger",
    // One live fact for a subject, which is a prompt without its accidents: the index sees to it.
    sql: `
      CREATE TABLE ledger (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
      CREATE TABLE facts (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        time REAL NOT NULL,
        source TEXT NOT NULL,
        prompt TEXT NOT NULL,
        target TEXT NOT NULL,
        rephrasings TEXT NOT NULL,
        subject TEXT NOT NULL,
        status TEXT NOT NULL,
        successor INTEGER REFERENCES facts (number) DEFERRABLE INITIALLY DEFERRED,
        placement INTEGER NOT NULL,
        receipt TEXT,
        digest BLOB NOT NULL
      ) STRICT;
      CREATE UNIQUE INDEX facts_live ON facts (subject) WHERE status = 'live';
      CREATE INDEX facts_by_successor ON facts (successor) WHERE successor IS NOT NULL;
      CREATE TABLE vectors (
        number INTEGER PRIMARY KEY REFERENCES facts (number),
        key BLOB NOT NULL,
        value BLOB NOT NULL
      ) STRICT;
      CREATE TABLE events (
        seq INTEGER PRIMARY KEY,
        act INTEGER NOT NULL,
        time REAL NOT NULL,
        kind TEXT NOT NULL,
        number INTEGER NOT NULL REFERENCES facts (number),
        status TEXT NOT NULL,
        successor INTEGER,
        placement INTEGER NOT NULL,
        chain BLOB NOT NULL
      ) STRICT;
      CREATE INDEX events_by_fact ON events (number, seq);
      CREATE INDEX events_by_time ON events (time, seq);
      CREATE TRIGGER events_stay BEFORE DELETE ON events BEGIN SELECT raise(ABORT, 'the history is append-only'); END;
      CREATE TRIGGER events_are_final BEFORE UPDATE ON events
        BEGIN SELECT raise(ABORT, 'the history is append-only'); END;
      CREATE TABLE snapshots (
        seq INTEGER PRIMARY KEY,
        chain BLOB NOT NULL,
        file TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        time REAL NOT NULL
      ) STRICT;
    `,
  },
  {
    name: "002-documents",
    // A fact with a document is one: its id stands as the prompt and the subject, its first words as the target. The
    // codebooks that its entries point into lie here too, so that a lost bank can be made anew.
    sql: `
      ALTER TABLE facts ADD COLUMN document TEXT;
      CREATE TABLE codebooks (
        version INTEGER PRIMARY KEY,
        shape TEXT NOT NULL,
        bits INTEGER NOT NULL,
        data BLOB NOT NULL
      ) STRICT;
    `,
  },
];

export const ledgerDatabase: DatabaseKind = {
  caller: "openLedger",
  what: "a ledger",
  steps,
  elsewhere: "",
  damaged: "put back a copy, or import an exported memory into a new folder",
};
