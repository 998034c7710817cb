/**
 * Facts of fresh worlds for fits: each as a sentence, with questions and the beginning of a sentence that ask for it.
 * Only training forms, and only worlds that nothing is tested on.
 */
import type { Document, Query, StatedFact } from "../../../methods/method.ts";
import { pick, type Random, randomStream } from "../../../tensor/random.ts";
import { freshSeed } from "./curriculum.ts";
import { questionOf, sentence, type Voice } from "./render.ts";
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
