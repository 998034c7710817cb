/**
 * What a ledger answers about the past: its events, one fact with all that happened to it, facts by their words. No
 * memory is needed for that, and no model.
 */
import { oneLine } from "../checkpoint/files.ts";
import { UserError } from "../errors.ts";
import type { Database, SqlValue } from "./database.ts";
import { subjectOf } from "../memory/subject.ts";
import {
  described,
  type DocumentFact,
  type EventKind,
  type Fact,
  type FactStatus,
  type LedgerEvent,
} from "./ledger-fact.ts";
import { documentOf, eventOf, type LedgerRows } from "./ledger-rows.ts";

export interface LogOptions {
  /** Events at most; 20 by default. */
  readonly limit?: number;
  /** Milliseconds since 1970, both included. */
  readonly since?: number;
  readonly until?: number;
  /** Only events before this one: for the next page. */
  readonly before?: number;
  readonly kinds?: readonly EventKind[];
}

export interface LoggedEvent extends LedgerEvent {
  readonly prompt: string;
  readonly target: string;
  readonly source: string;
  readonly document?: DocumentFact;
}

export interface FactHistory extends Fact {
  /** The first first. */
  readonly events: readonly LedgerEvent[];
  /** Facts that it took the place of, the latest first. */
  readonly supersedes: readonly Fact[];
  readonly bytes: { readonly key: number; readonly value: number };
}

export interface FoundFact extends Fact {
  /** 1 where the words stand in the fact as they are; else the share of letter pairs in common. */
  readonly score: number;
}

export interface ListOptions {
  /** Live ones by default. */
  readonly status?: FactStatus | "any";
  readonly limit?: number;
  /** Only facts after this number: for the next page. */
  readonly after?: number;
}

export interface LedgerCounts {
  readonly live: number;
  readonly forgotten: number;
  readonly superseded: number;
  readonly events: number;
  /** Milliseconds since 1970; null while there are no events. */
  readonly first: number | null;
  readonly last: number | null;
  /** Live facts in each memory, by its number. */
  readonly placements: Readonly<Record<number, number>>;
  /** Of the keys and values of all facts. */
  readonly vectorBytes: number;
}

export interface LedgerHistory {
  /** The latest first. */
  log(options?: LogOptions): LoggedEvent[];
  show(id: string): FactHistory;
  /** By number. */
  list(options?: ListOptions): Fact[];
  /** Facts with these words, or words like them, the best first. */
  find(query: string, options?: { readonly limit?: number; readonly status?: FactStatus | "any" }): FoundFact[];
  /** A fact by its id or by the beginning of its id, four digits at least. `caller` is for the error. */
  resolve(id: string, caller?: string): Fact;
  /** The live document of an id that it was learned with. */
  resolveDocument(document: string, caller?: string): Fact;
  counts(): LedgerCounts;
}

const pairsOf = (text: string): Map<string, number> => {
  const pairs = new Map<string, number>();
  for (let i = 0; i + 1 < text.length; i++) {
    const pair = text.slice(i, i + 2);
    pairs.set(pair, (pairs.get(pair) ?? 0) + 1);
  }
  return pairs;
};

/** Dice's coefficient of two texts' letter pairs. */
function likeness(a: ReadonlyMap<string, number>, text: string): number {
  const b = pairsOf(text);
  let [common, all] = [0, 0];
  for (const count of a.values()) all += count;
  for (const [pair, count] of b) {
    all += count;
    common += Math.min(count, a.get(pair) ?? 0);
  }
  return all === 0 ? 0 : (2 * common) / all;
}

const leastLikeness = 0.35;
const shownCandidates = 3;

export function ledgerHistory(db: Database, rows: LedgerRows): LedgerHistory {
  const joined = `
    SELECT events.*, facts.id, prompt, target, source, document,
      (SELECT id FROM facts AS other WHERE other.number = events.successor) AS successor_id
    FROM events JOIN facts ON facts.number = events.number`;
  const eventsOf = db.statement(`${joined} WHERE events.number = ? ORDER BY seq`);
  const sizes = db.statement("SELECT length(key) AS key, length(value) AS value FROM vectors WHERE number = ?");
  const listed = db.statement(
    "SELECT number FROM facts WHERE number > ? AND (?2 = 'any' OR status = ?2) ORDER BY number LIMIT ?",
  );
  const texts = db.statement("SELECT number, prompt, target, rephrasings FROM facts WHERE ?1 = 'any' OR status = ?1");
  const statuses = db.statement("SELECT status, count(*) AS count FROM facts GROUP BY status");
  const span = db.statement("SELECT count(*) AS events, min(time) AS first, max(time) AS last FROM events");
  const placed = db.statement(
    "SELECT placement, count(*) AS count FROM facts WHERE status = 'live' GROUP BY placement ORDER BY placement",
  );
  const weight = db.statement("SELECT coalesce(sum(length(key) + length(value)), 0) AS bytes FROM vectors");

  const find: LedgerHistory["find"] = (query, { limit = 10, status = "live" } = {}) => {
    const wanted = subjectOf(query);
    const pairs = pairsOf(wanted);
    const best: { number: number; score: number }[] = [];
    if (wanted === "") return [];
    for (const { number, prompt, target, rephrasings } of texts.each(status)) {
      const all = [`${prompt as string} ${target as string}`, ...(JSON.parse(rephrasings as string) as string[])];
      const score = Math.max(
        ...all.map((text) => {
          const subject = subjectOf(text);
          // Between two facts that both have the words, the shorter one is more about them
          if (subject.includes(wanted)) return 1 + wanted.length / subject.length / 100;
          return Math.max(likeness(pairs, subject), likeness(pairs, subjectOf(prompt as string)));
        }),
      );
      if (score < leastLikeness || (best.length === limit && score <= best[limit - 1].score)) continue;
      best.push({ number: number as number, score });
      best.sort((a, b) => b.score - a.score || a.number - b.number);
      best.length = Math.min(best.length, limit);
    }
    return best.flatMap(({ number, score }) => {
      const fact = rows.byNumber(number);
      return fact ? [{ ...fact, score: Math.min(1, score) }] : [];
    });
  };

  /** Facts whose id begins most like this one, or whose words are like these. */
  const candidates = (id: string): readonly Fact[] => {
    for (let length = Math.min(id.length, 11); length >= 2; length--) {
      const prefix = id.slice(0, length).toLowerCase();
      const found = /^[0-9a-f]+$/.test(prefix) ? rows.byPrefix(prefix, shownCandidates) : [];
      if (found.length > 0) return found;
    }
    return find(id, { limit: shownCandidates, status: "any" });
  };

  const resolve: LedgerHistory["resolve"] = (id, caller = "ledger") => {
    const name = id.trim().toLowerCase();
    const exact = rows.byId(name);
    if (exact) return exact;
    const few = name.length >= 4 && /^[0-9a-f]+$/.test(name) ? rows.byPrefix(name, shownCandidates) : [];
    if (few.length === 1) return few[0];
    if (few.length > 1) {
      throw new UserError(
        `${caller}: expected the id of one fact, got ${name}, with which several begin: ` +
          `${few.map(described).join(", ")}; give more digits`,
      );
    }
    const near = candidates(id.trim());
    const wayOut = near.length > 0 ? `nearest are ${near.map(described).join(", ")}` : "`mneme log` lists them";
    throw new UserError(`${caller}: expected the id of a fact, got ${JSON.stringify(id)}; ${wayOut}`);
  };

  return {
    log({ limit = 20, since, until, before, kinds } = {}) {
      const tests: string[] = [];
      const values: SqlValue[] = [];
      const add = (test: string, value: SqlValue | undefined): void => {
        if (value === undefined) return;
        tests.push(test);
        values.push(value);
      };
      add("events.time >= ?", since);
      add("events.time <= ?", until);
      add("seq < ?", before);
      add("kind IN (SELECT value FROM json_each(?))", kinds && JSON.stringify(kinds));
      const where = tests.length > 0 ? `WHERE ${tests.join(" AND ")}` : "";
      return db
        .statement(`${joined} ${where} ORDER BY seq DESC LIMIT ?`)
        .all(...values, limit)
        .map((row) => ({
          ...eventOf(row),
          prompt: row.prompt as string,
          target: row.target as string,
          source: row.source as string,
          ...documentOf(row),
        }));
    },
    show: (id) =>
      db.atOnce(() => {
        const fact = resolve(id, "show");
        const { key, value } = sizes.get(fact.fact) ?? {};
        return {
          ...fact,
          events: eventsOf.all(fact.fact).map(eventOf),
          supersedes: rows.supersededBy(fact.fact),
          bytes: { key: key as number, value: value as number },
        };
      }),
    list: ({ status = "live", limit = -1, after = 0 } = {}) =>
      listed.all(after, status, limit).flatMap(({ number }) => rows.byNumber(number as number) ?? []),
    find,
    resolve,
    resolveDocument(document, caller = "ledger") {
      const found = rows.liveAbout(document);
      if (found?.document) return found;
      const near = find(document, { limit: shownCandidates }).filter((fact) => fact.document);
      const wayOut = near.length > 0 ? `nearest are ${near.map(described).join(", ")}` : "`mneme log` lists them";
      const shown = JSON.stringify(oneLine(document, 60));
      throw new UserError(`${caller}: expected the id of a document in the memory, got ${shown}; ${wayOut}`);
    },
    counts: () =>
      db.atOnce(() => {
        const by = new Map(statuses.all().map(({ status, count }) => [status, count as number]));
        const { events, first, last } = span.get() ?? {};
        return {
          live: by.get("live") ?? 0,
          forgotten: by.get("forgotten") ?? 0,
          superseded: by.get("superseded") ?? 0,
          events: events as number,
          first: first as number | null,
          last: last as number | null,
          placements: Object.fromEntries(placed.all().map(({ placement, count }) => [placement, count as number])),
          vectorBytes: weight.get()?.bytes as number,
        };
      }),
  };
}
