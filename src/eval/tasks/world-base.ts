/**
 * What a base model must show before anything is built on it: it knows world 0, reads worlds that it never saw when
 * they stand in its window, and admits what was never stated. Nothing is learned; all asked in held-out forms.
 */
import { z } from "zod";
import { randomStream } from "../../tensor/random.ts";
import { askAll, type AskedQuestion } from "../questions.ts";
import type { Task } from "../task.ts";
import { askingTask } from "./asking.ts";
import { defineTask } from "./definition.ts";
import { knownWorld } from "./world/curriculum.ts";
import { article, questionOf, unknownQuestion } from "./world/render.ts";
import { answerRoom, askedOf, knownTexts, sample, testVoice, theKnownWorld } from "./world/stream.ts";
import { createWorld, type World } from "./world/world.ts";
import { promptOf, unknownAnswer } from "../../methods/prompt.ts";

const options = z.object({
  // Every world gives two questions or more on what it states: 300 worlds at most
  count: z.int().positive().max(400).default(400).describe("questions of each kind"),
  window: z.int().positive().default(1800).describe("characters of text before a question that is answered from it"),
  // The one before it is that of the strangers; those from 900 on are for validation
  firstWorld: z.int().min(2).max(600).default(300).describe("seed of the first world that is read"),
});

type Options = z.output<typeof options>;

/** Questions on articles in the window, by "reads" (stated there) and "admitsReading" (not stated there). */
function readingQuestions({ count, window, firstWorld }: Options): AskedQuestion[] {
  const questions: AskedQuestion[] = [];
  for (let i = 0; questions.length < 1.5 * count; i++) {
    const random = randomStream(firstWorld + i, "world-base");
    const world: World = createWorld({ seed: firstWorld + i, people: 15 });
    // A random length up to the window, so that the facts asked are near and far
    const length = window * (0.2 + 0.8 * random.uniform());
    const told = sample(world.facts, Math.max(3, Math.floor(length / 105)), random);
    const text = article(told, testVoice(random), { fillerShare: 0.15 });
    const ask = (question: ReturnType<typeof questionOf>, kind: string): void => {
      const asked = askedOf(question);
      questions.push({
        ...asked,
        id: `${firstWorld + i}/${question.id}`,
        query: { text: promptOf(asked.query, [text]), form: "completion" },
        kind,
      });
    };
    for (const fact of sample(told, 2, random)) ask(questionOf(fact, testVoice(random)), "reads");
    const unsaid = world.gaps.filter(({ subject }) => told.some((fact) => fact.subject === subject));
    if (unsaid.length > 0) ask(unknownQuestion(sample(unsaid, 1, random)[0], testVoice(random)), "admitsReading");
  }
  return questions;
}

function knownQuestions({ count, firstWorld }: Options): AskedQuestion[] {
  const world = theKnownWorld();
  const random = randomStream(knownWorld.seed, "world-base");
  const known = sample(world.facts, count, random).map((fact) => questionOf(fact, testVoice(random)));
  const gaps = sample(world.gaps, Math.ceil(count / 2), random).map((gap) => unknownQuestion(gap, testVoice(random)));
  const strangers = createWorld({ seed: firstWorld - 1, people: 60 }).facts;
  const never = sample(strangers, Math.ceil(count / 2), random).map((fact) => unknownQuestion(fact, testVoice(random)));
  return [
    ...known.map((question) => ({ ...askedOf(question), kind: "knows" })),
    ...gaps.map((question) => ({ ...askedOf(question), kind: "admitsGap" })),
    ...never.map((question) => ({ ...askedOf(question), id: `never/${question.id}`, kind: "admitsStranger" })),
  ];
}

function worldBaseTask(given: Options): Task {
  const questions = [...knownQuestions(given), ...readingQuestions(given)];
  const name = "base";
  const task = askingTask({
    name: "world-base",
    maxTokens: answerRoom,
    topics: [{ name, documents: [{ id: "nothing", text: "\n", topic: name }], questions }],
    metric: "knows",
    protocol:
      "free greedy answers, exact match, held-out forms; knows: world 0, nothing in the window; reads: articles of " +
      `unseen worlds, up to ${given.window} characters away; admits: never stated, answered unknown; ` +
      "falseUnknown: stated or known, answered unknown",
    async evaluate(method, asked, asking) {
      const { byKind, given: said } = await askAll(method, asked, asking);
      const share = (kind: string): number => byKind[kind]?.exactMatch ?? 0;
      const saysUnknown = (kind: string): number => {
        const own = asked.flatMap((question, i) => (question.kind === kind ? [said[i]] : []));
        return own.filter((answer) => answer.trim().toLowerCase() === unknownAnswer).length / Math.max(1, own.length);
      };
      return {
        knows: share("knows"),
        reads: share("reads"),
        admits: (share("admitsGap") + share("admitsStranger") + share("admitsReading")) / 3,
        admitsGap: share("admitsGap"),
        admitsStranger: share("admitsStranger"),
        admitsReading: share("admitsReading"),
        falseUnknown: saysUnknown("knows"),
        falseUnknownReading: saysUnknown("reads"),
      };
    },
  });
  return { ...task, diagnosticTexts: knownTexts() };
}

export const worldBase = defineTask({
  name: "world-base",
  summary: "what a base knows, reads and admits; nothing is learned (use it with the method none)",
  options,
  create: async (given) => worldBaseTask(given),
});
