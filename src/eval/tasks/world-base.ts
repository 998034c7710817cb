/**
 * What a base model must show before anything is built on it: it knows world 0, reads worlds that it never saw when
 * they stand in its window, and admits what was never stated. Nothing is learned; all asked in held-out forms.
 */
import { z } from "zod";
import { randomStream } from "../../tensor/random.ts";
import { askAll, type AskedQuestion, exactMatch, meanOf } from "../questions.ts";
import type { Task } from "../task.ts";
import { askingTask } from "./asking.ts";
import { defineTask } from "./definition.ts";
import { knownWorld } from "./world/curriculum.ts";
import { article, chronicle, questionOf, unknownQuestion, type WorldQuestion } from "./world/render.ts";
import { answerRoom, askedOf, knownTexts, sample, testVoice, theKnownWorld } from "./world/stream.ts";
import { createWorld, type Fact, type World } from "./world/world.ts";
import { promptOf, unknownAnswer } from "../../methods/prompt.ts";

const options = z.object({
  // Every world gives two questions or more on what it states: 300 worlds at most
  count: z.int().positive().max(400).default(400).describe("questions of each kind"),
  window: z.int().positive().default(1800).describe("characters of text before a question that is answered from it"),
  // The one before it is that of the strangers; those from 900 on are for validation
  firstWorld: z.int().min(2).max(600).default(300).describe("seed of the first world that is read"),
});

type Options = z.output<typeof options>;

/** Text of as many of the facts as fill `window` characters: densely, or, every second time, far apart. */
function passage(facts: readonly Fact[], seed: number, window: number): { text: string; told: Fact[] } {
  const sparse = seed % 2 === 1;
  let best = { text: "", told: [] as Fact[] };
  for (let n = 2; n <= facts.length; n++) {
    const told = facts.slice(0, n);
    const voice = testVoice(randomStream(seed, "passage", n));
    // A chronicle has a fact for every 40 words and is cut short of the window, since its length is only aimed at
    const text = sparse ? chronicle(told, voice, { words: 40 * n }) : article(told, voice, { fillerShare: 0.15 });
    if (n > 2 && text.length > window) break;
    best = { text, told };
  }
  return best;
}

/**
 * Questions on texts in the window, by what a right answer shows: "reads" and "readsFar" (stated there, nearer to the
 * question than half of the window or farther), "admitsReading" (not stated there, of somebody who is).
 */
function readingQuestions({ count, window, firstWorld }: Options): AskedQuestion[] {
  const questions: AskedQuestion[] = [];
  for (let i = 0; questions.length < 1.5 * count; i++) {
    const seed = firstWorld + i;
    const random = randomStream(seed, "world-base");
    const world: World = createWorld({ seed, people: 30 });
    const { text, told } = passage(random.shuffle([...world.facts]), seed, window);
    const ask = (question: WorldQuestion, kind: string): void => {
      const asked = askedOf(question);
      questions.push({
        ...asked,
        id: `${seed}/${question.id}`,
        query: { text: promptOf(asked.query, [text]), form: "completion" },
        kind,
      });
    };
    for (const fact of sample(told, 2, random)) {
      const isFar = text.length - text.lastIndexOf(fact.object) > window / 2;
      ask(questionOf(fact, testVoice(random)), isFar ? "readsFar" : "reads");
    }
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
      `unseen worlds that fill ${given.window} characters (readsFar: more than half of that away); admits: never ` +
      "stated, answered unknown, of strangers and of those in the window (admitsGap: gaps of world 0, which the base " +
      "was trained to answer so, in other forms); falseUnknown: stated or known, answered unknown",
    async evaluate(method, asked, asking) {
      const { given: said } = await askAll(method, asked, asking);
      const share = (kinds: readonly string[], isRight: (answer: string, i: number) => number): number | undefined => {
        const own = asked.flatMap(({ kind = "" }, i) => (kinds.includes(kind) ? [isRight(said[i], i)] : []));
        return own.length === 0 ? undefined : meanOf(own);
      };
      const right = (...kinds: string[]) => share(kinds, (answer, i) => exactMatch(answer, asked[i].answers));
      const saysUnknown = (...kinds: string[]) => share(kinds, (answer) => exactMatch(answer, [unknownAnswer]));
      const scores = {
        knows: right("knows"),
        reads: right("reads", "readsFar"),
        readsFar: right("readsFar"),
        admits: right("admitsStranger", "admitsReading"),
        admitsGap: right("admitsGap"),
        admitsStranger: right("admitsStranger"),
        admitsReading: right("admitsReading"),
        falseUnknown: saysUnknown("knows"),
        falseUnknownReading: saysUnknown("reads", "readsFar"),
      };
      // A short window may have no question of some kind
      return Object.fromEntries(Object.entries(scores).filter((one): one is [string, number] => one[1] !== undefined));
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
