/**
 * How well scope detectors tell questions about written facts from questions beside them (Larimar, section 4,
 * https://arxiv.org/abs/2403.11901). Three sets of records that share no text: the classifier is fitted on one, the
 * thresholds are calibrated on the second, and everything reported is of the third. Each detector is measured with one
 * fact written at a time ("alone", as single edits are) and with all facts of a set written at once ("together").
 */
import { UserError } from "../errors.ts";
import { randomReference, referenceAddressing } from "../memory/addressing.ts";
import { createEpisodes } from "../memory/episodes.ts";
import { fitPairClassifier, type PairClassifier } from "../memory/pair-classifier.ts";
import { createClassifierScope, createExternalScope, createResidualScope, type EmbedTexts } from "../memory/scope.ts";
import { calibrate, type ThresholdAim } from "../memory/threshold.ts";
import { createVectorStore } from "../memory/vector-store.ts";
import { type Random, randomStream } from "../tensor/random.ts";
import { areaUnderRoc, equalErrorRate, type RocPoint, rocPoints } from "./roc.ts";
import type { Edit } from "./tasks/editing.ts";

/** A fact that is written, and questions that it does and does not answer. */
export interface ScopeRecord {
  readonly id: string;
  readonly prompt: string;
  /** Prompt and answer: what a memory keeps of the fact. */
  readonly statement: string;
  readonly inScope: readonly string[];
  readonly outOfScope: readonly string[];
}

/** Records without a text in common. */
export interface ScopeSplits {
  readonly fit: readonly ScopeRecord[];
  readonly calibration: readonly ScopeRecord[];
  readonly evaluation: readonly ScopeRecord[];
}

export const settings = ["alone", "together"] as const;
type Setting = (typeof settings)[number];

interface DetectorFigures {
  readonly equalErrorRate: number;
  readonly areaUnderRoc: number;
  /** At the threshold that was calibrated on other records. */
  readonly f1: number;
  readonly falsePositiveShare: number;
  readonly falseNegativeShare: number;
  readonly threshold: number;
  readonly positives: number;
  readonly negatives: number;
  /** At most 101 points, one for each percent of false positives. */
  readonly roc: readonly RocPoint[];
}

export type ScopeFigures = Readonly<
  Record<"external" | "residual" | "classifier", Readonly<Record<Setting, DetectorFigures>>>
> & {
  /** The external detector on `named`. */
  readonly named?: Readonly<Record<Setting, DetectorFigures>>;
};

export interface ScopeOptions {
  readonly embed: EmbedTexts;
  /** C: numbers in a vector of `embed`. */
  readonly width: number;
  /** Another embedding for the external detector, beside it. */
  readonly named?: { readonly embed: EmbedTexts; readonly width: number };
  readonly aim?: ThresholdAim;
  readonly seed?: number;
  readonly signal?: AbortSignal;
}

interface Scores {
  readonly positives: number[];
  readonly negatives: number[];
}

const textsOf = ({ prompt, inScope, outOfScope }: ScopeRecord): string[] => [prompt, ...inScope, ...outOfScope];

/** Edits as records: no prompt twice, and no question that is itself the prompt of a written fact out of scope. */
export function scopeRecordsOf(edits: readonly Edit[]): ScopeRecord[] {
  const prompts = new Set(edits.map(({ prompt }) => prompt));
  const seen = new Set<string>();
  return edits.flatMap(({ id, prompt, target, paraphrases, neighbourhood }) => {
    const outOfScope = [...new Set(neighbourhood.map(({ text }) => text))].filter((text) => !prompts.has(text));
    if (seen.has(prompt) || paraphrases.length === 0 || outOfScope.length === 0) return [];
    seen.add(prompt);
    return [{ id, prompt, statement: `${prompt} ${target}`, inScope: paraphrases, outOfScope }];
  });
}

/** A quarter to fit, a quarter to calibrate, half to evaluate, at random; later records with a text of earlier sets go. */
export function splitRecords(records: readonly ScopeRecord[], random: Random): ScopeSplits {
  const order = [...random.permutation(records.length)].map((i) => records[i]);
  const used = new Set<string>();
  const take = (from: number, to: number): ScopeRecord[] => {
    const some = order
      .slice(Math.round(from * order.length), Math.round(to * order.length))
      .filter((record) => !textsOf(record).some((text) => used.has(text)));
    for (const text of some.flatMap(textsOf)) used.add(text);
    return some;
  };
  return { fit: take(0, 0.25), calibration: take(0.25, 0.5), evaluation: take(0.5, 1) };
}

/** Embeds each text once. */
function remembered(embed: EmbedTexts, width: number): (texts: readonly string[]) => Promise<Float64Array> {
  const known = new Map<string, Float64Array>();
  return async (texts) => {
    const missing = [...new Set(texts)].filter((text) => !known.has(text));
    if (missing.length > 0) {
      const found = Float64Array.from(await embed(missing));
      missing.forEach((text, i) => known.set(text, found.subarray(i * width, (i + 1) * width)));
    }
    const vectors = new Float64Array(texts.length * width);
    texts.forEach((text, i) => vectors.set(known.get(text) ?? [], i * width));
    return vectors;
  };
}

/** At the largest threshold for each percent of false positives, as many positives as there are. */
export function thinned(points: readonly RocPoint[]): RocPoint[] {
  const kept = new Map<number, RocPoint>();
  for (const point of points) kept.set(Math.floor(100 * point.falsePositiveRate + 1e-9), point);
  return [...kept.values()];
}

function figuresOf(calibration: Scores, evaluation: Scores, aim: ThresholdAim | undefined): DetectorFigures {
  const { threshold } = calibrate(calibration.positives, calibration.negatives, { aim });
  const { positives, negatives } = evaluation;
  const accepted = (scores: readonly number[]): number => scores.filter((score) => score >= threshold).length;
  const [right, wrong] = [accepted(positives), accepted(negatives)];
  return {
    equalErrorRate: equalErrorRate(positives, negatives),
    areaUnderRoc: areaUnderRoc(positives, negatives),
    f1: (2 * right) / (positives.length + right + wrong),
    falsePositiveShare: wrong / negatives.length,
    falseNegativeShare: 1 - right / positives.length,
    threshold,
    positives: positives.length,
    negatives: negatives.length,
    roc: thinned(rocPoints(positives, negatives)),
  };
}

/** Only the scores are of interest while thresholds are looked for. */
const noThreshold = Number.NEGATIVE_INFINITY;

/** Scores of a group of questions, with just these records written. */
type Detector = (written: readonly ScopeRecord[], questions: readonly string[]) => Promise<number[]>;

interface Parts {
  readonly embed: (texts: readonly string[]) => Promise<Float64Array>;
  readonly width: number;
  readonly seed: number;
}

function externalDetector({ embed, width }: Parts): Detector {
  const scope = createExternalScope({ width, embed, threshold: noThreshold });
  return async (written, questions) => {
    await scope.write(written.map(({ prompt }, fact) => ({ fact, texts: [prompt] })));
    const verdicts = await scope.ask(questions);
    for (const fact of written.keys()) scope.forget(fact);
    return verdicts.map(({ score }) => score);
  };
}

/** Memories as Larimar's, with two slots to three numbers of a latent; prompts are keys, statements values. */
function residualDetector({ embed, width, seed }: Parts): Detector {
  const slots = Math.max(1, Math.floor((2 * width) / 3));
  const episodes = createEpisodes({ slots, width, routeWidth: width });
  const addressing = referenceAddressing(randomReference(slots, width, randomStream(seed, "scope-reference")));
  const read = (latents: ArrayLike<number>): Float64Array => {
    const z = Float64Array.from(latents);
    const keys = addressing.keys(z);
    const values = new Float64Array(z.length);
    for (let row = 0; row * width < z.length; row++) {
      const route = z.subarray(row * width, (row + 1) * width);
      const reading = episodes.read(keys.subarray(row * slots, (row + 1) * slots), { route });
      if (reading) values.set(reading.value, row * width);
    }
    return values;
  };
  const scope = createResidualScope({ width, read, threshold: noThreshold });
  return async (written, questions) => {
    const prompts = await embed(written.map(({ prompt }) => prompt));
    const values = await embed(written.map(({ statement }) => statement));
    const keys = addressing.keys(prompts);
    const places = episodes.write(keys, values, { routes: prompts });
    scope.standardise(prompts);
    const scores = scope.scores(await embed(questions));
    for (const [i, { fact }] of places.entries()) {
      const key = keys.subarray(i * slots, (i + 1) * slots);
      episodes.forget(fact, key, values.subarray(i * width, (i + 1) * width));
    }
    return [...scores];
  };
}

/** Pairs of latents to learn from: questions with their own fact, and with the nearest one where that is wrong. */
async function fitted(records: readonly ScopeRecord[], { embed, width }: Parts): Promise<PairClassifier> {
  const prompts = await embed(records.map(({ prompt }) => prompt));
  const store = createVectorStore(width);
  for (const i of records.keys()) store.add(i, prompts.subarray(i * width, (i + 1) * width));
  const asked = records.flatMap(({ inScope, outOfScope }, own) => [
    ...inScope.map((text) => ({ text, own, same: true })),
    ...outOfScope.map((text) => ({ text, own, same: false })),
  ]);
  const vectors = await embed(asked.map(({ text }) => text));
  const nearest = store.nearest(vectors);
  const pairs = asked.flatMap(({ own, same }, q) => {
    const other = nearest[q]?.fact ?? own;
    return [{ q, fact: own, same }, ...(other === own ? [] : [{ q, fact: other, same: false }])];
  });
  const rows = (source: Float64Array, at: (pair: (typeof pairs)[number]) => number): Float64Array => {
    const out = new Float64Array(pairs.length * width);
    pairs.forEach((pair, i) => out.set(source.subarray(at(pair) * width, (at(pair) + 1) * width), i * width));
    return out;
  };
  const [left, right] = [rows(vectors, ({ q }) => q), rows(prompts, ({ fact }) => fact)];
  return fitPairClassifier({ left, right, same: pairs.map(({ same }) => same) }, width);
}

function classifierDetector({ embed, width }: Parts, classifier: PairClassifier): Detector {
  const store = createVectorStore(width);
  const scope = createClassifierScope({ store, classifier, threshold: noThreshold });
  return async (written, questions) => {
    const prompts = await embed(written.map(({ prompt }) => prompt));
    for (const fact of written.keys()) store.add(fact, prompts.subarray(fact * width, (fact + 1) * width));
    const verdicts = scope.ask(await embed(questions));
    for (const fact of written.keys()) store.remove(fact);
    return verdicts.map(({ score }) => score);
  };
}

async function scored(
  detector: Detector,
  records: readonly ScopeRecord[],
  setting: Setting,
  signal: AbortSignal | undefined,
): Promise<Scores> {
  const groups = setting === "together" ? [records] : records.map((record) => [record]);
  const scores: Scores = { positives: [], negatives: [] };
  for (const group of groups) {
    signal?.throwIfAborted();
    const [inside, outside] = [group.flatMap(({ inScope }) => inScope), group.flatMap(({ outOfScope }) => outOfScope)];
    const all = await detector(group, [...inside, ...outside]);
    scores.positives.push(...all.slice(0, inside.length));
    scores.negatives.push(...all.slice(inside.length));
  }
  return scores;
}

/** All detectors in both settings; deterministic. */
export async function measureScope(
  { fit, calibration, evaluation }: ScopeSplits,
  { embed, width, named, aim, seed = 0, signal }: ScopeOptions,
): Promise<ScopeFigures> {
  for (const [name, records] of Object.entries({ fit, calibration, evaluation })) {
    if (records.some(({ outOfScope }) => outOfScope.length > 0)) continue;
    throw new UserError(
      `scope: expected records with questions of both kinds to ${name === "fit" ? name : `make the ${name}`}, got ` +
        `${records.length} records; give more of them`,
    );
  }
  const parts: Parts = { embed: remembered(embed, width), width, seed };
  const detectors = {
    external: externalDetector(parts),
    residual: residualDetector(parts),
    classifier: classifierDetector(parts, await fitted(fit, parts)),
  };
  const figures = async (detector: Detector): Promise<Record<Setting, DetectorFigures>> => {
    const of = async (setting: Setting): Promise<DetectorFigures> =>
      figuresOf(
        await scored(detector, calibration, setting, signal),
        await scored(detector, evaluation, setting, signal),
        aim,
      );
    // Together first: it embeds all texts in few calls
    const together = await of("together");
    return { alone: await of("alone"), together };
  };
  return {
    external: await figures(detectors.external),
    ...(named && {
      named: await figures(externalDetector({ embed: remembered(named.embed, named.width), width: named.width, seed })),
    }),
    residual: await figures(detectors.residual),
    classifier: await figures(detectors.classifier),
  };
}
