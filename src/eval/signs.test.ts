import { describe, expect, test } from "vitest";
import { diagnosticsOf, type Snapshot } from "./diagnostics.ts";
import { runMetrics } from "./summary.ts";
import type { ReportRun, RunResult } from "./result.ts";
import { signColumns, signsTable } from "./signs.ts";

/** Two layers of two heads; the last state is `moved` away, attention is `wider` times the base's in the second layer. */
const snapshot = (moved: number, wider: number): Snapshot => ({
  drift: [0, moved / 2, moved].map((relativeL2) => ({ relativeL2, cosine: 1, cka: 1 })),
  attentionEntropy: [
    [1, 3],
    [1 * wider, 1 * wider],
  ],
});

function run(seed: number, insides: { moved: readonly number[]; wider: number } | null): ReportRun {
  const R = [
    [0.8, 0, 0],
    [0.4, 0.8, 0],
    [0.2, 0.4, 0.8],
  ];
  const matrix = { R, baseline: [0, 0, 0], direction: "higher" as const, unit: "share", topics: ["a", "b", "c"] };
  const after = insides?.moved.map((moved) => snapshot(moved, insides.wider)) ?? [];
  const before = insides ? snapshot(0, 1) : null;
  const method = insides ? "finetune" : "rag";
  const result = {
    method,
    seeds: [seed],
    matrix,
    metrics: runMetrics(matrix),
    diagnostics: diagnosticsOf(matrix, { before, after }),
    config: { method, seed },
  };
  return { result: result as unknown as RunResult, losses: [] };
}

const signsOf = ({ result }: ReportRun): Record<string, number | null> =>
  Object.fromEntries(signColumns.map(({ key, value }) => [key, value(result)]));

describe("warning signs", () => {
  test("drift of the last state and its growth, growth of entropy on the whole and in the layer that grew most", () => {
    const signs = signsOf(run(0, { moved: [0.25, 0.5, 1], wider: 3 }));
    expect(signs).toMatchObject({ driftFirst: 0.25, driftEnd: 1, driftGrowth: 4 });
    // Heads 1, 3, 1, 1 before; 1, 3, 3, 3 at the end
    expect(signs).toMatchObject({ entropyBefore: 1.5, entropyEnd: 2.5, entropyGrowthMost: 3 });
    expect(signs.entropyGrowth).toBeCloseTo(5 / 3, 12);
    // 0.8, 0.4, 0.2 from each topic on: halves with every topic
    expect(signs.decayTau).toBeCloseTo(1 / Math.log(2), 3);
    expect(signs.decayR2).toBeCloseTo(1, 6);
    expect(signs.decayPoints).toBe(6);
  });

  test("a method that cannot be looked into has its decay only; one that never moved has no growth", () => {
    const { decayPoints, ...others } = signsOf(run(0, null));
    expect(decayPoints).toBe(6);
    expect(others).toMatchObject({ driftEnd: null, driftGrowth: null, entropyGrowth: null, entropyGrowthMost: null });
    expect(signsOf(run(0, { moved: [0, 0, 0], wider: 1 }))).toMatchObject({ driftEnd: 0, driftGrowth: null });
    expect(signsOf({ result: { metrics: {} } as unknown as RunResult, losses: [] }).decayR2).toBeNull();
  });

  test("a row per method with intervals over its seeds", () => {
    const of = (seed: number, end: number): ReportRun => run(seed, { moved: [0.25, end], wider: 1 });
    const { columns, rows } = signsTable([of(0, 0.5), of(1, 1), run(0, null)]);
    const cell = (row: number, column: string) => rows[row][columns.indexOf(column)];
    expect(rows.map(([method, runs]) => [method, runs])).toEqual([
      ["finetune", 2],
      ["rag", 1],
    ]);
    expect(cell(0, "driftGrowth")).toBe(3);
    // 2 and 4: deviation √2, over √2 is 1
    expect(cell(0, "driftGrowth±95")).toBeCloseTo(12.706204736, 8);
    expect(cell(1, "driftGrowth")).toBeNull();
  });
});
