/**
 * Many facts of a new world, written batch after batch: are the first still there when the last has come? Asked are, of
 * every batch so far, the questions that were written and held-out forms. The mean over a row is the mean over all past
 * edits: the edit retention of Larimar (https://arxiv.org/abs/2403.11901, Table 3; protocol of GRACE,
 * https://arxiv.org/abs/2211.11031). One batch of all facts is a point of its batch curve (Figure 2a).
 * Differs: worlds instead of zsRE, words in common counted as SQuAD does it.
 */
import { z } from "zod";
import { askAll } from "../questions.ts";
import type { Task } from "../task.ts";
import { type AskedTopic, askingTask } from "./asking.ts";
import { defineTask, drawnByWorld } from "./definition.ts";
import { answerRoom, knownTexts, knownWorldProbes, rephrasingsOption, sample, worldOptions } from "./world/stream.ts";
import { writtenFacts } from "./world/written.ts";

const options = z.object({
  world: worldOptions({ world: 300, people: 60 }).world,
  edits: z.int().positive().max(20_000).default(1000).describe("facts to write"),
  batch: z.int().positive().default(50).describe("edits learned together"),
  statements: z.int().min(0).max(20).default(1).describe("statements of each edit, beside its question and answer"),
  rephrasings: rephrasingsOption,
  limit: z.int().positive().default(1000).describe("facts that are asked for per topic, at most"),
  known: z.int().positive().default(150).describe("questions about the known world"),
});

function worldSequenceTask({ world, edits, batch, limit, known, ...plan }: z.output<typeof options>): Task {
  const { facts, random } = writtenFacts({ world, count: edits, ...plan });
  const topics = Array.from({ length: Math.ceil(edits / batch) }, (_, t): AskedTopic => {
    const own = facts.slice(t * batch, (t + 1) * batch);
    const asked = sample(own, limit, random);
    return {
      name: `facts ${t * batch + 1} to ${t * batch + own.length}`,
      documents: own.map(({ document }) => document),
      questions: asked.flatMap(({ given, heldOut }) => [given, heldOut]),
    };
  });
  const task = askingTask({
    name: "world-sequence",
    maxTokens: answerRoom,
    topics,
    metric: "f1",
    protocol:
      "free greedy answers; f1, exactMatch: questions in held-out forms; efficacy, efficacyF1: the question that was " +
      `written, given with ${plan.rephrasings} others; the mean of a row is over all edits so far`,
    async evaluate(method, questions, asking) {
      const { efficacy, paraphrase } = (await askAll(method, questions, asking)).byKind;
      return {
        f1: paraphrase.f1,
        exactMatch: paraphrase.exactMatch,
        efficacy: efficacy.exactMatch,
        efficacyF1: efficacy.f1,
      };
    },
  });
  return { ...task, probes: knownWorldProbes({ count: known }), diagnosticTexts: knownTexts() };
}

export const worldSequence = defineTask({
  name: "world-sequence",
  summary: "thousands of facts of a new world, batch after batch: retention of all past edits",
  options,
  stream: drawnByWorld,
  create: async (given) => worldSequenceTask(given),
});
