import { describe, expect, test } from "vitest";
import { equalLearning, equalLearningNote, equalLearningTable, hasBest, reachText } from "./equal-learning.ts";
import { interval95 } from "./interval.ts";
import { groupRuns } from "./report-groups.ts";
import type { ReportRun, RunResult } from "./result.ts";

/** A run that learned `nar` and kept `rkr`, under the setting `lr`. */
function run(
  method: string,
  lr: number,
  seed: number,
  nar: number | null,
  rkr: number | null,
  seconds = 10,
): ReportRun {
  const matrix = { R: [[nar]], baseline: [0], direction: "higher", unit: "exact match", topics: ["a"] };
  const metrics = { nar, rkr, baseRetention: rkr === null ? null : rkr / 2, rkrLeftOut: [], narLeftOut: [] };
  const config = { seed, methodOptions: { lr } };
  const result = {
    run: "r",
    task: "t",
    method,
    model: "base",
    seeds: [seed],
    matrix,
    metrics,
    cost: { seconds },
    config,
  };
  return { result: result as unknown as RunResult, losses: [] };
}

const rows = (runs: readonly ReportRun[]) => equalLearning(groupRuns(runs));

describe("methods at equal learning", () => {
  test("are interpolated between their settings around 70%, with what they cost", () => {
    const [tuned, lora] = rows([
      run("tuned", 1, 0, 0.5, 0.9, 10),
      run("lora", 1, 0, 0.6, 1),
      run("tuned", 3, 0, 0.9, 0.1, 30),
      run("tuned", 2, 0, 0.6, 0.8, 20),
      run("lora", 2, 0, 0.8, 0.8),
    ]);
    // A third of the way from (0.6, 0.8, 20 s) to (0.9, 0.1, 30 s)
    expect(tuned.at?.between).toEqual(["lr 2", "lr 3"]);
    expect(tuned.at?.kept.rkr?.mean).toBeCloseTo(0.8 - 0.7 / 3, 12);
    expect(tuned.at?.kept.baseRetention?.mean).toBeCloseTo(0.4 - 0.35 / 3, 12);
    expect(tuned.at?.kept.seconds?.mean).toBeCloseTo(20 + 10 / 3, 12);
    expect(tuned.at?.kept.rkr?.half).toBeNull();
    expect(tuned).toMatchObject({ settings: 3, learned: [0.5, 0.9] });
    expect(lora.at?.kept.rkr?.mean).toBeCloseTo(0.9, 12);
    expect([tuned, lora].map(reachText)).toEqual(["at 70 %", "at 70 %"]);
    // 0.6 * 0.8 is more than 0.5 * 0.9 and 0.9 * 0.1
    expect([tuned.best?.setting, lora.best?.setting]).toEqual(["lr 2", "lr 2"]);
  });

  test("without RKR have no best setting, and nothing is said of one", () => {
    const found = rows([run("tuned", 1, 0, 0.5, null), run("tuned", 2, 0, 0.9, null)]);
    expect([hasBest(found), equalLearningNote(found).includes("Best")]).toEqual([false, false]);
    const best = rows([run("tuned", 1, 0, 0.5, 0.5)]);
    expect([hasBest(best), equalLearningNote(best).includes("Best")]).toEqual([true, true]);
  });

  test("that do not reach the point, or begin above it, say so and have no number", () => {
    const [low, high, edge, none] = rows([
      run("low", 1, 0, 0.2, 1),
      run("low", 2, 0, 0.436, 0.9),
      run("high", 1, 0, 0.81, 0.5),
      run("edge", 1, 0, 0.6999, 0.5),
      run("none", 1, 0, 0, null),
      run("unknown", 1, 0, null, null),
    ]);
    // Rounded away from the point
    expect([low, high, edge, none].map(reachText)).toEqual([
      "reaches 43 %",
      "starts at 81 %",
      "reaches 69 %",
      "reaches 0 %",
    ]);
    expect([low, high, edge, none].map(({ at }) => at)).toEqual([null, null, null, null]);
    expect([low.best?.setting, none.best]).toEqual(["lr 2", null]);
    expect(rows([run("unknown", 1, 0, null, null)])).toEqual([]);
  });

  test("have an interval over seeds when every seed lies around the point", () => {
    const seeds = [
      [0.6, 0.9, 0.8, 0.5],
      [0.5, 1, 0.8, 0.4],
    ];
    const runs = seeds.flatMap(([a, b, c, d], seed) => [run("m", 1, seed, a, b), run("m", 2, seed, c, d)]);
    const [row] = rows(runs);
    // Seed 0: half way from 0.9 to 0.5; seed 1: two thirds of the way from 1 to 0.4. Along the means it would be 0.65
    expect(row.at?.kept.rkr?.mean).toBeCloseTo(0.65, 12);
    expect(row.at?.kept.rkr?.half).toBeCloseTo(interval95([0.7, 0.6])?.half as number, 9);
    const [wider] = rows([...runs, run("m", 1, 2, 0.75, 0.9), run("m", 2, 2, 0.85, 0.5)]);
    // Means (0.6167, 0.9333) and (0.8167, 0.4667): 5/12 of the way
    expect(wider.at?.kept.rkr?.mean).toBeCloseTo(2.8 / 3 - (5 / 12) * (1.4 / 3), 12);
    expect(wider.at?.kept.rkr?.half).toBeNull();
    expect(wider.at).not.toBeNull();
  });

  test("keep models apart and stand in a table with every number", () => {
    const other = run("m", 1, 0, 0.7, 0.4);
    const runs = [run("m", 1, 0, 0.7, 0.5), { ...other, result: { ...other.result, model: "small" } }];
    const { columns, rows: cells } = equalLearningTable(runs);
    const table = cells.map((row) => Object.fromEntries(columns.map((name, i) => [name, row[i]])));
    expect(table).toMatchObject([
      {
        method: "m, base",
        settings: 1,
        leastNar: 0.7,
        mostNar: 0.7,
        "rkr@0.7": 0.5,
        "rkr@0.7±95": null,
        "best.nar": 0.7,
      },
      { method: "m, small", "rkr@0.7": 0.4, below: "model small", above: "model small", "best.rkr": 0.4 },
    ]);
  });
});
