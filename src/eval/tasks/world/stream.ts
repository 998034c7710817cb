/**
 * What the world's streams share: documents about subjects, questions in held-out forms, probes of what the base knew,
 * texts for the diagnostics. All from seeds, so that a stream is the same wherever it is made.
 */
import { z } from "zod";
import type { Document, StatedFact } from "../../../methods/method.ts";
import { answeredQuestion } from "../../../methods/prompt.ts";
import { type Random, randomStream } from "../../../tensor/random.ts";
import { type AskedQuestion, exactMatch } from "../../questions.ts";
import type { Probe } from "../../task.ts";
import { knownWorld } from "./curriculum.ts";
import { biography, questionOf, sentence, unknownQuestion, type Voice, type WorldQuestion } from "./render.ts";
import { firstValidationSeed } from "./validation.ts";
import { bySubject, createWorld, type Entity, type Fact, type World } from "./world.ts";

/** Seeds of worlds for streams: 0 is known, some below 1000 are for validation, those above are for training. */
const streamSeeds = { least: 1, most: firstValidationSeed - 1 } as const;

/** Options of every stream about a world of its own; each stream has its own world and size of it. */
export const worldOptions = ({ world, people }: { readonly world: number; readonly people: number }) => ({
  world: z
    .int()
    .min(streamSeeds.least)
    .max(streamSeeds.most)
    .default(world)
    .describe("seed of the new world; 1 to 99 are for development"),
  people: z.int().min(10).max(1000).default(people).describe("people in it; everything else grows with them"),
  tellings: z.int().min(1).max(20).default(3).describe("documents about each subject or change, each in other words"),
  answered: z.boolean().default(true).describe("add documents with questions and answers in training forms"),
  limit: z.int().positive().default(60).describe("questions per topic or step, at most"),
});

/** A question as the harness asks it. */
export const askedOf = ({ id, text, answer, kind }: WorldQuestion, topic?: string): AskedQuestion => ({
  id,
  query: { text, topic },
  answers: [answer],
  kind,
});

export const testVoice = (random: Random): Voice => ({ random, split: "test" });
export const trainVoice = (random: Random): Voice => ({ random, split: "train" });

/** `count` items, drawn without a repeat; all of them, in order, where there are no more. */
export function sample<T>(items: readonly T[], count: number, random: Random): T[] {
  return items.length <= count ? [...items] : random.shuffle([...items]).slice(0, count);
}

/** Tokens for an answer: invented names have more of them than words of a language. */
export const answerRoom = 16;

/** Option of tasks whose documents state single facts. */
export const rephrasingsOption = z
  .int()
  .min(0)
  .max(20)
  .default(2)
  .describe("other questions, in training forms, that a fact is given with where a method writes facts");

/** A fact as it is given: the question that it answers, and others in training forms. */
export function statedAs(fact: Fact, given: WorldQuestion, rephrasings: number, random: Random): StatedFact {
  const texts = new Set([given.text]);
  for (let tries = 0; texts.size <= rephrasings && tries < 8 * rephrasings; tries++)
    texts.add(questionOf(fact, trainVoice(random)).text);
  const rephrased = [...texts].slice(1).map((text) => ({ text }));
  return { prompt: { text: given.text }, target: given.answer, rephrased };
}

export interface DocumentPlan {
  /** Biographies of each subject, each in other words. */
  readonly tellings: number;
  /** Does each subject's last document also answer a question on every fact, in training forms? */
  readonly answered: boolean;
  /** Subjects that are told once: one document, no questions. */
  readonly once?: ReadonlySet<Entity>;
}

/** Documents about the subjects of these facts: each says all of its subject's facts. In random order of subjects. */
export function documentsAbout(
  facts: readonly Fact[],
  topic: string,
  { tellings, answered, once = new Set() }: DocumentPlan,
  random: Random,
): Document[] {
  const voice = trainVoice(random);
  const documents = [...bySubject(facts)].flatMap(([subject, own]) => {
    const told = Array.from({ length: once.has(subject) ? 1 : tellings }, (_, i) => ({
      id: `${topic}/${subject.id}#${i + 1}`,
      topic,
      text: `${biography(own, voice)}\n`,
    }));
    if (!answered || once.has(subject)) return told;
    const questions = own.map((fact) => {
      const { text, answer } = questionOf(fact, voice);
      return answeredQuestion(text, answer);
    });
    return [...told, { id: `${topic}/${subject.id}#questions`, topic, text: questions.join("") }];
  });
  return random.shuffle(documents);
}

let made: World | undefined;
/** World 0, made once. */
export const theKnownWorld = (): World => (made ??= createWorld(knownWorld));

export interface KnownProbeOptions {
  /** Questions about known facts. */
  readonly count?: number;
  /** Facts that the stream changes: not asked. */
  readonly except?: ReadonlySet<string>;
}

/** What the base knew of world 0 and what it admitted not to know, in held-out forms. */
export function knownWorldProbes({ count = 150, except = new Set() }: KnownProbeOptions = {}): Probe[] {
  const world = theKnownWorld();
  const random = randomStream(knownWorld.seed, "probes");
  const facts = sample(
    world.facts.filter(({ id }) => !except.has(id)),
    count,
    random,
  );
  const known = facts.map((fact) => askedOf(questionOf(fact, testVoice(random))));
  const gaps = sample(world.gaps, Math.ceil(count / 3), random);
  const admitted = gaps.map((gap) => askedOf(unknownQuestion(gap, testVoice(random))));
  return [{ ...shareRight("knownWorld", known), ofBase: true }, shareRight("admitsUnknown", admitted)];
}

function shareRight(name: string, questions: readonly AskedQuestion[]): Probe {
  return {
    name,
    direction: "higher",
    unit: "share of exact answers",
    async evaluate(method, options) {
      const given = await method.answer(
        questions.map(({ query }) => query),
        { maxTokens: answerRoom, ...options },
      );
      return given.filter((answer, i) => exactMatch(answer, questions[i].answers)).length / questions.length;
    },
  };
}

/** Statements of world 0 in held-out forms: what the diagnostics look at. */
export function knownTexts(count = 16): string[] {
  const random = randomStream(knownWorld.seed, "diagnostics");
  return sample(theKnownWorld().facts, 3 * count, random)
    .map((fact) => sentence(fact, testVoice(random)))
    .reduce<string[][]>((texts, text, i) => {
      if (i % 3 === 0) texts.push([]);
      texts[texts.length - 1].push(text);
      return texts;
    }, [])
    .map((sentences) => sentences.join(" "));
}
