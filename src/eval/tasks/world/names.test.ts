/** Names: one number, one name; no two worlds share one; room for every world. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UserError } from "../../../errors.ts";
import { kinds, nameOf, namesPerWorld, spaceSizes, worldCount } from "./names.ts";

/** All names that a world could take, of all kinds. */
const block = (seed: number): string[] =>
  kinds.flatMap((kind) => Array.from({ length: namesPerWorld(kind) }, (_, i) => nameOf(kind, seed, i)));

describe("names", () => {
  it("have room for every world", () => {
    expect(worldCount).toBe(65536);
    for (const [kind, { names, needed }] of Object.entries(spaceSizes())) {
      expect(needed, kind).toBe(BigInt(worldCount) * BigInt(namesPerWorld(kind as (typeof kinds)[number])));
      expect(names, kind).toBeGreaterThanOrEqual(needed);
    }
  });

  it("are all different within a world and between worlds, over the whole block of every kind", () => {
    const seeds = fc.integer({ min: 0, max: worldCount - 1 });
    // 0 and the last world are the ends of the numbers; neighbours have neighbouring blocks
    const pairs = fc.oneof(
      fc.constant([0, worldCount - 1] as const),
      seeds.filter((seed) => seed > 0).map((seed) => [seed, seed - 1] as const),
      fc.tuple(seeds, seeds).filter(([a, b]) => a !== b),
    );
    fc.assert(
      fc.property(pairs, ([a, b]) => {
        const both = [...block(a), ...block(b)].map((name) => name.toLowerCase());
        expect(new Set(both).size).toBe(both.length);
      }),
      { numRuns: 8 },
    );
  });

  it("are all different over many worlds", () => {
    const names = Array.from({ length: 4000 }, (_, i) => i * 16).flatMap((seed) =>
      kinds.flatMap((kind) => [nameOf(kind, seed, 0), nameOf(kind, seed, namesPerWorld(kind) - 1)]),
    );
    expect(new Set(names).size).toBe(names.length);
  });

  it("look like names of their kind", () => {
    const looks: Record<(typeof kinds)[number], RegExp> = {
      person: /^[A-Z][a-z]+ [A-Z][a-z]+$/,
      city: /^[A-Z][a-z]+$/,
      company: /^[A-Z][a-z]+ [A-Z][a-z]+$/,
      institution: /^[A-Z][a-z]+ [A-Z][a-z]+$/,
      team: /^[A-Z][a-z]+ [A-Z][a-z]+$/,
      work: /^The [A-Z][a-z]+ [A-Z][a-z]+ of [A-Z][a-z]+$/,
      event: /^the [A-Z][a-z]+ [A-Z][a-z]+$/,
      river: /^[A-Z][a-z]+$/,
    };
    for (const kind of kinds) for (let i = 0; i < 50; i++) expect(nameOf(kind, 7 * i, i)).toMatch(looks[kind]);
    expect(nameOf("person", 0, 0)).toBe("Thade Kesings");
    expect(nameOf("event", 1, 0)).toBe("the Zirakin Tour");
  });

  it.each([-1, worldCount, 0.5, Number.NaN])("refuse the seed %s", (seed) => {
    expect(() => nameOf("city", seed, 0)).toThrow(UserError);
    expect(() => nameOf("city", seed, 0)).toThrow(`world: expected a seed from 0 to 65535, got ${seed}`);
  });
});
