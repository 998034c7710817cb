/** Checks a ledger against itself: every link of its history, every fact against its digest and its last event. */
import { UserError } from "../errors.ts";
import { digestOf, linkOf, quoted } from "./ledger-fact.ts";
import type { Ledger } from "./ledger.ts";
import { documentOf, numbersOf, standingOf } from "./ledger-rows.ts";

/** Throws at the first fault. Call it within a transaction where others may write. */
export function verifyHistory({ db, rows, folder }: Ledger, caller: string): void {
  const fault = (expected: string, got: string): never => {
    throw new UserError(
      `${caller}: expected ${expected} in ${folder}, got ${got}; the ledger is damaged: import an exported copy`,
    );
  };
  const digests = new Map<number, Uint8Array>();
  const facts = db.statement(
    "SELECT facts.*, key, value FROM facts LEFT JOIN vectors ON vectors.number = facts.number ORDER BY facts.number",
  );
  for (const row of facts.each()) {
    const { id, time, prompt, target, rephrasings, source, key, value, digest } = row as Record<string, string>;
    const fact = { prompt, target, rephrasings: JSON.parse(rephrasings) as string[], source, ...documentOf(row) };
    const vectors = { key: key as unknown as Uint8Array, value: value as unknown as Uint8Array };
    if (vectors.key === null || vectors.value === null) fault(`key and value of fact ${id}`, "none");
    const found = digestOf(numbersOf(row), time as unknown as number, { ...fact, ...vectors });
    if (found.compare(digest as unknown as Uint8Array) !== 0) {
      fault(`fact ${id} as it was written`, `other text, key or value (${quoted(prompt)})`);
    }
    digests.set(numbersOf(row), found);
  }
  let chain: Uint8Array = rows.chainAt(0) ?? new Uint8Array(0);
  let at = 0;
  for (const row of db.statement("SELECT * FROM events ORDER BY seq").each()) {
    const { seq, act, time, kind, number, status, successor, placement, chain: link } = row;
    at++;
    const event = [seq, act, time, kind, number, status, successor, placement] as (number | string | null)[];
    chain = linkOf(chain, event, digests.get(number as number) ?? new Uint8Array(0));
    if (seq !== at || Buffer.compare(chain, link as Uint8Array) !== 0) {
      fault(`the history as it was written, event ${at}`, `another or none (${kind as string})`);
    }
  }
  const past = rows.standingsAt(at);
  for (const row of db.statement("SELECT number, id, status, successor, placement FROM facts").each()) {
    const [is, was] = [JSON.stringify(standingOf(row)), JSON.stringify(past.get(numbersOf(row)))];
    if (is !== was) fault(`fact ${row.id as string} to stand as its last event says`, `${is}, not ${was}`);
  }
}
