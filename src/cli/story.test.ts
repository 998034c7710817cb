/** The sentences of the demo from results worked by hand. */
import { describe, expect, test } from "vitest";
import type { ProbeScores } from "../eval/comparison.ts";
import type { Cell } from "../eval/metrics.ts";
import type { RunResult } from "../eval/result.ts";
import { runMetrics } from "../eval/summary.ts";
import { comparison, story } from "./story.ts";

const known = { probe: "old", what: "the old world" };

interface Given {
  readonly method?: string;
  readonly R: readonly (readonly Cell[])[];
  readonly baseline?: readonly Cell[] | null;
  readonly probe?: Partial<ProbeScores>;
}

function result({ method = "m", R, baseline = null, probe }: Given): RunResult {
  const matrix = { R, baseline, direction: "higher" as const, unit: "share", topics: ["a", "b", "c"] };
  const old = { before: null, after: [], direction: "higher" as const, unit: "share", ...probe };
  const probes: Record<string, ProbeScores> = probe ? { old } : {};
  return { method, matrix, probes, metrics: runMetrics(matrix) } as unknown as RunResult;
}

describe("story", () => {
  test("says what was learned, what is left of it, and what of the base's own knowledge", () => {
    // Learned (0.8 + 0.4 + 0.9) / 3 = 0.7; left of the earlier (0.2 / 0.8 + 0.3 / 0.4) / 2 = 0.5
    const R = [
      [0.8, 0, 0],
      [0.6, 0.4, 0.1],
      [0.2, 0.3, 0.9],
    ];
    const one = result({ R, baseline: [0.1, 0, 0.05], probe: { before: 0.96, after: [0.7, 0.5, 0.24] } });
    expect(story(one, known)).toBe(
      "Right after a topic, 70 % of the questions on its facts are answered rightly (5 % before); at the end 50 % of " +
        "what was learned of the earlier topics is left. Of the old world, 96 % was answered rightly before and 24 % is now.",
    );
  });

  test("names topics that were hardly learned, of which nothing can be left", () => {
    const R = [
      [0, 0, 0],
      [0, 0.5, 0],
      [0.5, 0.4, 1],
    ];
    expect(story(result({ R }), known)).toBe(
      "Right after a topic, 50 % of the questions on its facts are answered rightly; at the end 80 % of what was " +
        "learned of the earlier topics is left (without a, hardly learned).",
    );
  });

  test("leaves out what was not measured and says where nothing was learned", () => {
    expect(story(result({ R: [[0.5]] }), known)).toBe(
      "Right after a topic, 50 % of the questions on its facts are answered rightly.",
    );
    const nothing = result({
      R: [
        [0, 0],
        [0, 1],
      ],
      probe: { after: [0.1, 0.2] },
    });
    expect(story(nothing, known)).toBe(
      "Right after a topic, 50 % of the questions on its facts are answered rightly; too little of the earlier topics " +
        "was learned to be forgotten.",
    );
  });
});

describe("comparison", () => {
  const forgetful = result({
    method: "f",
    R: [
      [1, 0],
      [0.25, 1],
    ],
    baseline: [0, 0],
  });
  const careful = result({
    method: "c",
    R: [
      [0.5, 0],
      [0.5, 0.5],
    ],
    baseline: [0, 0],
  });
  const keeping = result({
    method: "k",
    R: [
      [1, 0],
      [1, 1],
    ],
    baseline: [0, 0],
  });

  test("names who learned most and who kept most, all where several did", () => {
    expect(comparison([forgetful, careful])).toBe(
      "Most of what could be learned: f (100 %). Most of the old left: c (100 %).",
    );
    expect(comparison([forgetful, careful, keeping])).toBe(
      "Most of what could be learned: f and k (100 %). Most of the old left: c and k (100 %).",
    );
  });

  test("says nothing of a single run, or of runs without these numbers", () => {
    expect(comparison([forgetful])).toBe("");
    expect(
      comparison([
        forgetful,
        result({
          R: [
            [1, 0],
            [1, 1],
          ],
        }),
      ]),
    ).toBe("");
  });
});
