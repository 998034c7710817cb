/**
 * Documents of fresh worlds for fits, with the facts that they state: one fact each, as a sentence, or several about one
 * subject. Only training forms, and only worlds that nothing is tested on. The first documents of more are the same.
 */
import type { Document, Query, StatedFact } from "../../../methods/method.ts";
import { pick, type Random, randomStream } from "../../../tensor/random.ts";
import { freshSeed } from "./curriculum.ts";
import { questionOf, sentence, type Voice } from "./render.ts";
import { statedAs, trainVoice } from "./stream.ts";
import { subjectDocuments } from "./subject-documents.ts";
import { createWorld, type Fact } from "./world.ts";

/** Questions that ask for a fact. */
const QUESTIONS = 4;

/** What stands before the object, where the sentence ends with it. */
function beginning(fact: Fact, voice: Voice): Query[] {
  const text = sentence(fact, voice);
  const at = text.lastIndexOf(fact.object);
  if (at <= 0 || text.slice(at + fact.object.length) !== ".") return [];
  return [{ text: text.slice(0, at).trimEnd(), form: "completion" }];
}

function stated(fact: Fact, about: string, voice: Voice): StatedFact {
  const questions = Array.from({ length: QUESTIONS }, (): Query => ({ text: questionOf(fact, voice).text }));
  const prompts = voice.random.shuffle([...questions, ...beginning(fact, voice)]);
  return { prompt: prompts[0], target: fact.object, rephrased: prompts.slice(1), about };
}

/** People of a world whose subjects are told of: enough that its cities and companies can not be guessed. */
const PEOPLE = 500;

/** `count` short documents about one subject each, with all that they state; `rephrasings` other questions for each. */
export async function* worldFitSubjects({
  count,
  seed,
  rephrasings = 3,
}: {
  count: number;
  seed: number;
  rephrasings?: number;
}): AsyncGenerator<Document> {
  const random: Random = randomStream(seed, "fit-subjects");
  const voice = trainVoice(random);
  for (let made = 0; made < count; ) {
    const world = createWorld({ seed: freshSeed(random), people: PEOPLE });
    for (const { document, told } of subjectDocuments(world, { facts: 5 }, random).slice(0, count - made)) {
      const facts = told.map((fact) => statedAs(fact, questionOf(fact, voice), rephrasings, random));
      // A world may come twice, then in other words
      yield { id: `world-${made++}/${document.id}`, text: document.text, facts };
    }
  }
}

/** `count` facts; as many worlds of 20 people as they take, `perWorld` facts of each. */
export async function* worldFitDocuments({
  count,
  seed,
  perWorld = 100,
}: {
  count: number;
  seed: number;
  perWorld?: number;
}): AsyncGenerator<Document> {
  const random: Random = randomStream(seed, "fit-worlds");
  for (let made = 0; made < count; ) {
    const world = createWorld({ seed: freshSeed(random), people: 20 });
    const voice: Voice = { random, split: "train" };
    for (let i = 0; i < perWorld && made < count; i++, made++) {
      const fact = pick(world.facts, random);
      const about = `world-${world.seed}/${fact.id}`;
      const id = `${about}/${i}`;
      yield { id, text: sentence(fact, voice), topic: fact.topic, facts: [stated(fact, about, voice)] };
    }
  }
}
