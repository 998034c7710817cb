/**
 * Which slots of a memory a batch is learned in. Paper: "Continual Learning via Sparse Memory Finetuning",
 * https://arxiv.org/abs/2510.15103, section 3.1: the t slots of the highest TF-IDF, where a slot is a term, the batch is
 * the document, and batches of ordinary text are the corpus. Beside it the rankings that it is compared with; the
 * divergence is that of https://arxiv.org/abs/2604.05248, known to us by its abstract: our formula.
 * Letters: c(i) reads of slot i in the batch, B background batches, df(i) those of them that read slot i.
 */
import { UserError } from "../../errors.ts";
import { randomStream } from "../../tensor/random.ts";

export const rankings = ["tf-idf", "tf", "kl", "all", "random"] as const;
export type Ranking = (typeof rankings)[number];

/** How many batches of ordinary text read each slot. */
export interface Background {
  /** |B|. */
  readonly batches: number;
  /** df [N]. */
  readonly frequencies: Int32Array;
}

/** Reads of each slot. */
export type Counts = ReadonlyMap<number, number>;

/** Counts what M tokens read, slots [M, S], of those whose `mask` [M] is not 0: padding reads too, and means nothing. */
export function countReads(slots: Int32Array, mask: ArrayLike<number>, into = new Map<number, number>()): typeof into {
  const perToken = slots.length / mask.length;
  for (let token = 0; token < mask.length; token++) {
    if (mask[token] === 0) continue;
    for (let i = token * perToken; i < (token + 1) * perToken; i++) into.set(slots[i], (into.get(slots[i]) ?? 0) + 1);
  }
  return into;
}

/** The part of a batch's reads that each slot has, [number of `counts`]. */
function shares(counts: Counts): Float64Array {
  let total = 0;
  for (const count of counts.values()) total += count;
  return Float64Array.from(counts.values(), (count) => count / total);
}

/**
 * The score of each slot read, in the order of `counts`; higher is learned first. tf-idf:
 * c(i) / sum_j c(j) * ln((|B| + 1) / (df(i) + 1)). kl: p(i) ln(p(i) / q(i)), what slot i adds to the divergence of the
 * batch's reads p from the background's q(i) = (df(i) + 1) / sum_j (df(j) + 1). The others do not look at a background.
 */
export function scoresOf(
  counts: Counts,
  ranking: Ranking,
  { batches, frequencies }: Background,
  seed = 0,
): Float64Array {
  const tf = shares(counts);
  const slots = [...counts.keys()];
  const scored = (score: (slot: number, share: number) => number): Float64Array =>
    tf.map((share, i) => score(slots[i], share));
  switch (ranking) {
    case "tf-idf":
      return scored((slot, share) => share * Math.log((batches + 1) / (frequencies[slot] + 1)));
    case "kl": {
      let total = 0;
      for (let i = 0; i < frequencies.length; i++) total += frequencies[i] + 1;
      return scored((slot, share) => share * Math.log((share * total) / (frequencies[slot] + 1)));
    }
    case "random": {
      const random = randomStream(seed, "slots");
      return scored(() => random.uniform());
    }
    default:
      return tf;
  }
}

export interface RankingOptions {
  readonly ranking: Ranking;
  /** t; `all` takes every slot that was read. */
  readonly top: number;
  /** Looked at by tf-idf and kl alone. */
  readonly background: Background;
  /** Of random. */
  readonly seed?: number;
}

/** The slots to learn in, in rising order: the t best, of equal ones the lowest. */
export function chooseSlots(counts: Counts, { ranking, top, background, seed }: RankingOptions): Int32Array {
  const slots = Int32Array.from(counts.keys());
  if (ranking === "all") return slots.sort();
  if (top > slots.length) {
    throw new UserError(
      `sparse-memory: expected top of at most the ${slots.length} slots that the batch reads, got ${top}; lower it, or ` +
        "give the batch more or longer wordings",
    );
  }
  const scores = scoresOf(counts, ranking, background, seed);
  const order = Array.from(slots.keys()).sort((a, b) => scores[b] - scores[a] || slots[a] - slots[b]);
  return Int32Array.from(order.slice(0, top), (i) => slots[i]).sort();
}
