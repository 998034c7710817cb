/** Worlds: what they hold, what they leave out, how they change; and that world 0 is what it was. */
import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UserError } from "../../../errors.ts";
import { knownWorld } from "./curriculum.ts";
import { relationsFor } from "./relations.ts";
import { bySubject, createWorld, drift, edits, type Fact, present, type World } from "./world.ts";

const pairOf = ({ subject, relation }: Pick<Fact, "subject" | "relation">): string => `${subject.id}/${relation.id}`;

/** The object belongs to its relation's range; an entity is one of the world, of the right kind, and not the subject. */
function expectFits({ entities }: World, { relation, subject, object, entity }: Fact): void {
  const { range } = relation;
  expect(subject.kind).toBe(relation.subject);
  if ("words" in range) expect(range.words).toContain(object);
  else if ("entity" in range) {
    expect(entities).toContain(entity);
    expect(entity).toMatchObject({ kind: range.entity, name: object });
    expect(entity).not.toBe(subject);
  } else {
    expect(Number(object)).toBeGreaterThanOrEqual(range.from);
    expect(Number(object)).toBeLessThanOrEqual(range.to);
    expect((Number(object) - range.from) % range.step).toBe(0);
  }
  if (!("entity" in range)) expect(entity).toBeUndefined();
}

const anyWorld = fc
  .record({ seed: fc.integer({ min: 0, max: 65535 }), people: fc.integer({ min: 5, max: 80 }) })
  .map(createWorld);

describe("createWorld", () => {
  it("has facts about its own entities, each subject known for something, every possible fact stated or left out", () => {
    fc.assert(
      fc.property(anyWorld, (world) => {
        const { entities, facts, gaps } = world;
        expect(new Set(entities.map(({ name }) => name)).size).toBe(entities.length);
        expect(new Set(entities.map(({ id }) => id)).size).toBe(entities.length);
        expect(new Set(facts.map(({ id }) => id)).size).toBe(facts.length);
        for (const fact of facts) {
          expectFits(world, fact);
          expect(fact.from).toBeLessThan(present);
          expect(fact.until).toBeUndefined();
        }
        const possible = entities.flatMap((subject) =>
          relationsFor(subject.kind, subject.topic).map((relation) => pairOf({ subject, relation })),
        );
        const stated = facts.map(pairOf);
        const left = gaps.map(pairOf);
        expect(new Set([...stated, ...left]).size).toBe(stated.length + left.length);
        expect([...stated, ...left].sort()).toEqual(possible.sort());
        const told = bySubject(facts);
        for (const one of entities) if (one.kind !== "river") expect(told.get(one)?.length).toBeGreaterThan(0);
        // No closed list to guess from
        const open = facts.filter(({ relation: { range } }) => !("words" in range));
        expect(open.length).toBeGreaterThan(facts.length / 2);
      }),
      { numRuns: 12 },
    );
  });

  it("is the same from the same seed, and shares nothing with another", () => {
    const one = createWorld({ seed: 5, people: 30 });
    expect(createWorld({ seed: 5, people: 30 })).toEqual(one);
    const other = createWorld({ seed: 6, people: 30 });
    const names = new Set(one.entities.map(({ name }) => name));
    expect(other.entities.some(({ name }) => names.has(name))).toBe(false);
  });

  it("leaves out the share that was asked for", () => {
    const share = (gapShare?: number): number => {
      const { facts, gaps } = createWorld({ seed: 3, people: 1000, gapShare });
      return gaps.length / (facts.length + gaps.length);
    };
    expect(share(0)).toBe(0);
    // One fact of every subject is always kept
    expect(share()).toBeGreaterThan(0.09);
    expect(share()).toBeLessThan(0.15);
    expect(share(0.5)).toBeGreaterThan(2.5 * share());
  });

  it.each([
    [{ seed: 1, people: 4 }, "world: expected from 5 to 4096 people, got 4"],
    [{ seed: 1, people: 4097 }, "world: expected from 5 to 4096 people, got 4097"],
    [{ seed: 1, people: 7.5 }, "world: expected from 5 to 4096 people, got 7.5"],
    [{ seed: 1, gapShare: 1 }, "world: expected a gapShare from 0 up to 1, got 1"],
    [{ seed: 65536 }, "world: expected a seed from 0 to 65535, got 65536"],
    [{ seed: -1 }, "world: expected a seed from 0 to 65535, got -1"],
  ])("refuses %o", (options, message) => {
    expect(() => createWorld(options)).toThrow(UserError);
    expect(() => createWorld(options)).toThrow(message);
  });

  it("world 0 is what it was: a base model was trained on it", () => {
    const { entities, facts, gaps } = createWorld(knownWorld);
    expect([entities.length, facts.length, gaps.length]).toEqual([2031, 6720, 798]);
    const content = {
      entities: entities.map(({ id, kind, name, topic }) => [id, kind, name, topic]),
      facts: facts.map(({ id, object, entity, topic, from }) => [id, object, entity?.id ?? "", topic, from]),
      gaps: gaps.map(pairOf),
    };
    const hash = createHash("sha256").update(JSON.stringify(content)).digest("hex");
    expect(hash).toBe("d3642c483c1a78addd1344b8f5e81be69abce2e72626eac2b16f8f1e3a2c20f6");
    const open = facts.filter(({ relation: { range } }) => !("words" in range));
    expect(open.length / facts.length).toBeCloseTo(0.777, 3);
  });
});

describe("drift and edits", () => {
  it("drift gives a share of the changeable facts other objects and closes the old ones", () => {
    fc.assert(
      fc.property(anyWorld, fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(9), (world, share, seed) => {
        const changes = drift(world, { share, seed });
        const changeable = world.facts.filter(({ relation }) => relation.changes);
        expect(changes).toHaveLength(Math.round(share * changeable.length));
        expect(new Set(changes.map(({ old }) => old.id)).size).toBe(changes.length);
        for (const { old, now } of changes) {
          expect(changeable).toContainEqual({ ...old, until: undefined });
          expect(pairOf(now)).toBe(pairOf(old));
          expect(now.object).not.toBe(old.object);
          expect(old.until).toBe(now.from);
          expect(now.from).toBeGreaterThan(present);
          expect(now.until).toBeUndefined();
          expectFits(world, now);
        }
        expect(drift(world, { share, seed })).toEqual(changes);
      }),
      { numRuns: 12 },
    );
  });

  it("edits give facts of any relation other objects, and leave the world alone", () => {
    const world = createWorld({ seed: 9, people: 60 });
    const before = structuredClone(world.facts);
    const changes = edits(world, { count: 200, seed: 4 });
    expect(changes).toHaveLength(200);
    expect(new Set(changes.map(({ old }) => old.id)).size).toBe(200);
    for (const { old, now } of changes) {
      expect(world.facts).toContain(old);
      expect(pairOf(now)).toBe(pairOf(old));
      expect(now.object).not.toBe(old.object);
      expect(now.from).toBe(old.from);
      expectFits(world, now);
    }
    expect(new Set(changes.map(({ old }) => old.relation.id)).size).toBeGreaterThan(20);
    expect(world.facts).toEqual(before);
    expect(edits(world, { count: 200, seed: 5 })).not.toEqual(changes);
    expect(edits(world, { count: 10_000 })).toHaveLength(world.facts.length);
  });
});
