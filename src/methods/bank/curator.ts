/**
 * What becomes of a document that arrives at a bank of limited bytes: an entry of its own, a part of the nearest one, the
 * nearest or the oldest one's place, or nothing. Knows no rule for choosing (policy.ts). Documents that were averaged
 * share their entries: a group, which the bank has under the id of its first and which goes as a whole.
 */
import { packEntry } from "../../memory/bank-entry.ts";
import { mergeEntries } from "../../memory/bank-reduction.ts";
import { createKeyIndex } from "../../memory/key-index.ts";
import { dot } from "../../memory/matrix.ts";
import type { MemoryBank } from "../../memory/memory-bank.ts";
import { recordBytes } from "../../memory/record-log.ts";
import { UserError } from "../../errors.ts";
import type { EncodedDocument } from "../document-face.ts";

export const deeds = ["store", "merge", "replace", "oldest", "drop"] as const;
export type Deed = (typeof deeds)[number];

/** A document as entries of the newest codebook, with the numbers that each was coded from [T D]. */
export interface Arrival extends EncodedDocument {
  readonly slots: readonly Float32Array[];
}

/** How an arrival finds the bank. Documents are those that the bank names: of a group, the first. */
export interface Situation {
  readonly possible: readonly Deed[];
  readonly nearest?: { readonly document: string; readonly score: number };
  readonly oldest?: string;
  /** Documents that shared entries with an older one of the same id, and went with it. */
  readonly gone: readonly string[];
  /** Share of the bytes or of the entries that are taken, whichever is more; 0 without a limit. */
  readonly used: number;
}

/** What was done. */
export interface Done {
  readonly deed: Deed;
  readonly document: string;
  /** The group that it was averaged with. */
  readonly into?: string;
  /** Documents that are no longer in the bank because of it. */
  readonly gone: readonly string[];
  /** By how much the bank grew. */
  readonly bytes: number;
}

export interface CuratorOptions {
  readonly bank: MemoryBank;
  /** Bytes of the bank at most, with codebooks and settings. */
  readonly budget?: number;
  readonly mostEntries?: number;
}

export interface Curator {
  /** Takes an older document of the same id out, and says what can be done. */
  meet(arrival: Arrival): Promise<Situation>;
  /** Does one of the deeds that the situation has. */
  act(deed: Deed, arrival: Arrival): Promise<Done>;
  /** Documents that share their entries with this one, itself among them; none where it is not in. */
  groupOf(document: string): readonly string[];
  /** Bytes of all that is live, codebooks and settings. */
  bytes(): Promise<number>;
  /** Gives back what is dead; documents that were in beyond the limits, after a change of codebook, go: the oldest. */
  settle(): Promise<readonly string[]>;
  /** The groups of more than one, as they are saved. */
  groups(): Record<string, readonly string[]>;
  /** Looks at the bank anew, after it was restored. */
  open(groups: Readonly<Record<string, readonly string[]>>): Promise<void>;
}

export function createCurator({ bank, budget = Infinity, mostEntries = Infinity }: CuratorOptions): Curator {
  let index = createKeyIndex(bank.keys);
  let documentOf = new Map<number, string>();
  /** Documents of each group, by the id that the bank has. */
  let members = new Map<string, readonly string[]>();
  let groupAt = new Map<string, string>();

  const bytes = async (): Promise<number> => {
    const { total, dead } = await bank.size();
    return (total - dead) / 8;
  };
  const costOf = ({ entries }: Arrival): number =>
    entries.reduce((sum, entry) => {
      return sum + recordBytes(packEntry(entry, bank.quantizer(entry.version), bank.keys).length);
    }, 0);
  const fits = async (arrival: Arrival): Promise<boolean> =>
    bank.count() + arrival.entries.length <= mostEntries && (await bytes()) + costOf(arrival) <= budget;
  const first = (): string | undefined => bank.documents().next().value;

  const join = (group: string, documents: readonly string[]): void => {
    members.set(group, documents);
    for (const document of documents) groupAt.set(document, group);
  };
  const unlist = (group: string): void => {
    for (const number of bank.numbersOf(group)) {
      index.remove(number);
      documentOf.delete(number);
    }
  };
  const list = (group: string, numbers: readonly number[], keys: readonly Float32Array[]): void => {
    for (const [i, number] of numbers.entries()) {
      index.add(number, keys[i]);
      documentOf.set(number, group);
    }
  };
  const remove = async (group: string): Promise<readonly string[]> => {
    const gone = members.get(group) ?? [];
    unlist(group);
    await bank.delete(group);
    members.delete(group);
    for (const document of gone) groupAt.delete(document);
    return gone;
  };
  const write = async (group: string, entries: Arrival["entries"], documents: readonly string[]): Promise<void> => {
    unlist(group);
    const { numbers } = await bank.replace(entries);
    list(
      group,
      numbers,
      entries.map(({ key }) => key),
    );
    join(group, documents);
  };
  /** The oldest go until a document fits, or until the bank is within its limits. */
  const makeRoom = async (enough: () => Promise<boolean>): Promise<string[]> => {
    const gone: string[] = [];
    for (let oldest = first(); oldest !== undefined && !(await enough()); oldest = first())
      gone.push(...(await remove(oldest)));
    return gone;
  };
  const within = async (): Promise<boolean> => bank.count() <= mostEntries && (await bytes()) <= budget;

  const nearestOf = ({ entries }: Arrival): Situation["nearest"] => {
    let best: Situation["nearest"];
    for (const { key } of bank.count() === 0 ? [] : entries) {
      const { numbers, scores } = index.topK(key, 1);
      if (best === undefined || scores[0] > best.score)
        best = { document: documentOf.get(numbers[0]) as string, score: scores[0] };
    }
    return best;
  };

  /** Each chunk into the entry of the group that is nearest to it, weighted by how many documents that has. */
  const merge = async (group: string, { document, entries, slots }: Arrival): Promise<void> => {
    const own = await bank.read(bank.numbersOf(group));
    const before = members.get(group) ?? [];
    const [{ version }] = entries;
    const quantizer = bank.quantizer(version);
    const parts = own.map((entry) => ({
      key: entry.key,
      slots: bank.quantizer(entry.version).decode(entry.indices),
      weight: before.length,
    }));
    for (const [i, { key }] of entries.entries()) {
      const scores = parts.map((part) => inner(part.key, key));
      const part = parts[scores.indexOf(Math.max(...scores))];
      const weights = [part.weight, 1] as const;
      part.slots = mergeEntries(part.slots, slots[i], { weights });
      part.key = ofLength(mergeEntries(part.key, key, { weights }), Math.sqrt(inner(key, key)));
      part.weight++;
    }
    const merged = own.map(({ time }, i) => {
      const { indices } = quantizer.encode(parts[i].slots);
      return { document: group, time, key: parts[i].key, version, indices };
    });
    await write(group, merged, [...before, document]);
  };

  return {
    bytes,
    groupOf: (document) => members.get(groupAt.get(document) ?? "") ?? [],

    async meet(arrival) {
      const old = groupAt.get(arrival.document);
      const gone = old === undefined ? [] : (await remove(old)).filter((document) => document !== arrival.document);
      const nearest = nearestOf(arrival);
      const { settings, codebooks } = await bank.size();
      const fixed = codebooks.reduce((sum, { bits }) => sum + bits, settings) / 8;
      const own = costOf(arrival);
      // A document that is larger than the whole bank never gets in
      const could = arrival.entries.length <= mostEntries && fixed + own <= budget;
      const free = could && (await fits(arrival));
      const possible = deeds.filter((deed) => {
        if (deed === "store") return free;
        if (deed === "oldest") return could && !free;
        if (deed === "drop") return true;
        return nearest !== undefined && (deed === "merge" || could);
      });
      const taken = [
        bank.count() / mostEntries,
        Number.isFinite(budget) ? ((await bytes()) - fixed) / (budget - fixed) : 0,
      ];
      return { possible, nearest, oldest: first(), gone, used: Math.min(1, Math.max(...taken)) };
    },

    async act(deed, arrival) {
      const before = await bytes();
      const { document, entries } = arrival;
      const gone: string[] = [];
      const near = deed === "merge" || deed === "replace" ? nearestOf(arrival)?.document : undefined;
      const into = deed === "merge" ? near : undefined;
      if (into !== undefined) await merge(into, arrival);
      else if (deed !== "drop") {
        if (near !== undefined) gone.push(...(await remove(near)));
        gone.push(...(await makeRoom(() => fits(arrival))));
        await write(document, entries, [document]);
      }
      gone.push(...(await makeRoom(within)));
      return { deed, document, ...(into !== undefined && { into }), gone, bytes: (await bytes()) - before };
    },

    async settle() {
      const gone = await makeRoom(within);
      await bank.compact();
      return gone;
    },

    groups: () => Object.fromEntries([...members].filter(([, documents]) => documents.length > 1)),

    async open(groups) {
      index = createKeyIndex(bank.keys);
      [documentOf, members, groupAt] = [new Map(), new Map(), new Map()];
      for await (const page of bank.pages())
        for (const { document, number, key } of page) list(document, [number], [key]);
      for (const document of bank.documents()) join(document, groups[document] ?? [document]);
    },
  };
}

const inner = (a: Float32Array, b: Float32Array): number =>
  dot(Float64Array.from(a), 0, Float64Array.from(b), 0, a.length);

function ofLength(vector: Float32Array, length: number): Float32Array {
  const own = Math.sqrt(inner(vector, vector));
  return own > 0 ? vector.map((value) => (value * length) / own) : vector;
}

/** Refuses a budget that codebooks and settings alone fill. */
export async function checkBudget(bank: MemoryBank, budget: number | undefined): Promise<void> {
  const { total } = await bank.size();
  if (budget === undefined || total / 8 < budget) return;
  throw new UserError(
    `bank-compression: expected a budget above the ${Math.ceil(total / 8)} bytes of codebooks and settings, got ` +
      `${budget}; give more, or fewer residual codes (--depth)`,
  );
}
