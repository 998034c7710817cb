/**
 * The published protocol of memory bank compression (document-stream.ts) on a generated world: short documents, each
 * about one subject, asked about in held-out forms.
 * Differs: a world of which nothing is known before instead of newspapers, greedy answers instead of 12 beams.
 */
import { z } from "zod";
import type { Document } from "../../methods/method.ts";
import { randomStream } from "../../tensor/random.ts";
import type { Task } from "../task.ts";
import { defineTask, drawnByWorld } from "./definition.ts";
import { type AskedDocument, documentStream, publishedCount, streamOptions } from "./document-stream.ts";
import { biography, questionOf } from "./world/render.ts";
import {
  answerRoom,
  askedOf,
  knownTexts,
  knownWorldProbes,
  sample,
  statedAs,
  testVoice,
  trainVoice,
  worldOptions,
} from "./world/stream.ts";
import { type SubjectDocument, subjectDocuments } from "./world/subject-documents.ts";
import { firstValidationSeed } from "./world/validation.ts";
import { createWorld, type Fact } from "./world/world.ts";

const options = z.object({
  world: worldOptions({ world: 600, people: 60 }).world,
  documents: z
    .int()
    .positive()
    .max(50_000)
    .default(publishedCount)
    .describe("documents, each about a subject of its own"),
  facts: z.int().min(1).max(5).default(5).describe("facts that a document states, at most"),
  questions: z.int().min(1).max(5).default(1).describe("questions about each document, as far as it states facts"),
  brought: z
    .int()
    .min(0)
    .max(5)
    .default(0)
    .describe("facts that each document brings along as questions in training forms, those not asked about first"),
  restatements: z
    .int()
    .min(0)
    .max(64)
    .default(0)
    .describe("other tellings of each document that it brings along, learned together with it"),
  ...streamOptions,
  known: z.int().positive().default(150).describe("questions about the known world"),
});

type Options = z.output<typeof options>;

/** Subjects with facts for each person of a world: people, and all else that is sized after them ... */
const SUBJECTS_PER_PERSON = 1.61;
/** ... as long as there are names for it: a larger world would run out of those for events. */
const MOST_PEOPLE = 2500;
/** Where one world is too small, the next seed is this much further: the streams of neighbouring seeds share none. */
const SEED_STEP = 20;
/** Worlds below are for development. */
const FIRST_REPORTED = 100;

/** The seed of the n-th world of a stream, among those for development if the first is. */
function seedOf(first: number, n: number): number {
  const [from, to] = first < FIRST_REPORTED ? [1, FIRST_REPORTED] : [FIRST_REPORTED, firstValidationSeed];
  return from + ((first - from + n * SEED_STEP) % (to - from));
}

/** As many worlds of one size as the documents take, in one random order. */
function told({ world, documents: count, facts }: Options): SubjectDocument[] {
  const worlds = Math.ceil(count / Math.floor(SUBJECTS_PER_PERSON * MOST_PEOPLE));
  const people = Math.max(10, Math.ceil(count / worlds / SUBJECTS_PER_PERSON));
  const all = Array.from({ length: worlds }, (_, n) => {
    const seed = seedOf(world, n);
    return subjectDocuments(createWorld({ seed, people }), { facts }, randomStream(seed, "world-documents"));
  });
  return randomStream(world, "world-documents", "order").shuffle(all.flat()).slice(0, count);
}

function worldDocumentsTask(given: Options): Task {
  const random = randomStream(given.world, "world-documents", "questions");
  const voice = testVoice(random);
  // Draws of their own, so that the questions asked are the same with and without
  const bringing = randomStream(given.world, "world-documents", "brought");
  const bring = (facts: readonly Fact[], asked: readonly Fact[]): Pick<Document, "facts"> => {
    if (given.brought === 0) return {};
    const others = bringing.shuffle(facts.filter((fact) => !asked.includes(fact)));
    const chosen = [...others, ...asked].slice(0, given.brought);
    return { facts: chosen.map((fact) => statedAs(fact, questionOf(fact, trainVoice(bringing)), 0, bringing)) };
  };
  const telling = trainVoice(randomStream(given.world, "world-documents", "restated"));
  const restate = (text: string, facts: readonly Fact[]): Pick<Document, "text" | "restated"> => {
    if (given.restatements === 0) return { text };
    const restated = [text, ...Array.from({ length: given.restatements }, () => biography(facts, telling))];
    return { text: restated.join("\n"), restated };
  };
  const asked = told(given).map(({ document, told: facts }): AskedDocument => {
    const chosen = sample(facts, given.questions, random);
    const questions = chosen.map((fact) => {
      return { ...askedOf(questionOf(fact, voice)), id: `${document.id}/${fact.relation.id}` };
    });
    const restated = restate(document.text, facts);
    return { document: { ...document, ...restated, ...bring(facts, chosen) }, questions };
  });
  const task = documentStream(asked, {
    ...given,
    name: "world-documents",
    maxTokens: answerRoom,
    choose: (questions, count) => sample(questions, count, random),
    asked: "questions on single facts of the documents, in held-out forms",
  });
  return { ...task, probes: knownWorldProbes({ count: given.known }), diagnosticTexts: knownTexts() };
}

export const worldDocuments = defineTask({
  name: "world-documents",
  summary: "a stream of short documents about a new world, all learned, then all asked about",
  options,
  stream: drawnByWorld,
  create: async (given) => worldDocumentsTask(given),
});
