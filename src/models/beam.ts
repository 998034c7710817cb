/**
 * Beam search, and diverse group beam search (1610.02424, Algorithm 1) with Hamming diversity: groups choose one after
 * another, and each pays for every token that earlier groups chose at the same step (Eq. 5: theta with Delta the
 * count). Penalties stay in a hypothesis's score. Lengths are normalised by dividing by (new tokens) ** lengthPenalty.
 */
import { UserError } from "../errors.ts";
import type { Decoder } from "./decoder.ts";
import { checkPrompts } from "./generate.ts";
import { bestOf, logSoftmaxInPlace } from "./sampling.ts";

export interface BeamOptions {
  /** Hypotheses kept, over all groups. */
  beams?: number;
  /** Divides the beams; 1 is plain beam search. */
  groups?: number;
  /** Subtracted from a token's log-probability for every hypothesis of an earlier group that just chose it. */
  diversityPenalty?: number;
  lengthPenalty?: number;
  maxTokens?: number;
  /** A hypothesis that chooses one of these is complete; without any, all get maxTokens tokens. */
  eosIds?: readonly number[];
}

export interface Hypothesis {
  readonly group: number;
  /** New tokens, the end token included. */
  readonly ids: readonly number[];
  /** Sum of the log-probabilities of the new tokens, in nats, without penalties. */
  readonly logProb: number;
  /** What hypotheses are ranked by: with penalties, normalised by length. */
  readonly score: number;
}

interface Beam {
  readonly ids: readonly number[];
  readonly logProb: number;
  readonly penalised: number;
  /** Its row in the cache. */
  readonly row: number;
}

/** Hypotheses group by group, the best of each group first. */
export async function beamSearch(
  decoder: Decoder,
  prompt: readonly number[],
  { beams = 4, groups = 1, diversityPenalty = 0.5, lengthPenalty = 1, maxTokens = 64, eosIds = [] }: BeamOptions = {},
): Promise<Hypothesis[]> {
  const { context, vocabulary } = decoder.geometry;
  for (const [name, value] of Object.entries({ beams, groups, maxTokens })) {
    if (!Number.isInteger(value) || value < 1)
      throw new UserError(`beamSearch: expected ${name} to be 1 or more, got ${value}`);
  }
  if (beams % groups !== 0)
    throw new UserError(`beamSearch: expected beams divisible by groups, got ${beams} beams in ${groups} groups`);
  checkPrompts([prompt], context);
  const size = beams / groups;
  const ends = new Set(eosIds);
  const steps = Math.min(maxTokens, context - prompt.length + 1);
  const normalised = (group: number, { ids, logProb, penalised }: Omit<Beam, "row">): Hypothesis => ({
    group,
    ids,
    logProb,
    score: penalised / ids.length ** lengthPenalty,
  });

  const cache = decoder.createCache(1, prompt.length + steps);
  let logits = await decoder.step(cache, prompt);
  let live: Beam[][] = Array.from({ length: groups }, () => [{ ids: [], logProb: 0, penalised: 0, row: 0 }]);
  const done: Hypothesis[][] = Array.from({ length: groups }, () => []);
  for (let step = 1; ; step++) {
    for (let row = 0; row < cache.batch; row++)
      logSoftmaxInPlace(logits.subarray(row * vocabulary, (row + 1) * vocabulary));
    const chosen = new Map<number, number>(); // token -> hypotheses of earlier groups that end in it now
    live = live.map((group, g) => {
      if (group.length === 0) return group;
      // In the worst case every beam's best tokens are all the ends
      const ranked = expand(
        group,
        logits,
        vocabulary,
        size * (1 + ends.size),
        (token) => diversityPenalty * (chosen.get(token) ?? 0),
      );
      const next: Beam[] = [];
      for (const [rank, beam] of ranked.entries()) {
        if (next.length === size) break;
        if (!ends.has(beam.ids[step - 1])) next.push(beam);
        else if (rank < size) done[g].push(normalised(g, beam));
      }
      done[g] = best(done[g], size);
      for (const { ids } of next) chosen.set(ids[step - 1], (chosen.get(ids[step - 1]) ?? 0) + 1);
      // Log-probabilities only fall: a full group ends when its best beam cannot reach its worst complete hypothesis
      const longest = lengthPenalty > 0 ? steps : step;
      const hopeless =
        done[g].length === size &&
        next.length > 0 &&
        next[0].penalised / longest ** lengthPenalty <= done[g][size - 1].score;
      return hopeless ? [] : next;
    });
    const all = live.flat();
    if (step === steps || all.length === 0) break;
    cache.select(all.map(({ row }) => row));
    let row = 0;
    live = live.map((group) => group.map((beam) => ({ ...beam, row: row++ })));
    const place = prompt.length + step - 1;
    logits = await decoder.step(
      cache,
      all.map(({ ids }) => ids[step - 1]),
      all.map(() => place),
    );
  }
  return live.flatMap((group, g) => best([...done[g], ...group.map((beam) => normalised(g, beam))], size));
}

/** The best extensions of a group's beams by one token, best first. */
function expand(
  group: readonly Beam[],
  logProbs: Float32Array,
  vocabulary: number,
  count: number,
  penalty: (token: number) => number,
): Beam[] {
  const found: Beam[] = [];
  for (const { ids, logProb, penalised, row } of group) {
    const scores = logProbs.subarray(row * vocabulary, (row + 1) * vocabulary);
    const adjusted = scores.map((value, token) => value - penalty(token));
    for (const token of bestOf(adjusted, count)) {
      found.push({
        ids: [...ids, token],
        logProb: logProb + scores[token],
        penalised: penalised + scores[token] - penalty(token),
        row,
      });
    }
  }
  return found.sort((a, b) => b.penalised - a.penalised).slice(0, count);
}

const best = (hypotheses: readonly Hypothesis[], count: number): Hypothesis[] =>
  [...hypotheses].sort((a, b) => b.score - a.score).slice(0, count);
