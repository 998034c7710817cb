/**
 * A synthetic world from a seed: people, companies, cities, institutions, teams, works and events with facts about
 * them. A fact is (subject, relation, object, time of validity). Some relations that a subject could have are left out
 * on purpose, so that there are questions about things never stated. Names are of no other world.
 */
import { UserError } from "../../../errors.ts";
import { type Random, randomStream } from "../../../tensor/random.ts";
import { type Kind, kinds, nameOf, namesPerWorld } from "./names.ts";
import { type Topic, topics } from "./phrases/fillers.ts";
import { type Range, type Relation, relationsFor, topicOfKind } from "./relations.ts";

export interface Entity {
  readonly id: string;
  readonly kind: Kind;
  readonly name: string;
  readonly topic: Topic;
}

export interface Fact {
  readonly id: string;
  readonly relation: Relation;
  readonly subject: Entity;
  readonly object: string;
  /** The object, where it is an entity. */
  readonly entity?: Entity;
  readonly topic: Topic;
  /** Years: holds from `from` up to, not including, `until` (without: still). */
  readonly from: number;
  readonly until?: number;
}

/** A question about this was never answered anywhere in the world. */
export interface Gap {
  readonly relation: Relation;
  readonly subject: Entity;
}

export interface World {
  readonly seed: number;
  readonly entities: readonly Entity[];
  readonly facts: readonly Fact[];
  readonly gaps: readonly Gap[];
}

export interface WorldOptions {
  /** 0 .. 65535. World 0 is the known world, which the base model was trained on. */
  readonly seed: number;
  /** People; everything else is sized after them. */
  readonly people?: number;
  /** Share of possible facts left out. */
  readonly gapShare?: number;
}

/** The year in which the world is described; facts that still hold began before it. */
export const present = 2000;

const perPeople: Readonly<Record<Exclude<Kind, "person">, number>> = {
  city: 1 / 12,
  company: 1 / 8,
  institution: 1 / 14,
  team: 1 / 16,
  work: 1 / 6,
  event: 1 / 10,
  river: 1 / 12,
};
const leastOf = 3;

export function createWorld({ seed, people = 60, gapShare = 0.15 }: WorldOptions): World {
  if (!Number.isInteger(people) || people < 5 || people > namesPerWorld("person")) {
    throw new UserError(`world: expected from 5 to ${namesPerWorld("person")} people, got ${people}`);
  }
  if (!(gapShare >= 0 && gapShare < 1))
    throw new UserError(`world: expected a gapShare from 0 up to 1, got ${gapShare}`);
  const random = randomStream(seed, "world", people);
  const entities: Entity[] = [];
  const add = (kind: Kind, count: number, topicAt: (index: number) => Topic): void => {
    const total = Math.min(count, namesPerWorld(kind));
    for (let i = 0; i < total; i++)
      entities.push({ id: `${kind}-${i}`, kind, name: nameOf(kind, seed, i), topic: topicAt(i) });
  };
  add("person", people, (i) => topics[i % topics.length]);
  for (const [kind, share] of Object.entries(perPeople) as [Exclude<Kind, "person">, number][]) {
    add(kind, Math.max(leastOf, Math.ceil(people * share)), () => (kind === "river" ? "travel" : topicOfKind[kind]));
  }
  const facts: Fact[] = [];
  const gaps: Gap[] = [];
  const draw = createDraw(entities, random);
  for (const subject of entities) {
    const possible = relationsFor(subject.kind, subject.topic);
    // Everybody is known for something
    const kept = possible.length === 0 ? -1 : random.integer(possible.length);
    for (const [i, relation] of possible.entries()) {
      if (i !== kept && random.uniform() < gapShare) {
        gaps.push({ relation, subject });
        continue;
      }
      facts.push({
        id: `${subject.id}/${relation.id}`,
        relation,
        subject,
        ...draw(relation.range, subject),
        topic: subject.topic,
        from: 1970 + random.integer(30),
      });
    }
  }
  return { seed, entities, facts, gaps };
}

type Draw = (range: Range, subject: Entity, not?: string) => { object: string; entity?: Entity };

/** Draws objects; never the subject itself, nor what is excluded. */
function createDraw(entities: readonly Entity[], random: Random): Draw {
  const ofKind = new Map<Kind, Entity[]>(kinds.map((kind) => [kind, entities.filter((one) => one.kind === kind)]));
  return (range, subject, not) => {
    while (true) {
      if ("words" in range) {
        const object = range.words[random.integer(range.words.length)];
        if (object !== not) return { object };
      } else if ("entity" in range) {
        const all = ofKind.get(range.entity) as Entity[];
        const entity = all[random.integer(all.length)];
        if (entity !== subject && entity.name !== not) return { object: entity.name, entity };
      } else {
        const object = String(range.from + range.step * random.integer((range.to - range.from) / range.step + 1));
        if (object !== not) return { object };
      }
    }
  };
}

/**
 * Concept drift: facts that follow a share of the changeable ones, with other objects. The old fact ends in the year in
 * which the new one begins. Pairs in random order.
 */
export function drift(
  world: World,
  { share, seed = 0 }: { share: number; seed?: number },
): { readonly old: Fact; readonly now: Fact }[] {
  const random = randomStream(world.seed, "drift", seed);
  const draw = createDraw(world.entities, random);
  const changeable = random.shuffle(world.facts.filter(({ relation }) => relation.changes));
  return changeable.slice(0, Math.round(share * changeable.length)).map((fact) => {
    const year = present + 1 + random.integer(20);
    const next = draw(fact.relation.range, fact.subject, fact.object);
    return {
      old: { ...fact, until: year },
      now: { ...fact, ...next, entity: next.entity, id: `${fact.id}@${year}`, from: year },
    };
  });
}

export interface EditsOptions {
  readonly count: number;
  readonly seed?: number;
  /** Facts to choose from. Default all. */
  readonly facts?: readonly Fact[];
}

/** Counterfactual edits: other objects for facts of any relation, as if they had always been so. */
export function edits(
  world: World,
  { count, seed = 0, facts = world.facts }: EditsOptions,
): { old: Fact; now: Fact }[] {
  const random = randomStream(world.seed, "edits", seed);
  const draw = createDraw(world.entities, random);
  return random
    .shuffle([...facts])
    .slice(0, count)
    .map((old) => {
      const next = draw(old.relation.range, old.subject, old.object);
      return { old, now: { ...old, ...next, entity: next.entity, id: `${old.id}*` } };
    });
}

/** Facts under their subjects, in order of first mention. */
export function bySubject(facts: readonly Fact[]): Map<Entity, Fact[]> {
  const map = new Map<Entity, Fact[]>();
  for (const fact of facts) {
    const own = map.get(fact.subject);
    if (own) own.push(fact);
    else map.set(fact.subject, [fact]);
  }
  return map;
}
