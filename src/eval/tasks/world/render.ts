/**
 * Facts as text: sentences, biographies and articles of 60 to 200 tokens, chronicles of any length, questions of all
 * kinds. Every choice of words is drawn from the forms of one split, so a text for training never shows a held-out
 * form.
 */
import { unknownAnswer } from "../../../methods/prompt.ts";
import type { Random } from "../../../tensor/random.ts";
import {
  ask,
  datedForms,
  describe,
  type Form,
  questionForms,
  type Split,
  state,
  statementForms,
  stateSince,
} from "./forms.ts";
import type { Kind } from "./names.ts";
import { fillers } from "./phrases/fillers.ts";
import type { Phrases } from "./phrases/phrases.ts";
import { bySubject, type Entity, type Fact, type Gap, type World } from "./world.ts";

/** Which words: whose draws, and of which split. */
export interface Voice {
  readonly random: Random;
  readonly split: Split;
}

export type QuestionKind = "fact" | "neighbour" | "two-hop" | "unknown";

export interface WorldQuestion {
  readonly id: string;
  readonly kind: QuestionKind;
  readonly text: string;
  readonly answer: string;
}

/** The forms of a split, listed once per relation. */
function splitForms(list: (phrases: Phrases) => Form[]): (phrases: Phrases, voice: Voice) => Form {
  const known = new Map<Phrases, Readonly<Record<Split, Form[]>>>();
  return (phrases, { random, split }) => {
    let forms = known.get(phrases);
    if (forms === undefined) {
      const all = list(phrases);
      forms = { train: all.filter((f) => f.split === "train"), test: all.filter((f) => f.split === "test") };
      known.set(phrases, forms);
    }
    return forms[split][random.integer(forms[split].length)];
  };
}

const statementForm = splitForms(statementForms);
const datedForm = splitForms(datedForms);
const questionForm = splitForms(questionForms);

/** How a text that is about one subject speaks of it after the first mention. */
const aliases: Readonly<Record<Kind, (entity: Entity) => string>> = {
  person: ({ name }) => name.slice(name.indexOf(" ") + 1),
  city: () => "the city",
  company: () => "the company",
  institution: () => "the institution",
  team: () => "the team",
  work: () => "the work",
  event: () => "the event",
  river: ({ name }) => name,
};
const aliasOf = (entity: Entity): string => aliases[entity.kind](entity);

/** One sentence; `subject` replaces the subject's name. */
export function sentence(fact: Fact, voice: Voice, subject: string = fact.subject.name): string {
  const { phrases } = fact.relation;
  return state(phrases, fact.topic, statementForm(phrases, voice), subject, fact.object);
}

/** One sentence that says since when. */
export function datedSentence(fact: Fact, voice: Voice): string {
  const { phrases } = fact.relation;
  return stateSince(phrases, fact.from, datedForm(phrases, voice), fact.subject.name, fact.object);
}

/** A text about one subject: its facts in random order, some of the later ones by a shorter name, with fillers. */
export function biography(facts: readonly Fact[], voice: Voice, { fillerShare = 0.2 } = {}): string {
  const { random } = voice;
  const sentences: string[] = [];
  for (const [i, fact] of random.shuffle([...facts]).entries()) {
    const short = i > 0 && random.uniform() < 0.5;
    sentences.push(sentence(fact, voice, short ? aliasOf(fact.subject) : undefined));
    if (random.uniform() < fillerShare) sentences.push(filler(fact, random));
  }
  return sentences.join(" ");
}

/** A text about several subjects, everything by full names, in random order. */
export function article(facts: readonly Fact[], voice: Voice, { fillerShare = 0.2 } = {}): string {
  const { random } = voice;
  return random
    .shuffle([...facts])
    .flatMap((fact) => [sentence(fact, voice), ...(random.uniform() < fillerShare ? [filler(fact, random)] : [])])
    .join(" ");
}

/**
 * A long text of about `words` words: the given facts, spread evenly, among sentences that state nothing.
 * With facts enough for it, it is dense; with few, they are far apart.
 */
export function chronicle(facts: readonly Fact[], voice: Voice, { words }: { words: number }): string {
  const { random } = voice;
  const told = random.shuffle([...facts]).map((fact) => ({ fact, text: sentence(fact, voice) }));
  const count = (text: string): number => text.split(" ").length;
  let left = words - told.reduce((sum, { text }) => sum + count(text), 0);
  const paragraphs: string[][] = [[]];
  for (const [i, { fact, text }] of told.entries()) {
    const share = left / (told.length - i);
    let spent = 0;
    while (spent < share) {
      const next = filler(fact, random);
      paragraphs[paragraphs.length - 1].push(next);
      spent += count(next);
      if (random.uniform() < 0.15) paragraphs.push([]);
    }
    left -= spent;
    paragraphs[paragraphs.length - 1].push(text);
  }
  return paragraphs
    .filter(({ length }) => length > 0)
    .map((sentences) => sentences.join(" "))
    .join("\n\n");
}

const filler = ({ topic }: Fact, random: Random): string => fillers[topic][random.integer(fillers[topic].length)];

/** Asks for the object of a fact. */
export function questionOf(fact: Fact, voice: Voice, kind: QuestionKind = "fact"): WorldQuestion {
  const { phrases } = fact.relation;
  return {
    id: `${fact.id}?${kind}`,
    kind,
    text: ask(phrases, questionForm(phrases, voice), fact.subject.name),
    answer: fact.object,
  };
}

/** Asks for what was never stated. */
export function unknownQuestion({ relation, subject }: Gap, voice: Voice): WorldQuestion {
  const { phrases } = relation;
  return {
    id: `${subject.id}/${relation.id}?unknown`,
    kind: "unknown",
    text: ask(phrases, questionForm(phrases, voice), subject.name),
    answer: unknownAnswer,
  };
}

/**
 * Asks over two facts, the object of the first being the subject of the second: "who is the mayor of the birthplace of
 * ..."
 */
export function twoHopQuestion(first: Fact, second: Fact, voice: Voice): WorldQuestion {
  const bridge = describe(first.relation.phrases, voice.random.integer(2), first.subject.name);
  const { phrases } = second.relation;
  return {
    id: `${first.id}/${second.relation.id}?two-hop`,
    kind: "two-hop",
    text: ask(phrases, questionForm(phrases, voice), bridge),
    answer: second.object,
  };
}

/** All pairs of facts that a question over two relations can join. */
export function twoHops(world: World): (readonly [first: Fact, second: Fact])[] {
  const subjects = bySubject(world.facts);
  return world.facts.flatMap((first) =>
    first.entity ? (subjects.get(first.entity) ?? []).map((second) => [first, second] as const) : [],
  );
}
