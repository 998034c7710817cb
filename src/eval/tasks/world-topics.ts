/**
 * The main stream: a new world told topic by topic (science, sport, business, art, travel), with different vocabularies
 * and relations. Learned are biographies in training forms; asked is in held-out forms, in free greedy generation.
 * Before and after every topic the base's own knowledge of world 0 is asked as well.
 */
import { z } from "zod";
import { randomStream } from "../../tensor/random.ts";
import { askAll } from "../questions.ts";
import type { Task } from "../task.ts";
import { type AskedTopic, askingTask } from "./asking.ts";
import { defineTask } from "./definition.ts";
import { fingerprintOf } from "./records.ts";
import { topics as allTopics } from "./world/phrases/fillers.ts";
import { questionOf, twoHopQuestion, twoHops, unknownQuestion } from "./world/render.ts";
import {
  answerRoom,
  askedOf,
  commonKinds,
  documentsAbout,
  knownTexts,
  knownWorldProbes,
  sample,
  streamSeeds,
  testVoice,
} from "./world/stream.ts";
import { validationProbe } from "./world/validation.ts";
import { createWorld } from "./world/world.ts";

const options = z.object({
  world: z
    .int()
    .min(streamSeeds.least)
    .max(streamSeeds.most)
    .default(100)
    .describe("seed of the new world; 1 to 99 are for development"),
  people: z.int().min(10).max(1000).default(50).describe("people in it; everything else grows with them"),
  tellings: z.int().min(1).max(20).default(3).describe("documents about each subject, each in other words"),
  answered: z.boolean().default(true).describe("add a document with questions and answers in training forms"),
  limit: z.int().positive().default(60).describe("questions per topic, at most"),
  known: z.int().positive().default(150).describe("questions about the known world"),
  validation: z.array(z.string()).default([]).describe("text files to measure the base's cross-entropy on"),
});

/** The stream of one new world. */
async function worldTopicsTask(given: z.output<typeof options>): Promise<Task> {
  const world = createWorld({ seed: given.world, people: given.people });
  const hops = twoHops(world);
  const topics = allTopics.map((name): AskedTopic => {
    const random = randomStream(given.world, "world-topics", name);
    const facts = world.facts.filter(({ topic }) => topic === name);
    const documents = documentsAbout(facts, name, given, random);
    const voice = testVoice(random);
    const asked = sample(facts, given.limit, random).map((fact) => questionOf(fact, voice));
    const few = Math.ceil(given.limit / 4);
    const joined = hops.filter(([first, second]) => first.topic === name && second.topic === name);
    const more = [
      ...sample(joined, few, random).map(([first, second]) => twoHopQuestion(first, second, voice)),
      ...sample(
        world.gaps.filter(({ subject }) => subject.topic === name),
        few,
        random,
      ).map((gap) => unknownQuestion(gap, voice)),
    ];
    return { name, documents, questions: [...asked, ...more].map((question) => askedOf(question, name)) };
  });
  // In a small world a topic may lack questions of a kind
  const common = commonKinds(topics);
  const extra = Object.entries({ twoHop: "two-hop", unknown: "unknown" }).filter(([, kind]) => common.includes(kind));
  const task = askingTask({
    name: "world-topics",
    maxTokens: answerRoom,
    topics,
    protocol:
      "exactMatch, f1: free greedy answers to questions on single facts in held-out forms, never seen in training; " +
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
  create: worldTopicsTask,
});
