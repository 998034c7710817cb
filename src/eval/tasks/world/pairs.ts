/**
 * Pairs for the sentence encoder: the same fact said or asked in two ways. A batch is full of near misses, as it tells
 * of few subjects and few relations: other facts about the same subject, and the same relation of other subjects.
 * Only training forms, and only the known world and those from `firstFreshSeed` on.
 */
import type { Pair, PairSource } from "../../../methods/contrastive.ts";
import { sharesOf } from "../../../methods/shares.ts";
import { pick, type Random } from "../../../tensor/random.ts";
import { freshSeed, knownWorld } from "./curriculum.ts";
import { questionOf, sentence, type Voice } from "./render.ts";
import { bySubject, createWorld, type Fact, type World } from "./world.ts";

/** How the two texts of a pair are made. */
export const pairKinds = ["question-question", "statement-statement", "question-statement"] as const;
export type PairKind = (typeof pairKinds)[number];

type Say = (fact: Fact, voice: Voice) => string;
const asked: Say = (fact, voice) => questionOf(fact, voice).text;
const said: Say = (fact, voice) => sentence(fact, voice);

/** The two sides of each kind. */
export const sidesOf: Readonly<Record<PairKind, readonly [left: Say, right: Say]>> = {
  "question-question": [asked, asked],
  "statement-statement": [said, said],
  "question-statement": [asked, said],
};

/** Shares of the kinds: a question that finds its statement is what an encoder is for, and the hardest. */
const shares = sharesOf(
  { "question-question": 0.2, "statement-statement": 0.25, "question-statement": 0.55 },
  pairKinds,
);
const KNOWN_SHARE = 0.1;
/** Share of clusters about one subject; the others are about one relation. */
const SUBJECT_SHARE = 0.5;
/** Most facts of one relation in a cluster. */
const MOST_OF_RELATION = 12;
const MOST_TRIES = 4;

interface Indexed {
  readonly world: World;
  readonly subjects: readonly (readonly Fact[])[];
  readonly relations: readonly (readonly Fact[])[];
}

function indexed(world: World): Indexed {
  const relations = new Map<string, Fact[]>();
  for (const fact of world.facts) {
    const same = relations.get(fact.relation.id);
    if (same) same.push(fact);
    else relations.set(fact.relation.id, [fact]);
  }
  return { world, subjects: [...bySubject(world.facts).values()], relations: [...relations.values()] };
}

/** Different facts, `count` of them, in clusters that have a subject or a relation in common. */
function neighbours({ subjects, relations }: Indexed, count: number, random: Random): Fact[] {
  const chosen = new Set<Fact>();
  while (chosen.size < count) {
    const cluster =
      random.uniform() < SUBJECT_SHARE
        ? pick(subjects, random)
        : random.shuffle([...pick(relations, random)]).slice(0, 2 + random.integer(MOST_OF_RELATION - 1));
    for (const fact of cluster) if (chosen.size < count) chosen.add(fact);
  }
  return [...chosen];
}

/** The fact in two ways; either side may be the left one. */
function pairOf(fact: Fact, voice: Voice): Pair {
  const [left, right] = sidesOf[shares.names[shares.indexAt(voice.random.uniform())]];
  const one = left(fact, voice);
  let other = right(fact, voice);
  for (let tries = 1; other === one && tries < MOST_TRIES; tries++) other = right(fact, voice);
  return voice.random.uniform() < 0.5 ? [one, other] : [other, one];
}

/** A fresh world with several times as many facts as are asked for: about five per person. */
const freshWorld = (random: Random, count: number): Indexed =>
  indexed(
    createWorld({
      seed: freshSeed(random),
      people: Math.max(10, Math.ceil(count / 3) + random.integer(count)),
    }),
  );

/** Pairs of the known world and of endless fresh ones, one world a batch. */
function worldPairs(): PairSource {
  let known: Indexed | undefined;
  return {
    pairs(random, count) {
      const isKnown = random.uniform() < KNOWN_SHARE;
      const index = isKnown ? (known ??= indexed(createWorld(knownWorld))) : freshWorld(random, count);
      return neighbours(index, count, random).map((fact) => pairOf(fact, { random, split: "train" }));
    },
  };
}

/** Heads and tails of names in a grid of namesakes. */
const GRID = 4;
/** Share of grids; the rest are facts linked by a name. */
const GRID_SHARE = 0.5;

/** A name in two: in the middle of its first word (but an article), or before its last one. */
function halves(name: string, inWord: boolean): readonly [string, string] {
  const from = /^the /i.test(name) ? 4 : 0;
  const blank = name.indexOf(" ", from);
  const middle = from + (((blank < 0 ? name.length : blank) - from) >> 1);
  const at = inWord || blank < 0 ? middle : name.lastIndexOf(" ");
  return [name.slice(0, at), name.slice(at)];
}

/** Facts of one relation about subjects whose names are put together from a few heads and tails. */
function namesakes({ relations }: Indexed, random: Random): Fact[] {
  const facts = random.shuffle([...pick(relations, random)]);
  const inWord = random.uniform() < 0.5;
  const [heads, tails] = [facts.slice(0, GRID), facts.slice(-GRID)].map((some) =>
    some.map(({ subject }) => halves(subject.name, inWord)),
  );
  const names = new Set(heads.flatMap(([head]) => tails.map(([, tail]) => head + tail)));
  return [...names].map((name) => {
    const { subject, ...fact } = pick(facts, random);
    return { ...fact, id: `${name}/${fact.relation.id}`, subject: { ...subject, id: name, name } };
  });
}

/** Facts in which one entity is the subject, and others in which it is the object. */
function linked({ world: { facts } }: Indexed, random: Random): Fact[] {
  const { entity, subject } = pick(facts, random);
  const hub = entity ?? subject;
  return random.shuffle(facts.filter((fact) => fact.subject === hub || fact.entity === hub)).slice(0, 2 * GRID);
}

/**
 * Nearer misses of fresh worlds: names that share their halves, and the same name in the other role ("who taught X",
 * "X taught Y"). The names put together here are of no world in particular; one may by chance be that of a test world.
 */
function nearPairs(): PairSource {
  return {
    pairs(random, count) {
      const index = freshWorld(random, count);
      const chosen = new Map<string, Fact>();
      while (chosen.size < count) {
        const cluster = random.uniform() < GRID_SHARE ? namesakes(index, random) : linked(index, random);
        for (const fact of cluster) if (chosen.size < count) chosen.set(fact.id, fact);
      }
      return [...chosen.values()].map((fact) => pairOf(fact, { random, split: "train" }));
    },
  };
}

/** The world's pairs for a contrastive mixture, by the names that recipes use. */
export const worldPairSources = (): Readonly<Record<string, PairSource>> => ({
  "world-pairs": worldPairs(),
  "world-near": nearPairs(),
});
