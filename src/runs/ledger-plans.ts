/**
 * What a forget or a revert changes of a ledger, worked out before anything is: which facts go, which come back. The
 * memory that holds them, whatever it is, changes first or in the same transaction; then the plan is carried out.
 */
import { UserError } from "../errors.ts";
import { described, type EventKind, type Fact, type FactStatus } from "./ledger-fact.ts";
import type { Deed, LedgerRows, Standing } from "./ledger-rows.ts";
import type { Ledger } from "./ledger.ts";

/** What a forget or a revert did to one fact. */
export interface Changed {
  readonly id: string;
  readonly fact: number;
  readonly before: FactStatus;
  readonly after: FactStatus;
}

/** A moment of the past: milliseconds since 1970, or the number of an event, with all of its deed. */
export type Moment = { readonly time: number } | { readonly event: number };

/** How facts are to stand, by their numbers, and what the history calls that. */
export interface Plan {
  readonly wanted: ReadonlyMap<number, Pick<Standing, "status" | "successor">>;
  readonly kindOf: (status: FactStatus) => EventKind;
}

interface Step {
  readonly number: number;
  readonly before: Standing;
  readonly after: Pick<Standing, "status" | "successor">;
}

/** A plan beside what is: everything that changes, and of it what leaves the memory and what comes back. */
export interface Steps extends Pick<Plan, "kindOf"> {
  readonly all: readonly Step[];
  readonly gone: readonly Step[];
  readonly come: readonly Step[];
}

/** Facts whose place this one took, and those whose place they took, by how they stand. */
function versionsBehind(rows: LedgerRows, number: number, status: FactStatus): Fact[] {
  const found = new Map<number, Fact>();
  const look = (successor: number): void => {
    for (const fact of rows.supersededBy(successor, status)) {
      if (found.has(fact.fact)) continue;
      found.set(fact.fact, fact);
      look(fact.fact);
    }
  };
  look(number);
  return [...found.values()];
}

/** A fact forgotten with all earlier versions. They keep their successors, so that they can come back as they stood. */
export function forgottenWhole(rows: LedgerRows, number: number): [number, Pick<Standing, "status" | "successor">][] {
  const earlier = versionsBehind(rows, number, "superseded").map(({ fact }) => fact);
  return [
    [number, { status: "forgotten", successor: null }],
    ...earlier.map((fact): [number, Pick<Standing, "status" | "successor">] => [
      fact,
      { status: "forgotten", successor: rows.standing(fact).successor },
    ]),
  ];
}

/** Facts by their ids, or the beginnings of them, forgotten; `whole`: with all earlier versions. */
export function planForget(ledger: Ledger, ids: readonly string[], { whole = false } = {}): Plan {
  const facts = ids.map((id) => ledger.resolve(id, "forget"));
  for (const fact of facts) {
    if (fact.status === "live") continue;
    const by = fact.supersededBy === null ? "" : ` by ${fact.supersededBy}`;
    throw new UserError(
      `forget: expected a live fact, got ${described(fact)}, which is ${fact.status}${by}; \`mneme log\` lists ` +
        "what happened",
    );
  }
  const { rows } = ledger;
  const wanted = facts.flatMap(({ fact }) => {
    const all = forgottenWhole(rows, fact);
    return whole ? all : all.slice(0, 1);
  });
  return { wanted: new Map(wanted), kindOf: () => "forget" };
}

/** What happened to a fact last, taken back. */
export function planRevert({ rows, resolve }: Ledger, id: string): Plan {
  const fact = resolve(id, "revert");
  const wanted = new Map<number, Pick<Standing, "status" | "successor">>();
  if (fact.status === "live") {
    wanted.set(fact.fact, { status: "forgotten", successor: null });
    const [old] = rows.supersededBy(fact.fact);
    if (old) wanted.set(old.fact, { status: "live", successor: null });
  } else {
    const rival = rows.liveBeside(fact.fact);
    if (rival) wanted.set(rival.fact, { status: "superseded", successor: fact.fact });
    wanted.set(fact.fact, { status: "live", successor: null });
    // Versions that were forgotten with it
    for (const old of versionsBehind(rows, fact.fact, "forgotten")) {
      wanted.set(old.fact, { status: "superseded", successor: rows.standing(old.fact).successor });
    }
  }
  return {
    wanted,
    kindOf: (status) => (status === "live" ? "restore" : status === "superseded" ? "supersede" : "revert"),
  };
}

/** The facts that were live then, and no others. */
export function planRevertTo({ rows }: Ledger, moment: Moment): Plan {
  const bad = Object.values(moment).some((value) => !Number.isFinite(value));
  if (bad) throw new UserError("revertTo: expected a time or the number of an event, got no number; see `mneme log`");
  const seq = "time" in moment ? rows.lastSeqBy(moment.time) : moment.event <= 0 ? 0 : rows.actEnd(moment.event);
  if ("event" in moment && moment.event > 0 && seq === 0) {
    throw new UserError(
      `revertTo: expected an event up to ${rows.head().seq}, got ${moment.event}; \`mneme log\` lists them`,
    );
  }
  const then = rows.standingsAt(seq);
  const wanted = new Map<number, Pick<Standing, "status" | "successor">>();
  for (const [number, now] of rows.standings()) {
    const was = then.get(number);
    if (was ? was.status === now.status && was.successor === now.successor : now.status !== "live") continue;
    wanted.set(number, { status: was?.status ?? "forgotten", successor: was?.successor ?? null });
  }
  return { wanted, kindOf: (status) => (status === "live" ? "restore" : "revert") };
}

const isLive = ({ status }: Pick<Standing, "status">): boolean => status === "live";

export function steps(rows: LedgerRows, { wanted, kindOf }: Plan): Steps {
  const all = [...wanted].map(([number, after]) => ({ number, after, before: rows.standing(number) }));
  return {
    kindOf,
    all,
    gone: all.filter(({ before, after }) => isLive(before) && !isLive(after)),
    come: all.filter(({ before, after }) => !isLive(before) && isLive(after)),
  };
}

/** Writes the steps into the ledger. `placeOf` says where facts that come back lie, if not where they lay. */
export function carryOut(
  rows: LedgerRows,
  deed: Deed,
  { all, kindOf }: Steps,
  placeOf: ReadonlyMap<number, number> = new Map(),
): Changed[] {
  // In an order that never has two live facts of one subject
  for (const { number, after, before } of all.toSorted((a, b) => +isLive(a.after) - +isLive(b.after))) {
    deed.append(kindOf(after.status), number, { ...after, placement: placeOf.get(number) ?? before.placement });
  }
  return all.map(({ number, before, after }) => ({
    id: rows.byNumber(number)?.id ?? "",
    fact: number,
    before: before.status,
    after: after.status,
  }));
}
