/**
 * Edits of what the base knows: facts of world 0 get other objects, batch after batch. Scored as in knowledge editing:
 * efficacy (the edit as it was given), paraphrase (held-out forms), neighbourhood (the same relation of other subjects
 * is still answered as in world 0), portability (questions over two facts that lead through the edit), unknown (what
 * was never stated is still admitted).
 */
import { z } from "zod";
import type { Document } from "../../methods/method.ts";
import { answeredQuestion } from "../../methods/prompt.ts";
import { randomStream } from "../../tensor/random.ts";
import { askAll, type AskedQuestion } from "../questions.ts";
import type { Task } from "../task.ts";
import { type AskedTopic, askingTask, commonKinds } from "./asking.ts";
import { defineTask, developmentSeeds } from "./definition.ts";
import { knownWorld } from "./world/curriculum.ts";
import { questionOf, sentence, twoHopQuestion, twoHops, unknownQuestion } from "./world/render.ts";
import {
  answerRoom,
  askedOf,
  knownTexts,
  knownWorldProbes,
  sample,
  testVoice,
  theKnownWorld,
  trainVoice,
} from "./world/stream.ts";
import { bySubject, edits, type Fact } from "./world/world.ts";

const options = z.object({
  edits: z.int().positive().max(2000).default(50).describe("facts to change"),
  batch: z.int().positive().default(10).describe("edits learned together"),
  statements: z.int().min(0).max(20).default(2).describe("statements of each edit, beside its question and answer"),
  editSeed: z.int().min(0).default(0).describe("which facts"),
});

type Options = z.output<typeof options>;

/** One fact in so many is edited in streams for development, and in no other. */
const developmentEvery = 5;

function worldEditsTask({ edits: count, batch, statements, editSeed }: Options): Task {
  const world = theKnownWorld();
  const random = randomStream(knownWorld.seed, "world-edits", editSeed);
  const develops = editSeed >= developmentSeeds[0] && editSeed <= developmentSeeds[1];
  const facts = world.facts.filter((_, i) => (i % developmentEvery === 0) === develops);
  const changes = edits(world, { count, seed: editSeed, facts });
  const changed = new Set(changes.map(({ old }) => old.id));
  // A question over two facts leads through one edit and one fact that no edit touches, now or later
  const same = world.facts.filter(({ id }) => !changed.has(id));
  const onwards = bySubject(same);
  const asItWas = bySubject(world.facts);
  const into = new Map<string, Fact>();
  for (const [first, second] of twoHops(world)) if (!changed.has(first.id)) into.set(second.id, first);

  const topics = Array.from({ length: Math.ceil(changes.length / batch) }, (_, t): AskedTopic => {
    const name = `edits ${t * batch + 1} to ${Math.min(changes.length, (t + 1) * batch)}`;
    const documents: Document[] = [];
    const questions: AskedQuestion[] = [];
    for (const { old, now: edit } of changes.slice(t * batch, (t + 1) * batch)) {
      const given = questionOf(edit, trainVoice(random));
      const text = [
        ...Array.from({ length: statements }, () => `${sentence(edit, trainVoice(random))}\n`),
        answeredQuestion(given.text, given.answer),
      ].join("");
      documents.push({ id: edit.id, topic: name, text });
      const ask = (question: ReturnType<typeof questionOf>, kind: string): void => {
        const asked = askedOf(question, name);
        questions.push({ ...asked, id: `${edit.id}?${kind}${questions.length}`, kind });
      };
      ask(given, "efficacy");
      ask(questionOf(edit, testVoice(random)), "paraphrase");
      // One that has the new object by itself would be right for any reason
      const others = same.filter(({ relation, object }) => relation === edit.relation && object !== edit.object);
      for (const other of sample(others, 2, random)) ask(questionOf(other, testVoice(random)), "neighbourhood");
      // One that is answered the same through the old object would be right without the edit
      const earlier = (old.entity && asItWas.get(old.entity)) ?? [];
      const telling = ((edit.entity && onwards.get(edit.entity)) ?? []).filter(
        ({ relation, object }) => !earlier.some((fact) => fact.relation === relation && fact.object === object),
      );
      const [onward] = sample(telling, 1, random);
      const inward = into.get(old.id);
      if (onward) ask(twoHopQuestion(edit, onward, testVoice(random)), "portability");
      else if (inward) ask(twoHopQuestion(inward, edit, testVoice(random)), "portability");
      const gaps = world.gaps.filter(({ relation }) => relation === edit.relation);
      for (const gap of sample(gaps, 1, random)) ask(unknownQuestion(gap, testVoice(random)), "unknown");
    }
    return { name, documents, questions };
  });
  // A small batch may lack questions of a kind, such as those over two facts
  const kinds = commonKinds(topics);
  const task = askingTask({
    name: "world-edits",
    maxTokens: answerRoom,
    topics,
    metric: "paraphrase",
    protocol:
      "free greedy answers, exact match; efficacy: the question that was learned; paraphrase: held-out forms; " +
      "neighbourhood: other subjects of the same relation, as in the known world; portability: over two facts; " +
      "unknown: never stated, still admitted",
    async evaluate(method, questions, asking) {
      const { byKind } = await askAll(method, questions, asking);
      return Object.fromEntries(kinds.map((kind) => [kind, byKind[kind].exactMatch]));
    },
  });
  return { ...task, probes: knownWorldProbes({ except: changed }), diagnosticTexts: knownTexts() };
}

export const worldEdits = defineTask({
  name: "world-edits",
  summary: "facts that the base knows get other values: efficacy, paraphrase, neighbourhood, portability",
  options,
  stream: { option: "editSeed", development: developmentSeeds },
  create: async (given) => worldEditsTask(given),
});
