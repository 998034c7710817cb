/**
 * Facts of a world of their own, a document each: for tasks that write many single facts and ask for them. Asked for is
 * a fact in the words it was given with, or in held-out forms.
 */
import type { Document } from "../../../methods/method.ts";
import { answeredQuestion } from "../../../methods/prompt.ts";
import { type Random, randomStream } from "../../../tensor/random.ts";
import type { AskedQuestion } from "../../task.ts";
import { UserError } from "../../../errors.ts";
import { questionOf, sentence, type WorldQuestion } from "./render.ts";
import { askedOf, statedAs, testVoice, trainVoice } from "./stream.ts";
import { createWorld, type Fact } from "./world.ts";

export interface WrittenFact {
  readonly fact: Fact;
  /** Sentences, the answered question, and the fact as such. */
  readonly document: Document;
  /** The question that it was given with. */
  readonly given: AskedQuestion;
  /** A question in a held-out form. */
  readonly heldOut: AskedQuestion;
}

export interface WrittenOptions {
  readonly world: number;
  readonly count: number;
  /** Sentences of each fact, beside its question and answer. */
  readonly statements: number;
  readonly rephrasings: number;
  /** In place of those: so many different wordings of each fact, of which this share asks for it. */
  readonly wordings?: { readonly count: number; readonly asked: number };
}

/** Draws tried for each different wording, before there are taken to be no more. */
const TRIES = 40;

/** Different ways to say a fact in training forms: sentences, and questions with their answers. */
function wordingsOf(
  fact: Fact,
  { count, asked }: { readonly count: number /** Share of questions. */; readonly asked: number },
  random: Random,
): string[] {
  const voice = trainVoice(random);
  const draw = (most: number, say: () => string): string[] => {
    const said = new Set<string>();
    for (let tries = 0; said.size < most && tries < TRIES * most; tries++) said.add(say());
    return [...said];
  };
  const questions = draw(Math.round(asked * count), () => {
    const { text, answer } = questionOf(fact, voice);
    return answeredQuestion(text, answer).trimEnd();
  });
  return random.shuffle([...questions, ...draw(count - questions.length, () => sentence(fact, voice))]);
}

/** Facts per person, a little less than there are. */
const FACTS_PER_PERSON = 5;
const LEAST_PEOPLE = 60;

/** `count` different facts in random order, and draws for whatever is asked beside them. */
export function writtenFacts({ world: seed, count, statements, rephrasings, wordings }: WrittenOptions): {
  facts: WrittenFact[];
  random: Random;
} {
  const world = createWorld({ seed, people: Math.max(LEAST_PEOPLE, Math.ceil(count / FACTS_PER_PERSON)) });
  if (world.facts.length < count)
    throw new UserError(`world: expected ${count} facts of world ${seed}, got ${world.facts.length}; ask for fewer`);
  const random = randomStream(seed, "written");
  const voice = trainVoice(random);
  const chosen = random.shuffle([...world.facts]).slice(0, count);
  const facts = chosen.map((fact): WrittenFact => {
    const given = questionOf(fact, voice);
    const told = Array.from({ length: statements }, () => `${sentence(fact, voice)}\n`);
    const restated = wordings && wordingsOf(fact, wordings, random);
    const document = {
      id: fact.id,
      text: restated ? `${restated.join("\n")}\n` : [...told, answeredQuestion(given.text, given.answer)].join(""),
      facts: [statedAs(fact, given, rephrasings, random)],
      ...(restated && { restated }),
    };
    const asked = (kind: string, question: WorldQuestion): AskedQuestion => {
      return { ...askedOf(question), id: `${fact.id}?${kind}`, kind };
    };
    return {
      fact,
      document,
      given: asked("efficacy", given),
      heldOut: asked("paraphrase", questionOf(fact, testVoice(random))),
    };
  });
  return { facts, random };
}
