/**
 * Concept drift: a world is told, then year by year some of its facts change. Every step's documents state what is new;
 * asked is what holds now, and whether the old value comes instead. Column 0 is what never changes.
 */
import { z } from "zod";
import { UserError } from "../../errors.ts";
import { randomStream } from "../../tensor/random.ts";
import type { Document } from "../../methods/method.ts";
import { answeredQuestion } from "../../methods/prompt.ts";
import { type AskedQuestion, askAll, exactMatch } from "../questions.ts";
import type { Task } from "../task.ts";
import { type AskedTopic, askingTask } from "./asking.ts";
import { defineTask, drawnByWorld } from "./definition.ts";
import { datedSentence, questionOf, sentence } from "./world/render.ts";
import {
  answerRoom,
  askedOf,
  documentsAbout,
  knownTexts,
  knownWorldProbes,
  sample,
  testVoice,
  trainVoice,
  worldOptions,
} from "./world/stream.ts";
import { createWorld, drift, type Fact } from "./world/world.ts";

const options = z.object({
  ...worldOptions({ world: 200, people: 150 }),
  steps: z.int().min(1).max(8).default(4).describe("steps of change after the first telling"),
  share: z.number().min(0.01).max(0.5).default(0.2).describe("share of the changeable facts that change in a step"),
});

type Options = z.output<typeof options>;
type Change = { readonly old: Fact; readonly now: Fact };

/** Documents that tell one change: dated statements, undated ones, and its question answered anew. */
function documentsOf(
  changes: readonly Change[],
  name: string,
  { tellings, answered }: Options,
  seed: number,
): Document[] {
  const random = randomStream(seed, "world-drift", name);
  const voice = trainVoice(random);
  return changes.flatMap(({ now }) => {
    const told = Array.from({ length: tellings }, () => `${datedSentence(now, voice)} ${sentence(now, voice)}\n`);
    const question = questionOf(now, voice);
    return [
      ...told.map((text, i) => ({ id: `${name}/${now.id}#${i + 1}`, topic: name, time: now.from, text })),
      ...(answered
        ? [
            {
              id: `${name}/${now.id}#question`,
              topic: name,
              time: now.from,
              text: answeredQuestion(question.text, question.answer),
            },
          ]
        : []),
    ];
  });
}

/** Steps of change; a fact changes at most once in the stream. */
function worldDriftTask(given: Options): Task {
  const world = createWorld({ seed: given.world, people: given.people });
  const all = drift(world, { share: Math.min(1, given.share * given.steps) });
  const perStep = Math.floor(all.length / given.steps);
  if (perStep === 0)
    throw new UserError(
      `world-drift: expected a change or more in each of ${given.steps} steps, got ${all.length} in all; ` +
        "raise the share or people, or take fewer steps",
    );
  const changes = Array.from({ length: given.steps }, (_, i) => all.slice(i * perStep, (i + 1) * perStep));
  const changed = new Set(all.map(({ old }) => old.id));
  const random = randomStream(given.world, "world-drift");
  const voice = testVoice(random);
  const oldAnswers = new Map<string, string>();
  const first: AskedTopic = {
    name: "as first told",
    documents: documentsAbout(world.facts, "as first told", given, random),
    questions: sample(
      world.facts.filter(({ id }) => !changed.has(id)),
      given.limit,
      random,
    ).map((fact) => askedOf(questionOf(fact, voice), "as first told")),
  };
  const later = changes.map((some, i): AskedTopic => {
    const name = `change ${i + 1}`;
    const questions = sample(some, given.limit, random).map(({ old, now }) => {
      const question = askedOf(questionOf(now, voice), name);
      oldAnswers.set(question.id, old.object);
      return question;
    });
    return { name, documents: documentsOf(some, name, given, given.world), questions };
  });
  const task = askingTask({
    name: "world-drift",
    maxTokens: answerRoom,
    topics: [first, ...later],
    protocol:
      "exactMatch: free greedy answers equal to what holds now, held-out forms; " +
      "stale: share of answers equal to what held before the change",
    async evaluate(method, questions: readonly AskedQuestion[], asking) {
      const { exactMatch: right, f1, given: said } = await askAll(method, questions, asking);
      const stale = questions.filter(({ id }, i) => {
        const old = oldAnswers.get(id);
        return old !== undefined && exactMatch(said[i], [old]) === 1;
      });
      return { exactMatch: right, f1, stale: stale.length / questions.length };
    },
  });
  return { ...task, probes: knownWorldProbes(), diagnosticTexts: knownTexts() };
}

export const worldDrift = defineTask({
  name: "world-drift",
  summary: "facts that change with the years: is the new value given, or the old one",
  options,
  stream: drawnByWorld,
  create: async (given) => worldDriftTask(given),
});
