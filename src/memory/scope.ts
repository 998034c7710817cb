/**
 * Scope: is a question about something that was written? Only then should the memory speak.
 * Larimar, https://arxiv.org/abs/2403.11901, section 4. Three detectors, each a score that is higher the more it speaks
 * for "yes", and a threshold (threshold.ts):
 *
 * - external: cosine of the question and the nearest written fact, by a sentence encoder that is not the memory's own;
 *   of several sentences the one that is nearest counts;
 * - residual: how well the memory restores the question's latent, set against how well it restores what was written;
 *   it costs nothing to train or to keep;
 * - classifier: log-odds that the question's latent and the nearest fact's mean the same, learned from pairs.
 *
 * Differs from the paper's code: a whole text counts beside its sentences, so that a prompt as written is always found;
 * what is compared is the question alone, never the question with an answer to it.
 */
import { UserError } from "../errors.ts";
import { matrixOf, type Numbers, norm } from "./matrix.ts";
import { type MemoryState, numberOf } from "./packed.ts";
import type { PairClassifier } from "./pair-classifier.ts";
import { sentencesOf } from "./sentences.ts";
import { createVectorStore, type VectorStore } from "./vector-store.ts";

/** N texts -> vectors [N, C]. */
export type EmbedTexts = (texts: readonly string[]) => Promise<Numbers>;

export interface ScopeVerdict {
  readonly inScope: boolean;
  /** At or above the threshold is in scope; -Infinity while nothing is written. */
  readonly score: number;
  /** The written fact that it is about, or would be; undefined while there is none. */
  readonly fact?: number;
}

interface ExternalVerdict extends ScopeVerdict {
  /** The sentence of the question that is nearest to the fact, or all of it. */
  readonly sentence: string;
}

interface WrittenFact {
  /** Its number, such as the ledger's. */
  readonly fact: number;
  /** The prompt, and other ways to say it where there are some. */
  readonly texts: readonly string[];
}

export interface ExternalScope {
  readonly threshold: number;
  /** Facts in. */
  readonly count: () => number;
  /** Embeds and adds facts. All or none. */
  write(facts: readonly WrittenFact[]): Promise<void>;
  forget(fact: number): void;
  /** Vectors of texts as `write` adds them, C numbers a text: for who keeps them and adds them to the store. */
  encode(texts: readonly string[]): Promise<Float64Array>;
  ask(questions: readonly string[]): Promise<ExternalVerdict[]>;
  state(): MemoryState;
  /** Takes on the facts of a saved state, or throws and stays as it is. The threshold is not part of it. */
  restore(state: MemoryState): void;
  bytes(): number;
}

function checkedThreshold(who: string, threshold: number): void {
  if (Number.isNaN(threshold))
    throw new UserError(`${who}: expected a number as threshold, got NaN; calibrate gives one for your encoder`);
}

/** The whole text and, where it has several, its sentences. */
function partsOf(question: string): string[] {
  if (question.trim() === "") throw new UserError("scope.ask: expected a question, got an empty text; leave it out");
  const sentences = sentencesOf(question);
  return sentences.length > 1 ? [question.trim(), ...sentences] : [question.trim()];
}

/** The external detector. `embed` gives vectors of `width` numbers; they are brought to length 1 here. */
export function createExternalScope({
  width,
  embed,
  threshold,
  store = createVectorStore(width),
}: {
  readonly width: number;
  readonly embed: EmbedTexts;
  readonly threshold: number;
  /** Where the facts' vectors are: one of its own, or one that somebody else keeps. */
  readonly store?: VectorStore;
}): ExternalScope {
  checkedThreshold("createExternalScope", threshold);
  if (store.width !== width) {
    throw new UserError(
      `createExternalScope: expected a store of vectors of ${width} numbers, got one of ${store.width}; make it anew`,
    );
  }

  const embedded = async (texts: readonly string[], who: string): Promise<Float64Array> => {
    const { rows, data } = matrixOf(await embed(texts), width, who);
    if (rows === texts.length) return data;
    throw new UserError(`${who}: expected a vector for each of ${texts.length} texts, got ${rows}; correct \`embed\``);
  };

  const encode = (texts: readonly string[]): Promise<Float64Array> =>
    embedded(
      texts.map((text) => text.trim()),
      "scope.write",
    );

  return {
    threshold,
    count: store.count,
    encode,

    async write(facts) {
      for (const { fact, texts } of facts) {
        if (texts.length === 0 || texts.some((text) => text.trim() === "")) {
          throw new UserError(`scope.write: expected a prompt for fact ${fact}, got an empty text; leave it out`);
        }
      }
      const vectors = await encode(facts.flatMap(({ texts }) => texts));
      const added: number[] = [];
      let at = 0;
      try {
        for (const { fact, texts } of facts) {
          store.add(fact, vectors.subarray(at, (at += texts.length * width)));
          added.push(fact);
        }
      } catch (error) {
        for (const fact of added) store.remove(fact);
        throw error;
      }
    },

    forget: (fact) => store.remove(fact),

    async ask(questions) {
      const parts = questions.map(partsOf);
      const all = parts.flat();
      const nearest = store.count() === 0 ? [] : store.nearest(await embedded(all, "scope.ask"));
      let at = 0;
      return parts.map((own) => {
        let best: ExternalVerdict = { inScope: false, score: Number.NEGATIVE_INFINITY, sentence: own[0] };
        for (const sentence of own) {
          const found = nearest[at++];
          if (!found || !(found.similarity > best.score)) continue;
          const { fact, similarity: score } = found;
          best = { inScope: score >= threshold, score, fact, sentence };
        }
        return best;
      });
    },

    state: () => store.state(),
    restore: (state) => store.restore(state),
    bytes: () => store.bytes(),
  };
}

/** Mean and deviation of the residuals of what was written. */
interface ResidualSpread {
  readonly mean: number;
  readonly deviation: number;
  readonly count: number;
}

export interface ResidualScope {
  readonly threshold: number;
  /** Takes the written facts' latents (N·C numbers) as the measure for questions; anew after writes and forgets. */
  standardise(latents: Numbers): ResidualSpread;
  /** (mean - residual) / deviation of each of N latents: about 0 for what was written, lower for anything else. */
  scores(latents: Numbers): Float64Array;
  ask(latents: Numbers): ScopeVerdict[];
  state(): MemoryState;
  restore(state: MemoryState): void;
}

/**
 * The internal detector without training. `read` gives what the memory makes of latents, N·C numbers of N·C; the
 * residual of z is |read(z) - z| / |z|. Before anything is measured, the mean is 0 and everything out of scope.
 */
export function createResidualScope({
  width,
  read,
  threshold,
  leastDeviation = 0.05,
}: {
  readonly width: number;
  readonly read: (latents: Numbers) => Numbers;
  readonly threshold: number;
  /** The deviation is taken to be at least this: a single fact has none, and facts kept exactly hardly any. */
  readonly leastDeviation?: number;
}): ResidualScope {
  checkedThreshold("createResidualScope", threshold);
  if (!(leastDeviation > 0))
    throw new UserError(`createResidualScope: expected leastDeviation above 0, got ${leastDeviation}; try 0.05`);
  let spread: ResidualSpread = { mean: 0, deviation: leastDeviation, count: 0 };

  const residuals = (latents: Numbers, who: string): Float64Array => {
    const z = matrixOf(latents, width, who);
    const back = matrixOf(read(z.data), width, who);
    if (back.rows !== z.rows)
      throw new UserError(`${who}: expected ${z.rows} latents from \`read\`, got ${back.rows}; correct it`);
    return Float64Array.from({ length: z.rows }, (_, row) => {
      const [from, to] = [row * width, (row + 1) * width];
      const own = z.data.subarray(from, to);
      const length = norm(own);
      if (length === 0)
        throw new UserError(`${who}: expected latents with a direction, got zeros in row ${row}; look at what made it`);
      return norm(own.map((value, i) => back.data[from + i] - value)) / length;
    });
  };

  const scope: ResidualScope = {
    threshold,
    standardise(latents) {
      const all = residuals(latents, "residual.standardise");
      const count = all.length;
      const mean = count === 0 ? 0 : all.reduce((a, b) => a + b, 0) / count;
      const variance = all.reduce((sum, one) => sum + (one - mean) ** 2, 0) / Math.max(1, count);
      spread = { mean, deviation: Math.max(leastDeviation, Math.sqrt(variance)), count };
      return spread;
    },
    scores(latents) {
      const { mean, deviation, count } = spread;
      const none = Number.NEGATIVE_INFINITY;
      return residuals(latents, "residual.scores").map((one) => (count === 0 ? none : (mean - one) / deviation));
    },
    ask: (latents) => Array.from(scope.scores(latents), (score) => ({ inScope: score >= threshold, score })),
    state: () => ({ tensors: {}, json: { ...spread } }),
    restore(state) {
      spread = {
        mean: numberOf(state, "mean", 0),
        deviation: numberOf(state, "deviation", leastDeviation),
        count: numberOf(state, "count", 0),
      };
    },
  };
  return scope;
}

export interface ClassifierScope {
  readonly threshold: number;
  ask(latents: Numbers): ScopeVerdict[];
}

/** The trained detector: `classifier` on each of N latents and the nearest of those in `store`, which the caller keeps. */
export function createClassifierScope({
  store,
  classifier,
  threshold,
}: {
  readonly store: VectorStore;
  readonly classifier: PairClassifier;
  readonly threshold: number;
}): ClassifierScope {
  checkedThreshold("createClassifierScope", threshold);
  const { width } = store;
  if (classifier.width !== width) {
    throw new UserError(
      `createClassifierScope: expected a classifier of latents of ${width} numbers, got one of ${classifier.width}; ` +
        "fit it on this encoder's latents",
    );
  }
  return {
    threshold,
    ask(latents) {
      const { rows: N, data } = matrixOf(latents, width, "classifier.ask");
      const nearest = store.nearest(data);
      return Array.from({ length: N }, (_, row): ScopeVerdict => {
        const found = nearest[row];
        if (!found) return { inScope: false, score: Number.NEGATIVE_INFINITY };
        // A fact with several vectors is as much the same as the one that is most
        const vectors = store.vectorsOf(found.fact);
        const own = data.subarray(row * width, (row + 1) * width);
        const question = new Float64Array(vectors.length);
        for (let at = 0; at < vectors.length; at += width) question.set(own, at);
        const score = classifier.scores(question, vectors).reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
        return { inScope: score >= threshold, score, fact: found.fact };
      });
    },
  };
}
