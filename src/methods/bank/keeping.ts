/**
 * A bank in RAM that does not keep all: a curator (curator.ts) who does what a policy (policy.ts) chooses, with the
 * codebook fitted again (refit.ts) or the adapters updated (online.ts) between. Says what became of each document.
 */
import { z } from "zod";
import type { Codebook } from "../../memory/codebook.ts";
import { joinRows } from "../../memory/matrix.ts";
import type { MemoryBank } from "../../memory/memory-bank.ts";
import { type MemoryState, tensorOf, underPrefix, withPrefix } from "../../memory/packed.ts";
import { float32Host } from "../../tensor/dtype.ts";
import { randomStream } from "../../tensor/random.ts";
import type { Document, Fate, Method } from "../method.ts";
import { factsOf } from "../stated.ts";
import { type Arrival, createCurator, type Deed, type Done } from "./curator.ts";
import type { Online } from "./online.ts";
import { type Care, createDocumentPolicy, type PolicyName } from "./policy.ts";
import { refitCodebook } from "./refit.ts";

export interface KeepingOptions {
  readonly policy: PolicyName;
  readonly bank: MemoryBank;
  readonly budget?: number;
  readonly mostEntries?: number;
  /** What documents are coded with; its numbers are changed in place. */
  readonly codebook: Codebook;
  readonly online?: Online;
  readonly rate: Method["rate"];
  /** Accuracy for a megabyte. */
  readonly cost: number;
  readonly explore: number;
  readonly seed: number;
  /** Puts the codebook as it stands into the bank; all entries are coded anew. */
  readonly renew: () => Promise<void>;
}

/** What a write came to. */
export interface Kept {
  /** Mean loss of the updates of adapters, and how many there were; undefined: the usual number. */
  readonly loss: number;
  readonly updates?: number;
  readonly notes: readonly string[];
  /** Documents that had to go for new ones. */
  readonly evicted?: readonly string[];
  readonly became?: readonly Fate[];
}

export interface Keeping {
  take(
    documents: readonly Document[],
    arrivals: readonly Arrival[],
    options?: { readonly signal?: AbortSignal },
  ): Promise<Kept>;
  state(): MemoryState;
  /** After the bank was restored. */
  restore(state: MemoryState): Promise<void>;
}

/** Entries' numbers that a codebook is fitted to again: the last so many. */
const LATELY = 64;

/** What was done, in a few words each. */
const words: Readonly<Record<Deed, string>> = {
  store: "stored",
  merge: "merged with the nearest",
  replace: "in place of the nearest",
  oldest: "in place of the oldest",
  drop: "dropped",
};
const careWords: Readonly<Partial<Record<Care, string>>> = {
  refit: "codebook fitted again",
  adapt: "adapters updated",
};

const stateSchema = z.object({
  groups: z.record(z.string(), z.array(z.string())),
  lately: z.int().min(0),
  refits: z.int().min(0),
  policy: z.record(z.string(), z.unknown()),
});

function summaryOf(done: readonly Done[], care: Care, gone: readonly string[]): string {
  const counts = Object.entries(words).flatMap(([deed, word]) => {
    const count = done.filter((one) => one.deed === deed).length;
    return count === 0 ? [] : [`${count} ${word}`];
  });
  const went = gone.length + done.reduce((sum, one) => sum + one.gone.length, 0);
  return [
    `${done.length} documents: ${counts.join(", ")}`,
    ...(went === 0 ? [] : [`${went} earlier ones went`]),
    ...(careWords[care] === undefined ? [] : [careWords[care]]),
  ].join("; ");
}

export function createKeeping(options: KeepingOptions): Keeping {
  const { policy: name, bank, budget, mostEntries, codebook, online, rate, cost, explore, seed, renew } = options;
  const curator = createCurator({ bank, budget, mostEntries });
  const bins = bank.quantizer(bank.versions()[0]).bins;
  const known: readonly Care[] = online ? ["adapt", "leave"] : bins > 0 ? ["leave", "refit"] : ["leave"];
  const size = codebook.tokens * codebook.width;
  let lately: Float32Array[] = [];
  let step: readonly Document[] = [];
  let loss = 0;
  let refits = 0;

  const counts = (): Float64Array => bank.histogram(bank.versions().at(-1) as number);
  const refit = async (): Promise<void> => {
    await refitCodebook(codebook, joinRows(lately, size), {
      counts: counts(),
      random: randomStream(seed, "refit", refits++),
    });
    await renew();
    // As the bank keeps it, so that a restored run has the same
    codebook.data.set(bank.quantizer(bank.versions().at(-1) as number).codebook.data);
  };
  const policy = createDocumentPolicy({
    name,
    curator,
    rate,
    cares: known,
    async care(care) {
      if (care === "refit") await refit();
      if (care === "adapt" && online) ({ loss } = await online.learn(step));
    },
    dead() {
      const all = counts();
      return all.length === 0 ? 0 : all.filter((count) => count === 0).length / all.length;
    },
    cost,
    explore,
    seed,
  });

  return {
    async take(documents, arrivals, { signal } = {}) {
      [step, loss] = [documents, 0];
      const facts = documents.map(factsOf);
      if (known.includes("refit")) lately = [...lately, ...arrivals.flatMap(({ slots }) => slots)].slice(-LATELY);
      const taught = arrivals.map((arrival, i) => ({ ...arrival, facts: facts[i] }));
      const { done, care, gone } = await policy.take(taught, { signal });
      const silent = name === "bandit" && documents.length > 0 && facts.every(({ length }) => length === 0);
      return {
        loss,
        ...(care === "leave" && { updates: 0 }),
        notes: [
          summaryOf(done, care, gone),
          ...(silent ? ["the documents bring no questions, so the bandit learns nothing from them"] : []),
        ],
        became: done.map(({ document, deed, into, gone: went }) => ({
          document,
          deed,
          ...(into !== undefined && { into }),
          gone: went,
        })),
      };
    },

    state() {
      const { tensors, json } = policy.state();
      const slots = float32Host([lately.length, size], joinRows(lately, size));
      return {
        tensors: withPrefix("keeping/", { ...tensors, ...(lately.length > 0 && { lately: slots }) }),
        json: { groups: curator.groups(), lately: lately.length, refits, policy: json },
      };
    },

    async restore({ tensors, json }) {
      const saved = stateSchema.parse(json);
      const own = underPrefix("keeping/", tensors);
      policy.restore({ tensors: own, json: saved.policy });
      const numbers =
        saved.lately === 0
          ? new Float32Array()
          : tensorOf({ tensors: own, json: {} }, "lately", "float32", [saved.lately, size]).data;
      lately = Array.from({ length: saved.lately }, (_, i) =>
        Float32Array.from(numbers.slice(i * size, (i + 1) * size)),
      );
      ({ refits } = saved);
      await curator.open(saved.groups);
      if (known.includes("refit")) codebook.data.set(bank.quantizer(bank.versions().at(-1) as number).codebook.data);
    },
  };
}
