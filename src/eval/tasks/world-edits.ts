/**
 * Edits of what the base knows: facts of world 0 get other objects, batch after batch or one at a time. Scored as
 * in knowledge editing (edited.ts): efficacy (the edit as it was given), paraphrase (held-out forms), neighbourhood (the
 * same relation of other subjects), portability (questions over two facts that lead through the edit), unknown (what was
 * never stated is still admitted).
 */
import { z } from "zod";
import type { Document } from "../../methods/method.ts";
import { answeredQuestion } from "../../methods/prompt.ts";
import { randomStream } from "../../tensor/random.ts";
import type { Task } from "../task.ts";
import { commonKinds } from "./asking.ts";
import { defineTask, developmentSeeds } from "./definition.ts";
import { editedTask, type EditedTopic, editProtocol, type EditQuestion } from "./edited.ts";
import { knownWorld } from "./world/curriculum.ts";
import { questionOf, sentence, twoHopQuestion, twoHops, unknownQuestion, type WorldQuestion } from "./world/render.ts";
import {
  answerRoom,
  askedOf,
  knownTexts,
  knownWorldProbes,
  rephrasingsOption,
  sample,
  statedAs,
  testVoice,
  theKnownWorld,
  trainVoice,
} from "./world/stream.ts";
import { bySubject, edits, type Fact } from "./world/world.ts";

const options = z.object({
  edits: z.int().positive().max(2000).default(50).describe("facts to change"),
  batch: z.int().positive().default(10).describe("edits learned together"),
  statements: z.int().min(0).max(20).default(2).describe("statements of each edit, beside its question and answer"),
  rephrasings: rephrasingsOption,
  single: z.boolean().default(false).describe("one edit at a time: written, asked about and taken back"),
  held: z.int().min(1).max(2000).default(256).describe("other edits that are held meanwhile, where edits are single"),
  editSeed: z.int().min(0).default(0).describe("which facts"),
});

type Options = z.output<typeof options>;

interface Change {
  readonly old: Fact;
  readonly now: Fact;
}

/** One fact in so many is edited in streams for development, and in no other. */
const developmentEvery = 5;

function worldEditsTask({ edits: count, batch, statements, rephrasings, single, held, editSeed }: Options): Task {
  const world = theKnownWorld();
  const random = randomStream(knownWorld.seed, "world-edits", editSeed);
  const develops = editSeed >= developmentSeeds[0] && editSeed <= developmentSeeds[1];
  const facts = world.facts.filter((_, i) => (i % developmentEvery === 0) === develops);
  const others = single ? held : 0;
  const changes = edits(world, { count: count + others, seed: editSeed, facts });
  const changed = new Set(changes.map(({ old }) => old.id));
  // A question over two facts leads through one edit and one fact that no edit touches, now or later
  const same = world.facts.filter(({ id }) => !changed.has(id));
  const onwards = bySubject(same);
  const asItWas = bySubject(world.facts);
  const into = new Map<string, Fact>();
  for (const [first, second] of twoHops(world)) if (!changed.has(first.id)) into.set(second.id, first);

  // A stream of its own: what is asked does not depend on how often a fact is said
  const retelling = randomStream(knownWorld.seed, "world-edits", editSeed, "rephrasings");

  /** What an edit writes. */
  const written = (edit: Fact, given: WorldQuestion, topic: string): Document => {
    const text = [
      ...Array.from({ length: statements }, () => `${sentence(edit, trainVoice(random))}\n`),
      answeredQuestion(given.text, given.answer),
    ].join("");
    return { id: edit.id, topic, text, facts: [statedAs(edit, given, rephrasings, retelling)] };
  };
  /** An edit and what is asked about it. */
  const edited = ({ old, now: edit }: Change, number: number, topic: string) => {
    const given = questionOf(edit, trainVoice(random));
    const document = written(edit, given, topic);
    const questions: EditQuestion[] = [];
    const ask = (question: WorldQuestion, kind: string): void => {
      const asked = askedOf(question, topic);
      questions.push({ ...asked, id: `${edit.id}?${kind}${questions.length}`, kind, edit: number });
    };
    ask(given, "efficacy");
    ask(questionOf(edit, testVoice(random)), "paraphrase");
    // One that has the new object by itself would be right for any reason
    const beside = same.filter(({ relation, object }) => relation === edit.relation && object !== edit.object);
    for (const other of sample(beside, 2, random)) ask(questionOf(other, testVoice(random)), "neighbourhood");
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
    return { document, questions };
  };
  const batches = (): EditedTopic[] =>
    Array.from({ length: Math.ceil(changes.length / batch) }, (_, t) => {
      const name = `edits ${t * batch + 1} to ${Math.min(changes.length, (t + 1) * batch)}`;
      const made = changes.slice(t * batch, (t + 1) * batch).map((change, i) => edited(change, i, name));
      return {
        name,
        documents: made.map(({ document }) => document),
        questions: made.flatMap(({ questions }) => questions),
      };
    });
  const oneByOne = (): EditedTopic => {
    const name = `${others} held edits`;
    const made = changes.slice(0, count).map((change, i) => edited(change, i, name));
    return {
      name,
      documents: changes.slice(count).map(({ now }) => written(now, questionOf(now, trainVoice(random)), name)),
      single: made.map(({ document }) => document),
      questions: made.flatMap(({ questions }) => questions),
    };
  };
  const all = single ? [oneByOne()] : batches();
  // A small batch may lack questions of a kind, such as those over two facts
  const kinds = commonKinds(all);
  const topics = all.map((topic) => {
    return { ...topic, questions: topic.questions.filter(({ kind }) => kinds.includes(kind)) };
  });
  const task = editedTask({
    name: "world-edits",
    maxTokens: answerRoom,
    topics,
    metric: "paraphrase",
    forced: false,
    protocol:
      `${editProtocol({ forced: false, held: single ? others : undefined })}; efficacy: the question that was learned, ` +
      `given with ${rephrasings} others; paraphrase: held-out forms; neighbourhood: other subjects of the same ` +
      "relation, the truth being that of the known world; portability: over two facts; unknown: never stated, still " +
      "admitted",
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
