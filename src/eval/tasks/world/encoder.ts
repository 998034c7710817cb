/**
 * What a sentence encoder is worth, measured in worlds and forms that it never saw: does it tell two ways of saying a
 * fact from its neighbours (equal error rate), and does a question find its statement among thousands (recall at 1)?
 */
import { UserError } from "../../../errors.ts";
import { pick, type Random, randomStream } from "../../../tensor/random.ts";
import { areaUnderRoc, bestF1, equalErrorRate } from "../../roc.ts";
import { firstFreshSeed } from "./curriculum.ts";
import { type PairKind, pairKinds, sidesOf } from "./pairs.ts";
import type { Voice } from "./render.ts";
import { bySubject, createWorld, type Fact } from "./world.ts";

/** Texts -> [N, C], rows of length 1. */
export type EmbedTexts = (texts: readonly string[]) => Promise<Float32Array>;

export interface EncoderOptions {
  /** Unseen world that the pairs are of. */
  readonly seed?: number;
  readonly people?: number;
  /** Facts that are searched, from unseen worlds of `retrievalPeople` each; 0 leaves retrieval out. */
  readonly retrievalFacts?: number;
  readonly retrievalSeed?: number;
  readonly retrievalPeople?: number;
}

export interface Separation {
  readonly equalErrorRate: number;
  readonly areaUnderRoc: number;
  readonly bestF1: number;
  /** Pairs that mean the same, and pairs of neighbours. */
  readonly positives: number;
  readonly negatives: number;
}

export interface EncoderScores extends Separation {
  /** By how the two texts are made; the whole has one threshold for all kinds. */
  readonly byKind: Readonly<Record<PairKind, Separation>>;
  /**
   * Against neighbours of one sort only: the same relation of another subject, another relation of the same
   * subject.
   */
  readonly byNeighbour: Readonly<Record<keyof Neighbours, Separation>>;
  readonly retrieval?: { readonly recallAt1: number; readonly facts: number };
}

interface Neighbours {
  readonly otherSubject: Fact;
  readonly otherRelation: Fact;
}

interface Trial {
  readonly kind: PairKind;
  readonly positive: number;
  readonly negatives: Readonly<Record<keyof Neighbours, number>>;
}

/** Facts with a neighbour of either sort. */
function withNeighbours(facts: readonly Fact[], random: Random): (readonly [Fact, Neighbours])[] {
  const subjects = bySubject(facts);
  return facts.flatMap((fact) => {
    const otherSubjects = facts.filter((one) => one.relation === fact.relation && one.subject !== fact.subject);
    const otherRelations = (subjects.get(fact.subject) ?? []).filter((one) => one !== fact);
    if (otherSubjects.length === 0 || otherRelations.length === 0) return [];
    return [
      [fact, { otherSubject: pick(otherSubjects, random), otherRelation: pick(otherRelations, random) }] as const,
    ];
  });
}

function requireUnseen(seed: number): void {
  if (seed < 1 || seed >= firstFreshSeed)
    throw new UserError(`encoder: expected the seed of an unseen world, from 1 to ${firstFreshSeed - 1}, got ${seed}`);
}

/** Cosines of all trials: every fact in every kind, against itself and its neighbours in held-out forms. */
async function trials(embed: EmbedTexts, seed: number, people: number): Promise<Trial[]> {
  requireUnseen(seed);
  const random = randomStream(seed, "encoder");
  const voice: Voice = { random, split: "test" };
  const texts: string[] = [];
  const put = (text: string): number => texts.push(text) - 1;
  const planned = withNeighbours(createWorld({ seed, people }).facts, random).flatMap(([fact, neighbours]) =>
    pairKinds.map((kind) => {
      const [left, right] = sidesOf[kind];
      const one = left(fact, voice);
      let other = right(fact, voice);
      while (other === one) other = right(fact, voice);
      return {
        kind,
        left: put(one),
        right: put(other),
        otherSubject: put(right(neighbours.otherSubject, voice)),
        otherRelation: put(right(neighbours.otherRelation, voice)),
      };
    }),
  );
  const vectors = await embed(texts);
  const C = vectors.length / texts.length;
  return planned.map(({ kind, left, right, otherSubject, otherRelation }) => ({
    kind,
    positive: dot(vectors, left * C, vectors, right * C, C),
    negatives: {
      otherSubject: dot(vectors, left * C, vectors, otherSubject * C, C),
      otherRelation: dot(vectors, left * C, vectors, otherRelation * C, C),
    },
  }));
}

function dot(a: Float32Array, fromA: number, b: Float32Array, fromB: number, length: number): number {
  let sum = 0;
  for (let i = 0; i < length; i++) sum += a[fromA + i] * b[fromB + i];
  return sum;
}

function separation(
  of: readonly Trial[],
  sorts: readonly (keyof Neighbours)[] = ["otherSubject", "otherRelation"],
): Separation {
  const positives = of.map(({ positive }) => positive);
  const negatives = of.flatMap((trial) => sorts.map((sort) => trial.negatives[sort]));
  return {
    equalErrorRate: equalErrorRate(positives, negatives),
    areaUnderRoc: areaUnderRoc(positives, negatives),
    bestF1: bestF1(positives, negatives).f1,
    positives: positives.length,
    negatives: negatives.length,
  };
}

/** Share of questions whose nearest statement, of all that are given, is their own; both in held-out forms. */
async function recallAt1(embed: EmbedTexts, count: number, firstSeed: number, people: number): Promise<number> {
  const facts: Fact[] = [];
  for (let seed = firstSeed; facts.length < count; seed++) {
    requireUnseen(seed);
    facts.push(...createWorld({ seed, people }).facts);
  }
  facts.length = count;
  const voice: Voice = { random: randomStream(firstSeed, "retrieval"), split: "test" };
  const [asked, said] = sidesOf["question-statement"];
  const questions = await embed(facts.map((fact) => asked(fact, voice)));
  const statements = await embed(facts.map((fact) => said(fact, voice)));
  const C = questions.length / count;
  let found = 0;
  for (let q = 0; q < count; q++) {
    const own = dot(questions, q * C, statements, q * C, C);
    let s = 0;
    while (s < count && (s === q || dot(questions, q * C, statements, s * C, C) < own)) s++;
    if (s === count) found++;
  }
  return found / count;
}

/** All measures; deterministic. */
export async function measureEncoder(
  embed: EmbedTexts,
  {
    seed = 980,
    people = 100,
    retrievalFacts = 10000,
    retrievalSeed = 990,
    retrievalPeople = 1200,
  }: EncoderOptions = {},
): Promise<EncoderScores> {
  const all = await trials(embed, seed, people);
  const retrieval =
    retrievalFacts > 0
      ? {
          recallAt1: await recallAt1(embed, retrievalFacts, retrievalSeed, retrievalPeople),
          facts: retrievalFacts,
        }
      : undefined;
  const kinds = pairKinds.map((kind) => [kind, separation(all.filter((trial) => trial.kind === kind))] as const);
  return {
    ...separation(all),
    byKind: Object.fromEntries(kinds) as Record<PairKind, Separation>,
    byNeighbour: {
      otherSubject: separation(all, ["otherSubject"]),
      otherRelation: separation(all, ["otherRelation"]),
    },
    ...(retrieval ? { retrieval } : {}),
  };
}
