/**
 * The fact stream of sparse memory finetuning (https://arxiv.org/abs/2510.15103, section 4.1): one fact a step, in many
 * wordings, each of them a row of its own; asked for in forms that were held out. Beside it what the base knew: world 0,
 * and text.
 * Differs: facts of a generated world, which nobody can know before, instead of TriviaQA; wordings by its forms.
 */
import { z } from "zod";
import { askAll } from "../questions.ts";
import type { Task } from "../task.ts";
import { type AskedTopic, askingTask } from "./asking.ts";
import { defineTask, drawnByWorld } from "./definition.ts";
import { fingerprintOf } from "./records.ts";
import { answerRoom, knownTexts, knownWorldProbes, sample, worldOptions } from "./world/stream.ts";
import { validationProbe } from "./world/validation.ts";
import { writtenFacts } from "./world/written.ts";

const options = z.object({
  world: worldOptions({ world: 700, people: 60 }).world,
  facts: z.int().positive().max(20_000).default(1000).describe("facts to learn, one a step"),
  batch: z.int().positive().default(50).describe("facts between two measurements"),
  wordings: z.int().min(1).max(64).default(64).describe("different wordings of each fact, as far as there are so many"),
  asked: z.number().min(0).max(1).default(0.25).describe("share of the wordings that ask for the fact and answer it"),
  limit: z.int().positive().default(1000).describe("facts that are asked for per topic, at most"),
  known: z.int().positive().default(150).describe("questions about the known world"),
  validation: z.array(z.string()).default([]).describe("text files to measure the base's cross-entropy on"),
});

async function worldFactsTask(given: z.output<typeof options>): Promise<Task> {
  const { world, facts: count, batch, wordings, asked: share, limit, known } = given;
  const plan = { statements: 0, rephrasings: 2, wordings: { count: wordings, asked: share } };
  const { facts, random } = writtenFacts({ world, count, ...plan });
  const topics = Array.from({ length: Math.ceil(count / batch) }, (_, t): AskedTopic => {
    const own = facts.slice(t * batch, (t + 1) * batch);
    return {
      name: `facts ${t * batch + 1} to ${t * batch + own.length}`,
      documents: own.map(({ document }) => document),
      questions: sample(own, limit, random).map(({ heldOut }) => heldOut),
    };
  });
  const task = askingTask({
    name: "world-facts",
    maxTokens: answerRoom,
    topics,
    metric: "f1",
    protocol:
      `free greedy answers to questions in held-out forms; a fact is learned from up to ${wordings} wordings in ` +
      `training forms, ${share} of them questions with their answers`,
    async evaluate(method, questions, asking) {
      const { exactMatch, f1 } = await askAll(method, questions, asking);
      return { f1, exactMatch };
    },
  });
  const validation = await validationProbe(given.validation);
  const fingerprint = fingerprintOf(task.fingerprint, known, validation.texts);
  return {
    ...task,
    fingerprint,
    probes: [...knownWorldProbes({ count: known }), validation],
    diagnosticTexts: knownTexts(),
  };
}

export const worldFacts = defineTask({
  name: "world-facts",
  summary: "facts of a new world, one a step in many wordings: what is learned, and what the base forgets",
  options,
  stream: drawnByWorld,
  create: worldFactsTask,
});
