/**
 * The main stream: a new world told topic by topic (science, sport, business, art, travel), with different vocabularies
 * and relations. Learned are biographies in training forms; asked is in held-out forms, in free greedy generation. A
 * share of the subjects, the long tail, is told only once and scored apart from the others.
 * Before and after every topic the base's own knowledge of world 0 is asked as well.
 */
import { z } from "zod";
import { type Random, randomStream } from "../../tensor/random.ts";
import { askAll } from "../questions.ts";
import type { Task } from "../task.ts";
import { type AskedTopic, askingTask, commonKinds } from "./asking.ts";
import { defineTask, drawnByWorld } from "./definition.ts";
import { fingerprintOf } from "./records.ts";
import { topics as allTopics } from "./world/phrases/fillers.ts";
import { questionOf, twoHopQuestion, twoHops, unknownQuestion } from "./world/render.ts";
import {
  answerRoom,
  askedOf,
  documentsAbout,
  knownTexts,
  knownWorldProbes,
  sample,
  testVoice,
  worldOptions,
} from "./world/stream.ts";
import { validationProbe } from "./world/validation.ts";
import { bySubject, createWorld, type Entity, type Fact } from "./world/world.ts";

const options = z.object({
  ...worldOptions({ world: 100, people: 50 }),
  topics: z.int().min(1).max(allTopics.length).default(allTopics.length).describe("topics of the stream"),
  longTail: z.number().min(0).max(0.9).default(0.2).describe("share of the subjects told only once, asked apart"),
  known: z.int().positive().default(150).describe("questions about the known world"),
  validation: z.array(z.string()).default([]).describe("text files to measure the base's cross-entropy on"),
});

/** Names of scores beside exactMatch and the kinds of questions that they are taken on. */
const kinds = { longTail: "long-tail", twoHop: "two-hop", unknown: "unknown" } as const;

/** The subjects of a topic that are told only once, at least one less than all. */
function tailOf(facts: readonly Fact[], share: number, random: Random): Set<Entity> {
  const subjects = [...bySubject(facts).keys()];
  return new Set(random.shuffle(subjects).slice(0, Math.floor(share * subjects.length)));
}

/** The stream of one new world. */
async function worldTopicsTask(given: z.output<typeof options>): Promise<Task> {
  const world = createWorld({ seed: given.world, people: given.people });
  const hops = twoHops(world);
  const topics = allTopics.slice(0, given.topics).map((name): AskedTopic => {
    const random = randomStream(given.world, "world-topics", name);
    const facts = world.facts.filter(({ topic }) => topic === name);
    const once = tailOf(facts, given.longTail, randomStream(given.world, "world-topics", name, "long tail"));
    const documents = documentsAbout(facts, name, { ...given, once }, random);
    const voice = testVoice(random);
    const often = facts.filter(({ subject }) => !once.has(subject));
    const few = Math.ceil(given.limit / 4);
    const asked = sample(often, given.limit, random).map((fact) => questionOf(fact, voice));
    // Through facts that are told often, so that what the long tail costs shows in its own score only
    const joined = hops.filter((pair) => pair.every(({ topic, subject }) => topic === name && !once.has(subject)));
    const unsaid = world.gaps.filter(({ subject }) => subject.topic === name);
    const tail = facts.filter(({ subject }) => once.has(subject));
    const more = [
      ...sample(joined, few, random).map(([first, second]) => twoHopQuestion(first, second, voice)),
      ...sample(unsaid, few, random).map((gap) => unknownQuestion(gap, voice)),
    ];
    const rare = sample(tail, few, random).map((fact) => questionOf(fact, voice));
    return {
      name,
      documents,
      questions: [
        ...[...asked, ...more].map((question) => askedOf(question, name)),
        ...rare.map((question) => ({ ...askedOf(question, name), kind: kinds.longTail })),
      ],
    };
  });
  // In a small world a topic may lack questions of a kind
  const common = commonKinds(topics);
  const extra = Object.entries(kinds).filter(([, kind]) => common.includes(kind));
  const task = askingTask({
    name: "world-topics",
    maxTokens: answerRoom,
    topics,
    protocol:
      "exactMatch, f1: free greedy answers to questions on single facts in held-out forms, never seen in training; " +
      "longTail: the same on subjects that are told only once, which the others leave out; " +
      "twoHop: over two facts of the topic; unknown: share of questions on things never stated that are answered so",
    async evaluate(method, questions, asking) {
      const { byKind } = await askAll(method, questions, asking);
      return {
        exactMatch: byKind.fact.exactMatch,
        f1: byKind.fact.f1,
        ...Object.fromEntries(extra.map(([score, kind]) => [score, byKind[kind].exactMatch])),
      };
    },
  });
  const validation = await validationProbe(given.validation);
  const probes = [...knownWorldProbes({ count: given.known }), validation];
  const fingerprint = fingerprintOf(task.fingerprint, given.known, validation.texts);
  return { ...task, fingerprint, probes, diagnosticTexts: knownTexts() };
}

export const worldTopics = defineTask({
  name: "world-topics",
  summary: "a new world, topic by topic, asked in held-out words: what is learned, and what is lost",
  options,
  stream: drawnByWorld,
  create: worldTopicsTask,
});
