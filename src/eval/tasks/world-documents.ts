/**
 * A stream of short documents, each about one subject of a big new world; when all are learned, each is asked about. The
 * protocol of MAC (https://arxiv.org/abs/2403.04317) and memory bank compression (https://arxiv.org/abs/2601.00756):
 * 1,665 documents, then all questions. In batches of 200, the first column of R is their retention curve.
 * Differs: a generated world instead of newspapers, so that nothing is known before; greedy answers instead of 12 beams;
 * exact match strictly as well as in their way.
 */
import { z } from "zod";
import { randomStream } from "../../tensor/random.ts";
import { askAll, type AskedQuestion, meanOf, truncatedMatch } from "../questions.ts";
import type { Task } from "../task.ts";
import { type AskedTopic, askingTask } from "./asking.ts";
import { defineTask, drawnByWorld } from "./definition.ts";
import { questionOf } from "./world/render.ts";
import { answerRoom, askedOf, knownTexts, knownWorldProbes, sample, testVoice, worldOptions } from "./world/stream.ts";
import { type SubjectDocument, subjectDocuments } from "./world/subject-documents.ts";
import { firstValidationSeed } from "./world/validation.ts";
import { createWorld } from "./world/world.ts";

const options = z.object({
  world: worldOptions({ world: 600, people: 60 }).world,
  documents: z.int().positive().max(50_000).default(1665).describe("documents, each about a subject of its own"),
  facts: z.int().min(1).max(5).default(5).describe("facts that a document states, at most"),
  batch: z
    .int()
    .positive()
    .default(1665)
    .describe("documents learned together: a topic, asked about after every batch"),
  questions: z.int().min(1).max(5).default(1).describe("questions about each document, as far as it states facts"),
  limit: z.int().positive().optional().describe("questions per topic, at most; all unless given"),
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
function streamOf({ world, documents: count, facts }: Options): SubjectDocument[] {
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
  const told = streamOf(given);
  const asked = told.map(({ document, told: facts }) =>
    sample(facts, given.questions, random).map((fact): AskedQuestion => {
      const { query, ...question } = askedOf(questionOf(fact, voice));
      return { ...question, id: `${document.id}?${fact.relation.id}`, query: { ...query, document: document.id } };
    }),
  );
  const topics = Array.from({ length: Math.ceil(told.length / given.batch) }, (_, t): AskedTopic => {
    const from = t * given.batch;
    const documents = told.slice(from, from + given.batch).map(({ document }) => document);
    const questions = asked.slice(from, from + given.batch).flat();
    return {
      name: `documents ${from + 1} to ${from + documents.length}`,
      documents,
      questions: sample(questions, given.limit ?? questions.length, random),
    };
  });
  const task = askingTask({
    name: "world-documents",
    maxTokens: answerRoom,
    topics,
    metric: "f1",
    protocol:
      "free greedy answers to questions on single facts of the documents, in held-out forms; exactMatch: strict; " +
      "truncatedMatch: as MAC and MBC count it, the answer cut to the length of the right one",
    async evaluate(method, questions, asking) {
      const { exactMatch, f1, given: said } = await askAll(method, questions, asking);
      const lenient = meanOf(said.map((answer, i) => truncatedMatch(answer, questions[i].answers)));
      return { f1, exactMatch, truncatedMatch: lenient };
    },
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
