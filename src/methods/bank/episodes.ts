/**
 * What a fit of bank compression practises: episodes of K documents and of questions about them. A question either sees
 * all of its episode's documents alike, as in the papers, or a few that retrieval might have found, each with a bias; a
 * few ask for what their documents do not say. A batch is a pure function of its number, so a fit resumes anywhere.
 */
import type { Tokenizer } from "../../checkpoint/tokenizer.ts";
import { UserError } from "../../errors.ts";
import { textIds } from "../../models/answer.ts";
import { pick, type Random, randomStream } from "../../tensor/random.ts";
import { requireStep } from "../batches.ts";
import type { Document, Query, StatedFact } from "../method.ts";
import { promptOf, unknownAnswer } from "../prompt.ts";
import { answerIds, factsOf } from "../stated.ts";
import type { EpisodeBatch } from "./objective.ts";
import type { SlotEncoder } from "./slot-encoder.ts";

/** How the slots of an episode reach its questions. */
export type Precision = "full" | "residual" | "single";

export interface EpisodeOptions {
  /** Of the base. */
  readonly tokenizer: Tokenizer;
  /** What documents and questions are to it. */
  readonly encoder: Pick<SlotEncoder, "context" | "documentIds" | "questionIds">;
  readonly documents: readonly Document[];
  /** R of the residual codebooks. */
  readonly depth: number;
  /** G episodes of K documents and Q questions. */
  readonly groups: number;
  readonly perGroup: number;
  readonly questions: number;
  /** Share of questions that see a few documents with a bias, and the most that they see. */
  readonly retrieved: number;
  readonly mostRetrieved: number;
  /** Largest bias that sets a less likely document back, drawn for each. */
  readonly bias: number;
  /** Share of questions whose document is not there. */
  readonly unanswerable: number;
  /** Shares of precisions before and from the step where codebooks are there. */
  readonly precisions: Readonly<Record<Precision, number>>;
  readonly quantizedFrom: number;
  readonly seed: number;
}

/** Documents whose slots a question may not see. */
const UNSEEN = -1e9;
/** Stands behind encoded texts, where masks hide it: a token of every vocabulary. */
const HIDDEN = 0;
/** Chance that a document which does not hold the answer is the likeliest. */
const MISTAKEN = 0.1;

interface Practised {
  readonly ids: readonly number[];
  readonly facts: readonly StatedFact[];
}

/** A prompt as the decoder reads it behind documents: one text, encoded as a whole, as when it is asked. */
export const promptAfter = (tokenizer: Tokenizer, query: Query): number[] => textIds(tokenizer, promptOf(query, [""]));

interface Question {
  readonly asked: readonly number[];
  readonly prompt: readonly number[];
  readonly answer: readonly number[];
  /** Bias of each document of the episode. */
  readonly bias: readonly number[];
}

export interface Episodes {
  batchAt(step: number): EpisodeBatch;
  /** Documents that are practised. */
  readonly count: number;
  /** Tokens of practised documents as the encoder has them, for starts and codebooks: some of them, drawn by a number. */
  texts(count: number, draw: number): (readonly number[])[];
}

export function createEpisodes(options: EpisodeOptions): Episodes {
  const { tokenizer, encoder, documents, groups: G, perGroup: K, questions: Q, seed } = options;
  const { context } = encoder;
  const practised = documents.flatMap((document): Practised[] => {
    const facts = factsOf(document);
    if (facts.length === 0) return [];
    const ids = encoder.documentIds(document.text);
    return ids.length > 0 && ids.length <= context ? [{ ids, facts }] : [];
  });
  if (practised.length < K) {
    throw new UserError(
      `fit: expected ${K} or more documents with questions of at most ${context} tokens, got ${practised.length} of ` +
        `${documents.length}; give more, or shorter ones`,
    );
  }
  const padId = tokenizer.eosId ?? 0;

  const biasOf = (random: Random, right: number, answerable: boolean): number[] => {
    const bias = Array.from({ length: K }, () => 0);
    if (random.uniform() >= options.retrieved) {
      if (!answerable) bias[right] = UNSEEN;
      return bias;
    }
    bias.fill(UNSEEN);
    const others = random.shuffle([...bias.keys()].filter((k) => k !== right));
    const seen = others.slice(0, random.integer(options.mostRetrieved));
    if (!answerable && seen.length === 0) seen.push(others[0]);
    for (const k of seen) bias[k] = -options.bias * random.uniform();
    if (!answerable) return bias;
    bias[right] = 0;
    if (seen.length > 0 && random.uniform() < MISTAKEN) {
      bias[right] = bias[seen[0]] / 4;
      bias[seen[0]] = 0;
    }
    return bias;
  };

  const questionOf = (random: Random, episode: readonly Practised[]): Question => {
    const right = random.integer(K);
    const fact = pick(episode[right].facts, random);
    const query = pick([fact.prompt, ...(fact.rephrased ?? [])], random);
    const answerable = random.uniform() >= options.unanswerable;
    return {
      asked: encoder.questionIds(query),
      prompt: promptAfter(tokenizer, query),
      answer: answerIds(tokenizer, answerable ? fact.target : unknownAnswer),
      bias: biasOf(random, right, answerable),
    };
  };

  const precisionOf = (random: Random, step: number): Precision => {
    const { full, residual, single } = options.precisions;
    const drawn = random.uniform() * (full + residual + single);
    if (step < options.quantizedFrom || drawn < full) return "full";
    return drawn < full + residual ? "residual" : "single";
  };

  return {
    count: practised.length,
    texts(count, draw) {
      const random = randomStream(seed, "texts", draw);
      return Array.from({ length: count }, () => pick(practised, random).ids);
    },
    batchAt(step) {
      requireStep(step);
      const random = randomStream(seed, "episodes", step);
      const episodes = Array.from({ length: G }, () => drawn(practised, K, random));
      const asked = episodes.flatMap((episode) => Array.from({ length: Q }, () => questionOf(random, episode)));
      const gates = new Float32Array(2 * G);
      for (let g = 0; g < G; g++) {
        const precision = precisionOf(random, step);
        if (precision !== "full") gates[2 * g + (precision === "residual" ? 0 : 1)] = 1;
      }
      // Every depth is met, so that a bank may keep as few codes as it likes
      const kept = random.uniform() < 0.5 ? options.depth : 1 + random.integer(options.depth);
      return {
        ...batchOf(episodes.flat(), asked, { K, padId }),
        gates,
        depths: Float32Array.from({ length: options.depth }, (_, r) => (r < kept ? 1 : 0)),
        quantizes: step >= options.quantizedFrom ? 1 : 0,
      };
    },
  };
}

/** `count` different items. */
function drawn<T>(items: readonly T[], count: number, random: Random): T[] {
  const chosen = new Set<number>();
  while (chosen.size < count) chosen.add(random.integer(items.length));
  return [...chosen].map((i) => items[i]);
}

/** Rows filled up to the longest. */
function padded(rows: readonly (readonly number[])[], padId: number) {
  const N = Math.max(...rows.map(({ length }) => length));
  const ids = new Int32Array(rows.length * N).fill(padId);
  const mask = new Int32Array(rows.length * N);
  for (const [b, row] of rows.entries()) {
    ids.set(row, b * N);
    mask.fill(1, b * N, b * N + row.length);
  }
  return { N, ids, mask };
}

function batchOf(
  documents: readonly Practised[],
  questions: readonly Question[],
  { K, padId }: { K: number; padId: number },
) {
  const texts = padded(
    documents.map(({ ids }) => ids),
    HIDDEN,
  );
  const asked = padded(
    questions.map((question) => question.asked),
    HIDDEN,
  );
  const read = padded(
    questions.map(({ prompt, answer }) => [...prompt, ...answer.slice(0, -1)]),
    padId,
  );
  const A = Math.max(...questions.map(({ answer }) => answer.length));
  const [places, targets] = [new Int32Array(questions.length * A), new Int32Array(questions.length * A)];
  const weights = new Float32Array(questions.length * A);
  const bias = new Float32Array(questions.length * K);
  let targetCount = 0;
  for (const [b, { prompt, answer, bias: own }] of questions.entries()) {
    bias.set(own, b * K);
    for (const [a, token] of answer.entries()) {
      places[b * A + a] = prompt.length - 1 + a;
      targets[b * A + a] = token;
      weights[b * A + a] = 1;
    }
    targetCount += answer.length;
  }
  return {
    lengths: { documents: texts.N, asked: asked.N, read: read.N, scored: A },
    documentIds: texts.ids,
    documentMask: texts.mask,
    askedIds: asked.ids,
    askedMask: asked.mask,
    bias,
    ids: read.ids,
    places,
    targets,
    weights,
    targetCount,
    read: [...documents, ...questions].reduce(
      (sum, one) => sum + ("ids" in one ? one.ids.length : 2 * one.prompt.length + one.answer.length),
      0,
    ),
  };
}
