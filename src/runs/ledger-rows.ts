/**
 * The rows of a ledger: each sentence that is ever said to its database, as a function. Who writes calls `deed`, which
 * gives every change an event and every event its link to the history before it.
 */
import { UserError } from "../errors.ts";
import type { PlacedFact } from "../memory/memory-store.ts";
import type { Database, Row } from "./database.ts";
import { subjectOf } from "../memory/subject.ts";
import {
  digestOf,
  type DocumentFact,
  type EventKind,
  type Fact,
  type FactStatus,
  idOf,
  type LedgerEvent,
  linkOf,
  type NewFact,
  type WriteReceipt,
} from "./ledger-fact.ts";

/** The last event: where the history stands. */
export interface Head {
  readonly seq: number;
  readonly time: number;
  readonly chain: Uint8Array;
}

/** What a fact is in the memory. */
export interface Standing {
  readonly status: FactStatus;
  /** Number of the fact that took its place. */
  readonly successor: number | null;
  readonly placement: number;
}

export interface SnapshotRow {
  readonly seq: number;
  readonly chain: Uint8Array;
  readonly file: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly time: number;
}

/** Changes of one transaction. */
export interface Deed {
  readonly time: number;
  /** A new fact, live. */
  add(number: number, fact: NewFact, placement: number): string;
  /** Something happens to a fact. */
  append(kind: EventKind, number: number, standing: Standing): void;
}

/** A codebook that entries of documents point into, as it lies in the ledger. */
export interface CodebookRow {
  readonly version: number;
  /** Kind and sizes (JSON). */
  readonly shape: string;
  readonly bits: number;
  readonly data: Uint8Array;
}

export type LedgerRows = ReturnType<typeof ledgerRows>;

const start: Head = { seq: 0, time: 0, chain: new Uint8Array(32) };

export const numbersOf = (row: Row): number => row.number as number;

/** What a row of a document says of it beside the rest. */
export const documentOf = ({ document }: Row): { document?: DocumentFact } =>
  typeof document === "string" ? { document: JSON.parse(document) as DocumentFact } : {};

const factOf = (row: Row): Fact => ({
  id: row.id as string,
  fact: row.number as number,
  time: row.time as number,
  source: row.source as string,
  prompt: row.prompt as string,
  target: row.target as string,
  rephrasings: JSON.parse(row.rephrasings as string) as string[],
  status: row.status as FactStatus,
  supersededBy: row.successor_id as string | null,
  placement: row.placement as number,
  receipt: row.receipt === null ? null : (JSON.parse(row.receipt as string) as WriteReceipt),
  ...documentOf(row),
});

export const eventOf = (row: Row): LedgerEvent => ({
  seq: row.seq as number,
  act: row.act as number,
  time: row.time as number,
  kind: row.kind as EventKind,
  id: row.id as string,
  fact: row.number as number,
  status: row.status as FactStatus,
  supersededBy: row.successor_id as string | null,
  placement: row.placement as number,
});

export const standingOf = (row: Row): Standing => ({
  status: row.status as FactStatus,
  successor: row.successor as number | null,
  placement: row.placement as number,
});

function placedFact(row: Row | undefined, number: number): PlacedFact {
  const { key, value, placement } = row ?? {};
  if (key instanceof Uint8Array && value instanceof Uint8Array)
    return { fact: number, key, value, placement: placement as number };
  throw new UserError(
    `ledger: expected key and value of fact ${number}, got none; the ledger is damaged: import an exported copy`,
  );
}

const factColumns = `facts.*, (SELECT id FROM facts AS other WHERE other.number = facts.successor) AS successor_id`;

export function ledgerRows({ statement }: Database) {
  const sql = {
    head: statement("SELECT seq, time, chain FROM events ORDER BY seq DESC LIMIT 1"),
    chainAt: statement("SELECT chain FROM events WHERE seq = ?"),
    nextNumber: statement("SELECT coalesce(max(number), 0) + 1 AS number FROM facts"),
    hasId: statement("SELECT 1 FROM facts WHERE id = ?"),
    addFact: statement(`
      INSERT INTO facts (number, id, time, source, prompt, target, rephrasings, subject, status, successor, placement,
        receipt, digest, document)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'live', NULL, ?, ?, ?, ?)`),
    addVectors: statement("INSERT INTO vectors (number, key, value) VALUES (?, ?, ?)"),
    addEvent: statement(`
      INSERT INTO events (seq, act, time, kind, number, status, successor, placement, chain)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`),
    setStanding: statement("UPDATE facts SET status = ?, successor = ?, placement = ? WHERE number = ?"),
    setReceipt: statement("UPDATE facts SET receipt = ? WHERE number = ?"),
    digest: statement("SELECT digest FROM facts WHERE number = ?"),
    standing: statement("SELECT status, successor, placement FROM facts WHERE number = ?"),
    touched: statement("SELECT DISTINCT number FROM events WHERE seq > ? ORDER BY number"),
    placed: statement(`
      SELECT facts.number, placement, key, value FROM facts JOIN vectors ON vectors.number = facts.number
      WHERE facts.number = ?`),
    live: statement("SELECT number FROM facts WHERE status = 'live' ORDER BY number"),
    liveAbout: statement(`SELECT ${factColumns} FROM facts WHERE subject = ? AND status = 'live'`),
    liveBeside: statement(`
      SELECT ${factColumns} FROM facts
      WHERE subject = (SELECT subject FROM facts WHERE number = ?) AND status = 'live'`),
    byNumber: statement(`SELECT ${factColumns} FROM facts WHERE number = ?`),
    byId: statement(`SELECT ${factColumns} FROM facts WHERE id = ?`),
    byPrefix: statement(`SELECT ${factColumns} FROM facts WHERE id >= ? AND id < ? ORDER BY id LIMIT ?`),
    supersededBy: statement(`
      SELECT ${factColumns} FROM facts WHERE successor = ? AND status = ?
      ORDER BY (SELECT max(seq) FROM events WHERE events.number = facts.number) DESC`),
    lastSeqBy: statement("SELECT coalesce(max(seq), 0) AS seq FROM events WHERE time <= ?"),
    actEnd: statement(`
      SELECT coalesce(max(seq), 0) AS seq FROM events
      WHERE seq >= ?1 AND act = (SELECT act FROM events WHERE seq = ?1)`),
    standingsAt: statement(`
      SELECT number, status, successor, placement FROM events
      WHERE seq IN (SELECT max(seq) FROM events WHERE seq <= ? GROUP BY number)`),
    standings: statement("SELECT number, status, successor, placement FROM facts ORDER BY number"),
    putSnapshot: statement(
      "INSERT OR REPLACE INTO snapshots (seq, chain, file, sha256, bytes, time) VALUES (?, ?, ?, ?, ?, ?)",
    ),
    snapshots: statement("SELECT * FROM snapshots ORDER BY seq DESC"),
    liveDocuments: statement(`
      SELECT prompt, value FROM facts JOIN vectors ON vectors.number = facts.number
      WHERE status = 'live' AND document IS NOT NULL ORDER BY facts.number`),
    codebooks: statement("SELECT version, shape, bits, data FROM codebooks ORDER BY version"),
    putCodebook: statement("INSERT INTO codebooks (version, shape, bits, data) VALUES (?, ?, ?, ?)"),
    dropSnapshot: statement("DELETE FROM snapshots WHERE seq = ?"),
  };

  const head = (): Head => (sql.head.get() as unknown as Head | undefined) ?? start;
  const standings = (rows: Iterable<Row>): Map<number, Standing> =>
    new Map([...rows].map((row) => [numbersOf(row), standingOf(row)]));
  const one = (row: Row | undefined): Fact | undefined => row && factOf(row);

  return {
    head,
    chainAt: (seq: number) => (seq === 0 ? start.chain : (sql.chainAt.get(seq)?.chain as Uint8Array | undefined)),
    nextNumber: () => numbersOf(sql.nextNumber.get() ?? { number: 1 }),
    setReceipt: (number: number, receipt: WriteReceipt) => sql.setReceipt.run(JSON.stringify(receipt), number),
    standing: (number: number) => standingOf(sql.standing.get(number) ?? {}),
    /** Facts that something happened to after an event. */
    touchedSince: (seq: number) => sql.touched.all(seq).map(numbersOf),
    placed: (number: number) => placedFact(sql.placed.get(number), number),
    live: () => sql.live.all().map(numbersOf),
    /** The live fact of a subject. */
    liveAbout: (subject: string) => one(sql.liveAbout.get(subject)),
    /** The live fact of the same subject as this one. */
    liveBeside: (number: number) => one(sql.liveBeside.get(number)),
    byNumber: (number: number) => one(sql.byNumber.get(number)),
    byId: (id: string) => one(sql.byId.get(id)),
    byPrefix: (prefix: string, limit: number) => sql.byPrefix.all(prefix, `${prefix}g`, limit).map(factOf),
    /** Facts whose place another one took, the latest first. */
    supersededBy: (number: number, status: FactStatus = "superseded") =>
      sql.supersededBy.all(number, status).map(factOf),
    /** The last event up to a time (milliseconds). */
    lastSeqBy: (time: number) => sql.lastSeqBy.get(time)?.seq as number,
    /** The last event of the deed that an event belongs to; 0 where there is none. */
    actEnd: (seq: number) => sql.actEnd.get(seq)?.seq as number,
    standingsAt: (seq: number) => standings(sql.standingsAt.each(seq)),
    standings: () => standings(sql.standings.each()),
    putSnapshot: ({ seq, chain, file, sha256, bytes, time }: SnapshotRow) =>
      sql.putSnapshot.run(seq, chain, file, sha256, bytes, time),
    /** The latest first. */
    snapshots: () => sql.snapshots.all() as unknown as SnapshotRow[],
    dropSnapshot: (seq: number) => sql.dropSnapshot.run(seq),
    /** The entries of each live document by its id. */
    liveDocuments: () =>
      new Map([...sql.liveDocuments.each()].map(({ prompt, value }) => [prompt as string, value as Uint8Array])),
    codebooks: () => sql.codebooks.all() as unknown as CodebookRow[],
    putCodebook: ({ version, shape, bits, data }: CodebookRow) => sql.putCodebook.run(version, shape, bits, data),

    /** What is done in the present transaction. The clock may go back, the history does not. */
    deed(clock: () => number): Deed {
      const before = head();
      const act = before.seq + 1;
      const time = Math.max(clock(), before.time);
      let { seq, chain } = before;
      const append = (
        kind: EventKind,
        number: number,
        { status, successor, placement }: Standing,
        digest: Uint8Array,
      ) => {
        seq++;
        chain = linkOf(chain, [seq, act, time, kind, number, status, successor, placement], digest);
        sql.addEvent.run(seq, act, time, kind, number, status, successor, placement, chain);
      };
      return {
        time,
        add(number, fact, placement) {
          const digest = digestOf(number, time, fact);
          let id = idOf(digest, 0);
          for (let salt = 1; sql.hasId.get(id); salt++) id = idOf(digest, salt);
          const { prompt, target, rephrasings = [], source = "", receipt, subject = subjectOf(prompt) } = fact;
          const [proof, document] = [receipt, fact.document].map((value) => (value ? JSON.stringify(value) : null));
          const rest = [subject, placement, proof, digest, document];
          sql.addFact.run(number, id, time, source, prompt, target, JSON.stringify(rephrasings), ...rest);
          sql.addVectors.run(number, fact.key, fact.value);
          append("write", number, { status: "live", successor: null, placement }, digest);
          return id;
        },
        append(kind, number, standing) {
          sql.setStanding.run(standing.status, standing.successor, standing.placement, number);
          append(kind, number, standing, sql.digest.get(number)?.digest as Uint8Array);
        },
      };
    },
  };
}
