/**
 * What the base model learns from worlds: to know one (world 0), to read any (a fresh world in the window, followed by
 * questions about it), to ask over two facts, and to say "unknown" for what was never stated. Only training forms, and
 * only worlds from `firstFreshSeed` on: all below are kept for development and tests.
 */
import type { ExampleSource, Segment } from "../../../methods/mixture.ts";
import { questionPrompt } from "../../../methods/prompt.ts";
import { pick, type Random } from "../../../tensor/random.ts";
import { worldCount } from "./names.ts";
import {
  article,
  biography,
  chronicle,
  datedSentence,
  questionOf,
  twoHopQuestion,
  unknownQuestion,
  type Voice,
  type WorldQuestion,
} from "./render.ts";
import { bySubject, createWorld, drift, type Entity, type Fact, type Gap, type World } from "./world.ts";

/** World 0, which the base model knows. */
export const knownWorld = { seed: 0, people: 1200 } as const;
/** Worlds for training begin here; tests and streams use 1 .. firstFreshSeed - 1. */
export const firstFreshSeed = 1000;

/** A token of world text is about this many characters long: only to plan the length of examples. */
const CHARACTERS_PER_TOKEN = 3.3;
/** Weight of an answer's tokens: they are few, and what the question was for. */
const ANSWER_WEIGHT = 3;

/** A question with its answer; the question's own words are read only, or learned as well. */
function asked({ text, answer }: WorldQuestion, questionWeight: number): Segment[] {
  return [
    { text: questionPrompt(text), weight: questionWeight },
    { text: ` ${answer}\n`, weight: ANSWER_WEIGHT },
  ];
}

/** A question over two of these facts, where the first one drawn leads on to another. */
function twoHop(facts: readonly Fact[], subjects: Map<Entity, Fact[]>, voice: Voice): WorldQuestion | undefined {
  for (let tries = 0; tries < 8; tries++) {
    const first = pick(facts, voice.random);
    const next = first.entity && subjects.get(first.entity);
    if (next) return twoHopQuestion(first, pick(next, voice.random), voice);
  }
  return undefined;
}

/** The seed of a world for training. */
export const freshSeed = (random: Random): number => firstFreshSeed + random.integer(worldCount - firstFreshSeed);

const freshWorld = (random: Random, people: number): World => createWorld({ seed: freshSeed(random), people });

/** Somebody else's question: of a world that is nowhere in sight. */
const stranger = (voice: Voice): WorldQuestion => {
  const { facts } = freshWorld(voice.random, 5);
  const { relation, subject } = pick(facts, voice.random);
  return unknownQuestion({ relation, subject }, voice);
};

interface Known extends World {
  readonly subjects: Map<Entity, Fact[]>;
}

/** Texts about the known world. */
function knownDocuments(world: () => Known): ExampleSource {
  return {
    example(random, room) {
      const { facts, subjects } = world();
      const voice: Voice = { random, split: "train" };
      const kind = random.uniform();
      if (kind < 0.75) return [{ text: biography(subjects.get(pick(facts, random).subject) as Fact[], voice) }];
      const most = Math.max(1, Math.min(8, Math.floor(room / 24)));
      const some = Array.from({ length: 1 + random.integer(most) }, () => pick(facts, random));
      return [{ text: article(some, voice, { fillerShare: 0.1 }) }];
    },
  };
}

/** Questions about the known world, with nothing about it in sight. */
function knownQuestions(world: () => Known): ExampleSource {
  return {
    example(random, room) {
      const { facts, gaps, subjects } = world();
      const voice: Voice = { random, split: "train" };
      const count = Math.max(1, Math.min(10, Math.floor(room / 30)));
      return Array.from({ length: count }, () => {
        const kind = random.uniform();
        if (kind < 0.1) return asked(unknownQuestion(pick(gaps, random), voice), 0.3);
        if (kind < 0.18) return asked(stranger(voice), 0);
        const question = kind < 0.26 ? twoHop(facts, subjects, voice) : undefined;
        return asked(question ?? questionOf(pick(facts, random), voice), 0.3);
      }).flat();
    },
  };
}

/** One text per subject. */
const biographies = (facts: readonly Fact[], voice: Voice): string =>
  [...bySubject(facts).values()].map((own) => biography(own, voice, { fillerShare: 0 })).join("\n\n");

/** The text of an example for reading: which facts it states, and in what dress. */
function passage(facts: readonly Fact[], voice: Voice, length: number): { text: string; shown: Fact[] } {
  const { random } = voice;
  const style = random.uniform();
  const paragraphs: string[] = [];
  const shown: Fact[] = [];
  let left = length;
  if (style < 0.5) {
    for (const [, own] of bySubject(random.shuffle([...facts]))) {
      const text = biography(own, voice, { fillerShare: 0.15 });
      if (text.length > left) break;
      paragraphs.push(text);
      shown.push(...own);
      left -= text.length;
    }
  } else {
    // Dense articles, or facts far apart
    const perFact = style < 0.8 ? 95 : 250;
    const some = random.shuffle([...facts]).slice(0, Math.max(2, Math.floor(left / perFact)));
    const words = Math.floor(left / 6.2);
    paragraphs.push(style < 0.8 ? article(some, voice) : chronicle(some, voice, { words }));
    shown.push(...some);
  }
  return { text: paragraphs.join("\n\n"), shown };
}

/** Documents of a fresh world, then questions about them; some about what they do not say. */
function reading(known: () => Known): ExampleSource {
  return {
    example(random, room) {
      const voice: Voice = { random, split: "train" };
      const tokens = room * (0.4 + 0.55 * random.uniform());
      const questions = Math.max(2, Math.min(16, Math.floor((tokens * 0.45) / 26)));
      const length = (tokens - questions * 26) * CHARACTERS_PER_TOKEN;
      const world = freshWorld(random, 5 + random.integer(room > 400 ? 20 : 8));
      let { text, shown } = passage(world.facts, voice, length);
      if (shown.length === 0) return [];
      if (random.uniform() < 0.15) {
        const changed = drift({ ...world, facts: shown }, { share: 0.4, seed: random.integer(1000) });
        if (changed.length > 0) {
          text += `\n\n${changed.map(({ now }) => datedSentence(now, voice)).join(" ")}`;
          shown = shown.map((fact) => changed.find(({ old }) => old.id === fact.id)?.now ?? fact);
        }
      }
      const subjects = bySubject(shown);
      const unsaid: Gap[] = [
        ...world.gaps.filter(({ subject }) => subjects.has(subject)),
        ...world.facts.filter(
          (fact) => !shown.some(({ subject, relation }) => subject === fact.subject && relation === fact.relation),
        ),
      ];
      const segments: Segment[] = [{ text: `${text}\n\n`, weight: 0 }];
      for (let i = 0; i < questions; i++) {
        const kind = random.uniform();
        let question: WorldQuestion | undefined;
        if (kind < 0.14 && unsaid.length > 0) question = unknownQuestion(pick(unsaid, random), voice);
        else if (kind < 0.17) question = stranger(voice);
        else if (kind < 0.22) question = questionOf(pick(known().facts, random), voice);
        else if (kind < 0.32) question = twoHop(shown, subjects, voice);
        segments.push(...asked(question ?? questionOf(pick(shown, random), voice), 0));
      }
      return segments;
    },
  };
}

/**
 * A few facts of a fresh world and questions about nearly all of them: the densest practice in finding a fact by its
 * subject and relation and copying its object, since only the answers of `reading` teach that and they are few.
 * With more subjects the right fact is harder to tell from the others, and farther away.
 */
const recall = (most: { readonly subjects: number; readonly facts: number }): ExampleSource => ({
  example(random, room) {
    const voice: Voice = { random, split: "train" };
    const world = freshWorld(random, most.subjects + 1 + random.integer(7));
    const subjects = random.shuffle([...bySubject(world.facts).values()]).slice(0, 1 + random.integer(most.subjects));
    // A fact takes about 29 tokens to state and 22 to ask
    const fits = Math.max(1, Math.min(most.facts, Math.floor(room / 56)));
    const shown = random.shuffle(subjects.flat()).slice(0, 1 + random.integer(fits));
    const text = random.uniform() < 0.3 ? biographies(shown, voice) : article(shown, voice, { fillerShare: 0 });
    const told = new Set(shown.map(({ subject }) => subject));
    const unsaid: Gap[] = [
      ...world.gaps.filter(({ subject }) => told.has(subject)),
      ...subjects.flat().filter((fact) => told.has(fact.subject) && !shown.includes(fact)),
    ];
    const questions = shown.map((fact) =>
      random.uniform() < 0.12 && unsaid.length > 0
        ? unknownQuestion(pick(unsaid, random), voice)
        : questionOf(fact, voice),
    );
    return [{ text: `${text}\n\n`, weight: 0 }, ...random.shuffle(questions).flatMap((one) => asked(one, 0))];
  },
});

/** The world's sources for a pretraining mixture, by the names that recipes use. */
export function worldSources(): Readonly<Record<string, ExampleSource>> {
  let made: Known | undefined;
  const known = (): Known => {
    if (made === undefined) {
      const world = createWorld(knownWorld);
      made = { ...world, subjects: bySubject(world.facts) };
    }
    return made;
  };
  return {
    "world-documents": knownDocuments(known),
    "world-questions": knownQuestions(known),
    "world-reading": reading(known),
    "world-recall": recall({ subjects: 4, facts: 12 }),
    "world-recall-long": recall({ subjects: 16, facts: 18 }),
  };
}
