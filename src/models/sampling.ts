/**
 * Choosing the next token from a row of scores: pure functions, so that each rule can be checked by itself.
 * The order is the usual one: repetition penalty, temperature, top-k, top-p, min-p, then one draw.
 */
import { UserError } from "../errors.ts";
import type { Random } from "../tensor/random.ts";

export interface SamplingOptions {
  /** Divides the scores. 0 or absent: the best token is taken and the filters below play no part. */
  temperature?: number;
  /** Keep the k best tokens. 0: all. */
  topK?: number;
  /** Keep the fewest best tokens whose probabilities sum to at least p (1904.09751). 1: all. */
  topP?: number;
  /** Keep tokens at least this fraction as likely as the best one (2407.01082). 0: all. */
  minP?: number;
  /** Makes tokens that occurred before less likely (CTRL, 1909.05858, section 4.1). 1: off. */
  repetitionPenalty?: number;
}

/** Tokens that may come next with their probabilities; best first after top-k or top-p. */
export interface Candidates {
  readonly ids: Int32Array;
  /** Sum to 1. */
  readonly probabilities: Float64Array;
}

/** Refuse options that make no sense, in one line. */
export function checkSampling({
  temperature = 0,
  topK = 0,
  topP = 1,
  minP = 0,
  repetitionPenalty = 1,
}: SamplingOptions): void {
  const rules: [string, number, boolean, string][] = [
    ["temperature", temperature, temperature >= 0 && Number.isFinite(temperature), "0 or more"],
    ["topK", topK, Number.isInteger(topK) && topK >= 0, "a whole number from 0 (all)"],
    ["topP", topP, topP > 0 && topP <= 1, "a number over 0, up to 1"],
    ["minP", minP, minP >= 0 && minP <= 1, "a number from 0 to 1"],
    [
      "repetitionPenalty",
      repetitionPenalty,
      repetitionPenalty > 0 && Number.isFinite(repetitionPenalty),
      "a number over 0 (1: off)",
    ],
  ];
  for (const [name, value, fine, wanted] of rules) {
    if (!fine)
      throw new UserError(`sampling: expected ${name} to be ${wanted}, got ${value}; leave it out for the default`);
  }
}

/** Index of the largest score, the first of equals. */
export function argmaxOf(scores: Float32Array): number {
  let best = 0;
  let top = scores[0];
  for (let i = 1; i < scores.length; i++) {
    if (scores[i] > top) {
      best = i;
      top = scores[i];
    }
  }
  return best;
}

const notFinite = (score: number): UserError =>
  new UserError(
    `generate: expected finite scores for the next token, got ${score}; the weights hold NaN or are far too large, ` +
      "as " +
      "after training with too high a learning rate: load others or train again with a lower one",
  );

/** As argmaxOf, of a model's scores: a model that has come apart is no reason to write token 0. */
function bestToken(scores: Float32Array): number {
  const best = argmaxOf(scores);
  if (!Number.isFinite(scores[best])) throw notFinite(scores[best]);
  return best;
}

/** In place: scores of the given tokens, each once, are divided by the penalty if positive, else multiplied by it. */
export function penalizeRepetition(scores: Float32Array, seen: Iterable<number>, penalty: number): void {
  if (penalty === 1) return;
  for (const id of new Set(seen)) scores[id] = scores[id] > 0 ? scores[id] / penalty : scores[id] * penalty;
}

/** In place: scores to probabilities' logarithms, in nats. Throws if they are not all numbers. */
export function logSoftmaxInPlace(scores: Float32Array): Float32Array {
  let top = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < scores.length; i++) if (scores[i] > top) top = scores[i];
  let sum = 0;
  for (let i = 0; i < scores.length; i++) sum += Math.exp(scores[i] - top);
  const shift = top + Math.log(sum);
  if (!Number.isFinite(shift)) throw notFinite(shift);
  for (let i = 0; i < scores.length; i++) scores[i] -= shift;
  return scores;
}

/** The tokens that survive the filters, with renewed probabilities. Temperature must be over 0. */
export function candidates(
  scores: Float32Array,
  { temperature = 1, topK = 0, topP = 1, minP = 0 }: SamplingOptions,
): Candidates {
  const best = scores[bestToken(scores)];
  const weigh = (id: number): number => Math.exp((scores[id] - best) / temperature); // the best token weighs 1
  let ids = topK > 0 && topK < scores.length ? bestOf(scores, topK) : Int32Array.from(scores.keys());
  if (topP < 1) ids = nucleus(scores, ids, topP, weigh);
  if (minP > 0) ids = ids.filter((id) => weigh(id) >= minP);
  const probabilities = Float64Array.from(ids, weigh);
  const total = probabilities.reduce((a, b) => a + b, 0);
  if (!Number.isFinite(total)) throw notFinite(total);
  for (let i = 0; i < probabilities.length; i++) probabilities[i] /= total;
  return { ids, probabilities };
}

/**
 * The fewest best tokens of `ids` that hold a share p of their weight. Few are needed as a rule, so few are sorted
 * first.
 */
function nucleus(scores: Float32Array, ids: Int32Array, p: number, weigh: (id: number) => number): Int32Array {
  let total = 0;
  for (const id of ids) total += weigh(id);
  for (let k = Math.min(64, ids.length); ; k = Math.min(8 * k, ids.length)) {
    const sorted = bestOf(scores, k);
    let reached = 0;
    for (let i = 0; i < k; i++) {
      reached += weigh(sorted[i]);
      if (reached >= p * total) return sorted.subarray(0, i + 1);
    }
    if (k === ids.length) return sorted;
  }
}

/**
 * The k best ids by falling score, equals by rising id: sorting a large vocabulary takes longer than a small model's
 * step.
 */
export function bestOf(scores: Float32Array, k: number): Int32Array {
  // A heap whose root is the worst of those kept
  const heap = new Int32Array(Math.min(k, scores.length));
  const worse = (a: number, b: number): boolean => scores[a] < scores[b] || (scores[a] === scores[b] && a > b);
  let size = 0;
  const sink = (start: number): void => {
    const id = heap[start];
    let at = start;
    for (let child = 2 * at + 1; child < size; child = 2 * at + 1) {
      if (child + 1 < size && worse(heap[child + 1], heap[child])) child++;
      if (!worse(heap[child], id)) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = id;
  };
  for (let id = 0; id < scores.length; id++) {
    if (size < heap.length) {
      heap[size++] = id;
      if (size === heap.length) for (let i = size >> 1; i >= 0; i--) sink(i);
    } else if (worse(heap[0], id)) {
      heap[0] = id;
      sink(0);
    }
  }
  return heap.sort((a, b) => scores[b] - scores[a] || a - b);
}

/** One draw. */
export function draw({ ids, probabilities }: Candidates, random: Random): number {
  let left = random.uniform();
  for (let i = 0; i < ids.length - 1; i++) {
    left -= probabilities[i];
    if (left < 0) return ids[i];
  }
  return ids[ids.length - 1];
}

/**
 * The next token from its scores [V], which this may overwrite. `seen`: the tokens read and written so far.
 * One number is drawn per token, whatever the filters, so that seeds stay comparable. Throws if the best is not finite.
 */
export function chooseToken(
  scores: Float32Array,
  options: SamplingOptions,
  seen: Iterable<number>,
  random: Random,
): number {
  penalizeRepetition(scores, seen, options.repetitionPenalty ?? 1);
  if (!options.temperature) return bestToken(scores);
  return draw(candidates(scores, options), random);
}
