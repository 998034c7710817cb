/**
 * Which documents a bank of limited bytes keeps, and how: fixed rules, chance, or a contextual bandit (LinUCB,
 * memory/bank-policy.ts) that learns from what its deeds were worth. After every few documents the questions that they
 * and the documents they touched bring are asked again: reward = accuracy on the new one - what the others lost -
 * λ x bytes. At the end of a step a second bandit leaves the codebook, fits it again or updates the adapters.
 * Accuracy is the share of an answer's tokens that are the model's first choice, teacher-forced.
 */
import { z } from "zod";
import { type BankPolicy, bankReward, createBankPolicy } from "../../memory/bank-policy.ts";
import { type MemoryState, underPrefix, withPrefix } from "../../memory/packed.ts";
import { type Random, randomStream, pick } from "../../tensor/random.ts";
import type { Method, StatedFact } from "../method.ts";
import type { Arrival, Curator, Deed, Done, Situation } from "./curator.ts";
import { deeds } from "./curator.ts";

export const policyNames = ["bandit", "random", "store", "oldest", "merge", "replace"] as const;
export type PolicyName = (typeof policyNames)[number];

/** What may be done with the module at the end of a step. */
const cares = ["leave", "refit", "adapt"] as const;
export type Care = (typeof cares)[number];

/** Fixed rules: the first deed that is possible. All store as long as there is room. */
const rules: Partial<Record<PolicyName, readonly Deed[]>> = {
  store: ["store", "drop"],
  oldest: ["store", "oldest", "drop"],
  merge: ["store", "merge", "drop"],
  replace: ["store", "replace", "drop"],
};

/** An arrival with what it brings to be asked. */
export interface Taught extends Arrival {
  readonly facts: readonly StatedFact[];
}

export interface PolicyOptions {
  readonly name: PolicyName;
  readonly curator: Curator;
  /** What the method answers now. */
  readonly rate: Method["rate"];
  /** What this kind of bank knows; the first is what fixed rules do. */
  readonly cares: readonly Care[];
  /** Fits the codebook again to what came lately, or updates the adapters by these documents. */
  readonly care: (care: Care) => Promise<void>;
  /** Share of the codes that no entry uses. */
  readonly dead: () => number;
  /** λ: accuracy for a megabyte (10^6 bytes). */
  readonly cost: number;
  /** α of LinUCB. */
  readonly explore: number;
  readonly seed: number;
}

interface StepReport {
  readonly done: readonly Done[];
  readonly care: Care;
  /** Documents that went at the end, for which a changed codebook left no room. */
  readonly gone: readonly string[];
}

export interface DocumentPolicy {
  /** One step of a stream: what became of each document, and of the module. */
  take(documents: readonly Taught[], options?: { readonly signal?: AbortSignal }): Promise<StepReport>;
  state(): MemoryState;
  restore(state: MemoryState): void;
}

/** Documents between two looks at what the deeds were worth. */
const LOT = 16;
/** Questions of a document that are asked, and touched documents that are asked about, at most. */
const [MOST_FACTS, MOST_TOUCHED] = [2, 2];
/** Documents of a step, and earlier ones, by which care is judged. */
const [RECENT, EARLIER] = [16, 16];

const factSchema = z.custom<StatedFact>((value) => typeof value === "object" && value !== null);
const stateSchema = z.object({
  standing: z.array(z.object({ document: z.string(), facts: z.array(factSchema), accuracy: z.number().optional() })),
  error: z.object({ mean: z.number(), count: z.number() }),
  random: z.tuple([z.number(), z.number(), z.number(), z.number()]),
  deeds: z.record(z.string(), z.unknown()),
  cares: z.record(z.string(), z.unknown()),
});

/** What is known of a document that is in the bank. */
interface Standing {
  readonly facts: readonly StatedFact[];
  /** When it was last asked about. */
  accuracy?: number;
}

/** What describes a document's situation to the bandit: all about from 0 to 1. */
const FEATURES = 8;
/** The same of a step. */
const CARE_FEATURES = 5;

const mean = (values: readonly number[]): number =>
  values.length === 0 ? 0 : values.reduce((sum, one) => sum + one, 0) / values.length;

export function createDocumentPolicy(options: PolicyOptions): DocumentPolicy {
  const { name, curator, rate, cost, explore, seed } = options;
  const learns = name === "bandit";
  const random: Random = randomStream(seed, "document policy");
  const ofDeeds: BankPolicy<Deed> = createBankPolicy({ actions: deeds, features: FEATURES, alpha: explore, seed });
  const ofCares: BankPolicy<Care> = createBankPolicy({
    actions: cares,
    features: CARE_FEATURES,
    alpha: explore,
    seed: seed + 1,
  });
  const lambda = cost / 1e6;
  let standing = new Map<string, Standing>();
  /** Mean error of quantising of all that came. */
  let error = { mean: 0, count: 0 };

  /** Accuracy on what each document brings, as far as it is asked; undefined for one that brings nothing. */
  const accuracies = async (
    asked: readonly (readonly StatedFact[])[],
    signal?: AbortSignal,
  ): Promise<(number | undefined)[]> => {
    const pairs = asked.flat().map(({ prompt, target }) => ({ query: prompt, answer: target }));
    const rated = pairs.length === 0 ? [] : await rate(pairs, { signal });
    let at = 0;
    return asked.map((facts) => {
      const own = rated.slice(at, (at += facts.length));
      return own.length === 0 ? undefined : mean(own.map(({ correct, tokens }) => correct / tokens));
    });
  };

  const worth = (document: string | undefined): number =>
    document === undefined ? 0 : mean(curator.groupOf(document).map((one) => standing.get(one)?.accuracy ?? 0));

  const describe = ({ error: own }: Taught, { nearest, oldest, used }: Situation, known: number): number[] => [
    1,
    nearest?.score ?? 0,
    used,
    known,
    own === undefined || error.mean === 0 ? 0 : Math.min(2, own / error.mean) - 1,
    nearest === undefined ? 0 : 1 - 1 / curator.groupOf(nearest.document).length,
    worth(nearest?.document),
    worth(oldest),
  ];

  const choose = (situation: Situation, x: readonly number[]): Deed => {
    if (learns) return ofDeeds.choose(x, situation.possible);
    const rule = rules[name];
    if (rule) return rule.find((deed) => situation.possible.includes(deed)) ?? "drop";
    return pick(situation.possible, random);
  };

  const forget = (documents: readonly string[]): void => {
    for (const document of documents) if (curator.groupOf(document).length === 0) standing.delete(document);
  };

  /** A few documents, one after another, and then what each deed was worth. */
  const takeLot = async (lot: readonly Taught[], signal?: AbortSignal): Promise<Done[]> => {
    const known = learns
      ? await accuracies(
          lot.map(({ facts }) => facts),
          signal,
        )
      : [];
    const all: { done: Done; x: number[]; touched: { facts: readonly StatedFact[]; before: number; of: string }[] }[] =
      [];
    for (const [i, arrival] of lot.entries()) {
      const situation = await curator.meet(arrival);
      const x = learns ? describe(arrival, situation, known[i] ?? 0) : [];
      const deed = choose(situation, x);
      const near = situation.nearest ? curator.groupOf(situation.nearest.document) : [];
      const acted = await curator.act(deed, arrival);
      const done = { ...acted, gone: [...situation.gone, ...acted.gone] };
      if (arrival.error !== undefined) {
        const count = error.count + 1;
        error = { mean: error.mean + (arrival.error - error.mean) / count, count };
      }
      // Whoever went, and whoever may be found in its place
      const touched = [...new Set([...done.gone, ...(deed === "drop" ? [] : near)])].flatMap((of) => {
        const { facts, accuracy: before } = standing.get(of) ?? { facts: [] };
        return before === undefined || facts.length === 0 || of === arrival.document ? [] : [{ facts, before, of }];
      });
      all.push({ done, x, touched });
      if (learns) standing.set(arrival.document, { facts: arrival.facts });
      forget([...done.gone, arrival.document]);
    }
    if (learns) {
      const asked = all.map(({ touched }) => touched.slice(0, MOST_TOUCHED));
      const after = await accuracies(
        [...lot.map(({ facts }) => facts), ...asked.flat().map(({ facts }) => facts)],
        signal,
      );
      let at = lot.length;
      for (const [i, { done, x, touched }] of all.entries()) {
        const accuracy = after[i];
        const lost = asked[i].map(({ before, of }) => {
          const now = after[at++] ?? 0;
          const kept = standing.get(of);
          if (kept) kept.accuracy = now;
          return before - now;
        });
        if (accuracy === undefined) continue;
        const own = standing.get(lot[i].document);
        if (own) own.accuracy = accuracy;
        const forgetting = mean(lost) * touched.length;
        ofDeeds.update(done.deed, x, bankReward({ accuracy, forgetting, bytes: done.bytes }, { lambda }));
      }
    }
    return all.map(({ done }) => done);
  };

  /** Documents that are judged: spread over those that are in the bank and bring something. */
  const spread = (documents: readonly string[], most: number): Standing[] => {
    const found = documents.flatMap((document) => standing.get(document) ?? []).filter(({ facts }) => facts.length > 0);
    const count = Math.min(most, found.length);
    return Array.from({ length: count }, (_, i) => found[Math.floor((i * found.length) / count)]);
  };

  const careFor = async (lately: ReadonlySet<string>, signal?: AbortSignal): Promise<Care> => {
    const open = options.cares;
    if (!learns || open.length === 1) {
      const care = name === "random" ? pick(open, random) : open[0];
      await options.care(care);
      return care;
    }
    const recent = spread([...lately], RECENT);
    const earlier = spread(
      [...standing.keys()].filter((document) => !lately.has(document)),
      EARLIER,
    );
    const ask = async (): Promise<[number, number]> => {
      const found = await accuracies(
        [...recent, ...earlier].map(({ facts }) => facts),
        signal,
      );
      const own = found.map((accuracy) => accuracy ?? 0);
      return [mean(own.slice(0, recent.length)), mean(own.slice(recent.length))];
    };
    const before = await ask();
    const held = await curator.bytes();
    const x = [1, before[0], before[1], options.dead(), recent.length / Math.max(1, lately.size)];
    const care = ofCares.choose(x, open);
    await options.care(care);
    const after = care === "leave" ? before : await ask();
    const bytes = (await curator.bytes()) - held;
    const parts = { accuracy: after[0], forgetting: before[1] - after[1], bytes };
    ofCares.update(care, x, bankReward(parts, { lambda }));
    return care;
  };

  return {
    async take(documents, { signal } = {}) {
      const done: Done[] = [];
      for (let start = 0; start < documents.length; start += LOT) {
        signal?.throwIfAborted();
        const lot = documents
          .slice(start, start + LOT)
          .map((one) => ({ ...one, facts: one.facts.slice(0, MOST_FACTS) }));
        done.push(...(await takeLot(lot, signal)));
      }
      const care = await careFor(new Set(documents.map(({ document }) => document)), signal);
      const gone = await curator.settle();
      forget(gone);
      return { done, care, gone };
    },

    state() {
      const [forDeeds, forCares] = [ofDeeds.state(), ofCares.state()];
      return {
        tensors: { ...withPrefix("deeds/", forDeeds.tensors), ...withPrefix("cares/", forCares.tensors) },
        json: {
          standing: [...standing].map(([document, one]) => ({ document, ...one })),
          error,
          random: [...random.save()],
          deeds: forDeeds.json,
          cares: forCares.json,
        },
      };
    },

    restore({ tensors, json }) {
      const saved = stateSchema.parse(json);
      ofDeeds.restore({ tensors: underPrefix("deeds/", tensors), json: saved.deeds });
      ofCares.restore({ tensors: underPrefix("cares/", tensors), json: saved.cares });
      random.restore(saved.random);
      standing = new Map(saved.standing.map(({ document, ...one }) => [document, one]));
      error = saved.error;
    },
  };
}
