import { describe, expect, test } from "vitest";
import { groupRuns, numberAt, withoutRepeatedSeeds } from "./report-groups.ts";
import type { ReportRun, RunResult } from "./result.ts";
import { runMetrics } from "./summary.ts";
import { formatLarge, hypervolumeOf, methodsTable, runsTable, scoreColumns, scoresTable } from "./tables.ts";

/** Two topics; the first falls from `first` to `kept`. */
function run(
  method: string,
  seed: number,
  { first = 0.8, kept = 0.4, seconds = 10, options = {} as Record<string, unknown>, model = "base" } = {},
): ReportRun {
  const R = [
    [first, 0],
    [kept, 0.5],
  ];
  const matrix = { R, baseline: [0, 0], direction: "higher" as const, unit: "exact match", topics: ["a", "b"] };
  const scores = { exactMatch: { R, baseline: [0, 0] } };
  const result = {
    run: `${method}-${seed}`,
    task: "t",
    method,
    model,
    seeds: [seed],
    matrix,
    scores,
    metrics: runMetrics(matrix, scores),
    cost: { seconds, tokens: 100, flops: null, bytes: 8, bytesPerDocument: 4, peakMB: null },
    config: { method, seed, methodOptions: options, out: `runs/${seed}`, threads: seed },
  };
  return { result: result as unknown as RunResult, losses: [] };
}

describe("runs are put together by setting", () => {
  test("seed, folder and threads do not separate; options, model and method do, and name the group", () => {
    const groups = groupRuns([
      run("lora", 1, { options: { rank: 8, alpha: 16 } }),
      run("lora", 2, { options: { rank: 8, alpha: 16 } }),
      run("lora", 1, { options: { rank: 4, alpha: 16 } }),
      run("none", 1),
      run("none", 1, { model: "other" }),
    ]);
    expect(groups.map(({ label, runs }) => [label, runs.length])).toEqual([
      ["lora, rank 8", 2],
      ["lora, rank 4", 1],
      ["none, model base", 1],
      ["none, model other", 1],
    ]);
  });

  test("a seed that several runs of a setting have counts once, from the newest", () => {
    const of = (name: string, seed: number, finished: string, first = 0.8): ReportRun => {
      const { result, losses } = run("lora", seed, { first });
      return { losses, result: { ...result, run: name, finished } };
    };
    const old = of("one", 0, "2026-11-21T09:00:00.000Z", 0.6);
    const others = [of("two", 0, "2026-11-21T10:00:00.000Z"), of("two", 1, "2026-11-21T10:30:00.000Z")];
    const { runs, notes } = withoutRepeatedSeeds([others[0], old, others[1], run("none", 0)]);
    expect(runs.map(({ result }) => [result.run, result.seeds])).toEqual([
      ["two", [0]],
      ["two", [1]],
      ["none-0", [0]],
    ]);
    expect(notes).toEqual(["Seed 0 of lora counted once, from two (the newest), not from one."]);
    const again = others.map(({ result, losses }) => ({ losses, result: { ...result, run: "three" } }));
    expect(
      withoutRepeatedSeeds([
        ...again.map((one) => ({ ...one, result: { ...one.result, finished: "2025" } })),
        ...others,
      ]).notes,
    ).toEqual(["Seeds 0, 1 of lora counted once, from two (the newest), not from three."]);
    expect(withoutRepeatedSeeds([old, run("none", 0)]).notes).toEqual([]);
  });

  test("streams that were chosen by the seed are one setting, another named stream is not", () => {
    const on = (seed: number, world: number, streamSeed?: string): ReportRun => {
      const { result, losses } = run("lora", seed);
      return { losses, result: { ...result, config: { ...result.config, streamSeed, taskOptions: { world } } } };
    };
    const groups = groupRuns([on(1, 101, "world"), on(2, 102, "world"), on(1, 7), on(2, 7)]);
    expect(groups.map(({ label, runs }) => [label, runs.length])).toEqual([
      ["lora, world 100 + seed", 2],
      ["lora, world 7", 2],
    ]);
  });

  test("the matrix of a group is the mean, with the deviation beside it; what one run lacks is null", () => {
    const [{ matrix, deviation }] = groupRuns([run("m", 1, { first: 0.5 }), run("m", 2, { first: 0.7 })]);
    expect(matrix.R[0][0]).toBeCloseTo(0.6, 12);
    expect(deviation?.[0][0]).toBeCloseTo(0.1 * Math.SQRT2, 12);
    expect(matrix.baseline).toEqual([0, 0]);
    const short = run("m", 3);
    const cut = {
      ...short,
      result: { ...short.result, matrix: { ...short.result.matrix, R: [[0.8, 0]], baseline: null } },
    };
    const [group] = groupRuns([run("m", 1), cut]);
    expect(group.matrix.R).toEqual([
      [0.8, 0],
      [null, null],
    ]);
    expect(group.matrix.baseline).toBeNull();
    expect(groupRuns([run("m", 1)])[0].deviation).toBeNull();
  });

  test("numbers are read from results that may lack them", () => {
    expect(numberAt({ a: { b: 2 } }, "a", "b")).toBe(2);
    for (const odd of [undefined, null, { a: 1 }, { a: { b: Number.NaN } }, { a: { b: "2" } }]) {
      expect(numberAt(odd, "a", "b")).toBeNull();
    }
  });
});

describe("tables", () => {
  const runs = [
    run("finetune", 1, { seconds: 10 }),
    run("finetune", 2, { seconds: 20 }),
    run("rag", 1, { first: 0.8, kept: 0.8, seconds: 5 }),
    run("rag", 3, { first: 0.6, kept: 0.6, seconds: 5 }),
  ];
  const cell = ({ columns, rows }: ReturnType<typeof methodsTable>, row: number, column: string) =>
    rows[row][columns.indexOf(column)];

  test("a row per method: means, 95% intervals, CER against the run with the same seed or the mean", () => {
    const table = methodsTable(runs);
    expect(table.rows.map(([name, count]) => [name, count])).toEqual([
      ["finetune", 2],
      ["rag", 2],
    ]);
    expect(cell(table, 0, "rkr")).toBeCloseTo(0.5, 12);
    // NAR: (0.8 + 0.5) / 2 and (0.6 + 0.5) / 2
    expect(cell(table, 1, "nar")).toBeCloseTo((0.65 + 0.55) / 2, 12);
    expect(cell(table, 1, "nar±95")).toBeCloseTo(12.706204736 * 0.05, 8);
    expect(cell(table, 1, "hypervolume")).toBeCloseTo(0.6, 12);
    expect(cell(table, 0, "cer")).toBeCloseTo(1, 12);
    // Seed 1: 0.65/5 over 0.65/10. Seed 3 has no twin: 0.55/5 over 0.65/15.
    expect(cell(table, 1, "cer")).toBeCloseTo((2 + 0.11 / (0.65 / 15)) / 2, 12);
    expect(table.columns).not.toContain("flops");
    expect(methodsTable(runs, { reference: "nobody" }).columns).not.toContain("cer");
  });

  test("CER is relative to the best setting of full fine-tuning with the same model and machine, which is named", () => {
    const on = (one: ReportRun, cpu: string): ReportRun => {
      const machine = { cpu, cores: 2, platform: "p" };
      return { ...one, result: { ...one.result, machine } };
    };
    const many = [
      // NAR times RKR 0.65 * 0.5, and 0.65 * 1 in the second setting
      on(run("finetune", 1, { seconds: 5, options: { lr: 1 } }), "a"),
      on(run("finetune", 1, { seconds: 20, kept: 0.8, options: { lr: 2 } }), "a"),
      on(run("finetune", 1, { seconds: 1, kept: 0.8, options: { lr: 2 }, model: "other" }), "a"),
      on(run("finetune", 2, { seconds: 2, options: { lr: 3 } }), "b"),
      on(run("rag", 1, { seconds: 10 }), "a"),
      on(run("rag", 1, { seconds: 10, model: "other" }), "a"),
      on(run("rag", 1, { seconds: 10, model: "third" }), "a"),
      run("rag", 2, { seconds: 10 }),
    ];
    const cer = scoreColumns(groupRuns(many)).find(({ key }) => key === "cer");
    // One whose machine is not known is measured against all there is: seed 2 has no twin in the best setting
    expect(many.slice(4).map(({ result }) => cer?.value(result) ?? null)).toEqual([2, 0.1, null, 2]);
    expect(cer?.formula).toMatch(/, here finetune, .*lr 2.*; finetune, .*other.*; finetune, .*lr 3/);
  });

  test("a row per run, and a row per score with the baseline as row -1", () => {
    const { columns, rows } = runsTable(runs);
    expect(rows.map((row) => row.slice(0, 5))).toContainEqual(["rag-3", "t", "rag", "base", "3"]);
    expect(rows[3][columns.indexOf("seconds")]).toBe(5);
    const scores = scoresTable(runs.slice(0, 1));
    expect(scores.columns).toEqual(["run", "method", "seed", "score", "i", "after", "j", "topic", "value"]);
    expect(scores.rows.slice(0, 6)).toEqual([
      ["finetune-1", "finetune", "1", "R", -1, "", 0, "a", 0],
      ["finetune-1", "finetune", "1", "R", -1, "", 1, "b", 0],
      ["finetune-1", "finetune", "1", "R", 0, "a", 0, "a", 0.8],
      ["finetune-1", "finetune", "1", "R", 0, "a", 1, "b", 0],
      ["finetune-1", "finetune", "1", "R", 1, "b", 0, "a", 0.4],
      ["finetune-1", "finetune", "1", "R", 1, "b", 1, "b", 0.5],
    ]);
    expect(scores.rows.length).toBe(12);
    expect(scores.rows[6][3]).toBe("exactMatch");
  });

  test("the hypervolume of several runs, and large counts", () => {
    // (0.65, 1) alone; (0.65, 0.5) lies below it
    expect(hypervolumeOf([runs[0].result, runs[2].result])).toBeCloseTo(0.65, 12);
    expect(hypervolumeOf([])).toBeNull();
    expect([0, 12, 999, 1500, 1.85e13, 999_999_999].map(formatLarge)).toEqual([
      "0",
      "12",
      "999",
      "1.50 k",
      "18.5 T",
      "1.00 G",
    ]);
  });
});
