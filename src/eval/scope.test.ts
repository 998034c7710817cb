/** Scope detectors measured with encoders whose answers can be worked out, and records that keep apart. */
import { describe, expect, test } from "vitest";
import { randomStream } from "../tensor/random.ts";
import { measureScope, type ScopeRecord, scopeRecordsOf, settings, splitRecords, thinned } from "./scope.ts";
import { worldScopeRecords } from "./tasks/world/scope.ts";

const width = 24;
/** Texts "N x": the same vector for each N, and a little of x. */
const embed = async (texts: readonly string[]): Promise<number[]> =>
  texts.flatMap((text) => {
    const [about, way] = text.split(" ");
    const base = randomStream(0, "about", about).fillNormal(new Float32Array(width));
    const own = randomStream(0, "way", way).fillNormal(new Float32Array(width));
    return [...base].map((value, i) => value + 0.05 * own[i]);
  });
/** Records about `from`, `from + 1` ..., each with neighbours nobody writes. */
const records = (from: number, count: number): ScopeRecord[] =>
  Array.from({ length: count }, (_, i) => ({
    id: String(from + i),
    prompt: `${from + i} a`,
    statement: `${from + i} b`,
    inScope: [`${from + i} c`],
    outOfScope: [`${from + i + 1000} d`, `${from + i + 2000} d`],
  }));

describe("measureScope", () => {
  test("an encoder that tells facts apart: no detector errs with one fact, nor two of them with all", async () => {
    const splits = { fit: records(0, 20), calibration: records(100, 12), evaluation: records(200, 12) };
    const figures = await measureScope(splits, { embed, width });
    for (const setting of settings) {
      for (const detector of [figures.external, figures.classifier]) {
        expect(detector[setting]).toMatchObject({
          equalErrorRate: 0,
          areaUnderRoc: 1,
          f1: 1,
          positives: 12,
          negatives: 24,
        });
      }
      expect(figures.external[setting].threshold).toBeGreaterThan(0.3);
      expect(figures.external[setting].threshold).toBeLessThan(0.99);
    }
    expect(figures.residual.alone.equalErrorRate).toBe(0);
    expect(await measureScope(splits, { embed, width })).toEqual(figures);
  });

  test("an encoder that knows nothing: chance, and the threshold is that of the calibration", async () => {
    const blind = async (texts: readonly string[]) =>
      texts.flatMap((text) => [...randomStream(1, text).fillNormal(new Float32Array(width))]);
    const splits = { fit: records(0, 20), calibration: records(100, 60), evaluation: records(200, 60) };
    const { external } = await measureScope(splits, { embed: blind, width, aim: { falsePositiveShare: 0.1 } });
    expect(external.alone.equalErrorRate).toBeGreaterThan(0.3);
    expect(external.alone.falsePositiveShare).toBeLessThan(0.25);
    expect(external.alone.falseNegativeShare).toBeGreaterThan(0.7);
  });

  test("too few records are named", async () => {
    const splits = { fit: records(0, 2), calibration: [], evaluation: records(2, 2) };
    await expect(measureScope(splits, { embed, width })).rejects.toThrow(
      "scope: expected records with questions of both kinds to make the calibration, got 0 records",
    );
  });
});

test("points of the ROC are thinned to one for each percent of false positives, the ends kept", () => {
  const points = Array.from({ length: 1001 }, (_, i) => ({
    threshold: 1000 - i,
    falsePositiveRate: i / 1000,
    truePositiveRate: Math.sqrt(i / 1000),
  }));
  const kept = thinned(points);
  expect(kept).toHaveLength(101);
  expect(kept[0]).toEqual(points[9]);
  expect(kept.at(-1)).toEqual(points[1000]);
});

test("records of edits: no prompt twice, no prompt as a question that is out of scope", () => {
  const edit = (id: string, prompt: string, neighbours: readonly string[]) => ({
    id,
    prompt,
    target: "T",
    paraphrases: [`${prompt}, again`],
    neighbourhood: neighbours.map((text) => ({ text, answers: ["x"] })),
    portability: [],
  });
  const found = scopeRecordsOf([
    edit("1", "A", ["B", "n", "n"]),
    edit("2", "B", ["m"]),
    edit("3", "A", ["o"]),
    edit("4", "C", ["A"]),
  ]);
  expect(found).toEqual([
    { id: "1", prompt: "A", statement: "A T", inScope: ["A, again"], outOfScope: ["n"] },
    { id: "2", prompt: "B", statement: "B T", inScope: ["B, again"], outOfScope: ["m"] },
  ]);
});

test("sets of records have no text in common", () => {
  // Neighbours are shared by every fifth record
  const all = records(0, 200).map((record, i) => ({ ...record, outOfScope: [`shared ${i % 40}`] }));
  const splits = splitRecords(all, randomStream(4, "split"));
  const texts = Object.values(splits).map(
    (some: readonly ScopeRecord[]) =>
      new Set(some.flatMap(({ prompt, inScope, outOfScope }) => [prompt, ...inScope, ...outOfScope])),
  );
  expect(splits.fit).toHaveLength(50);
  for (const [a, b] of [
    [0, 1],
    [0, 2],
    [1, 2],
  ] as const) {
    expect([...texts[a]].filter((text) => texts[b].has(text))).toEqual([]);
  }
  const apart = splitRecords(records(0, 200), randomStream(4, "split"));
  expect([apart.fit, apart.calibration, apart.evaluation].map(({ length }) => length)).toEqual([50, 50, 100]);
});

describe("a world's records", () => {
  test.each(["question", "statement"] as const)(
    "written as a %s: about half, asked otherwise, beside what is not",
    (written) => {
      const made = worldScopeRecords({ seed: 941, people: 12, split: "test", written });
      expect(made.length).toBeGreaterThan(20);
      const prompts = new Set(made.map(({ prompt }) => prompt));
      for (const { prompt, statement, inScope, outOfScope } of made) {
        expect(inScope).toHaveLength(1);
        expect(inScope[0]).not.toBe(prompt);
        expect(statement.startsWith(prompt)).toBe(true);
        for (const text of outOfScope) expect(prompts.has(text)).toBe(false);
      }
      expect(made.flatMap(({ outOfScope }) => outOfScope).length).toBeGreaterThan(made.length);
      expect(worldScopeRecords({ seed: 941, people: 12, split: "test", written })).toEqual(made);
    },
  );
});
