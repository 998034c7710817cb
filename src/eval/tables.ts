/**
 * The numbers of a comparison as tables: a row per method with means and 95% intervals over its seeds, a row per run,
 * and the raw scores, a row per cell. The report shows the first, CSV files hold all.
 */
import { comparisonFormulas, computeEfficiency } from "./comparison.ts";
import type { Table } from "./csv.ts";
import { formatBytes, formatChange, formatCount, formatScore, formatSeconds } from "./format.ts";
import { hypervolume } from "./hypervolume.ts";
import { interval95, meanOf } from "./interval.ts";
import type { Interval } from "./interval.ts";
import { formulas } from "./metrics.ts";
import type { Cell, Direction } from "./metrics.ts";
import { groupRuns, numberAt } from "./report-groups.ts";
import type { Group } from "./report-groups.ts";
import type { ReportRun, RunResult } from "./result.ts";
import { rewardFormula } from "./rewards.ts";

export interface Column {
  /** Plain name, as in JSON and CSV. */
  readonly key: string;
  /** Heading for people. */
  readonly title: string;
  readonly formula?: string;
  readonly value: (result: RunResult) => Cell;
  readonly show: (value: number) => string;
  /** Which way is good; absent where small and large are both fine. */
  readonly better?: Direction;
}

/** The method that CER is measured against. */
export const cerReference = "finetune";

export interface ColumnsOptions {
  /** Label or method that CER is measured against: full fine-tuning of the same base on the same machine. */
  reference?: string;
}

/** Large counts as people read them: 1.23e12 as "1.23 T". */
export function formatLarge(count: number): string {
  const units = ["", " k", " M", " G", " T", " P"];
  const unit = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, count * 1.0005)) / 3)));
  return unit === 0 ? formatCount(Math.round(count)) : `${(count / 1000 ** unit).toPrecision(3)}${units[unit]}`;
}

/** A factor that may be far from 1: 0.123, 1.50, 23.4, 186. */
const formatFactor = (value: number): string =>
  formatScore(value, Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 3);

interface Reference {
  readonly label: string;
  readonly runs: readonly ReportRun[];
}

/** Seconds compare between runs of one model on one machine; a machine that is not known stands for any. */
function sameMachine(a: RunResult, b: RunResult): boolean {
  const place = ({ machine }: RunResult) => machine && JSON.stringify([machine.cpu, machine.cores, machine.platform]);
  const [one, other] = [place(a), place(b)];
  return one === undefined || other === undefined || one === other;
}

/** The setting of full fine-tuning with the largest NAR times RKR, of those with this result's model and machine. */
function bestFor(result: RunResult, full: readonly Group[]): Reference | undefined {
  const found = full.flatMap(({ label, runs }) => {
    const alike = runs.filter((run) => run.result.model === result.model && sameMachine(run.result, result));
    const of = (name: string) => meanOf(alike.map((run) => numberAt(run.result, "metrics", name)));
    return alike.length === 0 ? [] : [{ label, runs: alike, product: (of("nar") ?? 0) * (of("rkr") ?? 0) }];
  });
  return found.toSorted((a, b) => b.product - a.product)[0];
}

/** What was kept and what was learned. Columns without any value in `groups` are left out. */
export function scoreColumns(groups: readonly Group[], { reference = cerReference }: ColumnsOptions = {}): Column[] {
  const direction = groups[0]?.matrix.direction ?? "higher";
  const labelled = groups.filter(({ label }) => label === reference);
  const full = labelled.length > 0 ? labelled : groups.filter(({ runs }) => methodOf(runs) === reference);
  const taken = new Set(groups.flatMap(({ runs }) => runs.flatMap(({ result }) => bestFor(result, full)?.label ?? [])));
  const rate = (result: RunResult) => ({ nar: numberAt(result, "metrics", "nar"), seconds: result.cost.seconds });
  /** Against full fine-tuning with the same seed where there is one, else against its mean. */
  const efficiency = (result: RunResult): Cell => {
    const found = bestFor(result, full);
    if (!found) return null;
    const twin = found.runs.find((run) => String(run.result.seeds) === String(result.seeds));
    const rates = found.runs.map((run) => rate(run.result));
    const seconds = meanOf(rates.map((one) => one.seconds)) ?? 0;
    return computeEfficiency(
      rate(result),
      twin ? rate(twin.result) : { nar: meanOf(rates.map(({ nar }) => nar)), seconds },
    );
  };
  const score = (value: number) => formatScore(value);
  const change = (value: number) => formatChange(value);
  const metric = (name: string) => (result: RunResult) => numberAt(result, "metrics", name);
  const columns: Column[] = [
    { key: "rkr", title: "RKR", formula: formulas.rkr, value: metric("rkr"), show: score, better: "higher" },
    { key: "nar", title: "NAR", formula: formulas.nar, value: metric("nar"), show: score, better: "higher" },
    // No best one is marked: what only stores documents learns in no time and pays when it answers
    {
      key: "cer",
      title: "CER",
      formula: `${comparisonFormulas.cer}, here ${[...taken].join("; ")}`,
      value: efficiency,
      show: formatFactor,
    },
    {
      key: "baseRetention",
      title: "Base retention",
      formula: comparisonFormulas.baseRetention,
      value: metric("baseRetention"),
      show: score,
      better: "higher",
    },
    {
      key: "hypervolume",
      title: "Hypervolume",
      formula: "hypervolume = area between (0, 0) and the run's own (NAR, RKR)",
      value: (result) => hypervolumeOf([result]),
      show: score,
      better: "higher",
    },
    { key: "acc", title: "ACC", formula: formulas.acc, value: metric("acc"), show: score, better: direction },
    { key: "bwt", title: "BWT", formula: formulas.bwt, value: metric("bwt"), show: change, better: direction },
    {
      key: "forgetting",
      title: "Forgetting",
      formula: formulas.forgetting[direction],
      value: metric("forgetting"),
      show: score,
      better: "lower",
    },
    {
      key: "reward",
      title: "Reward",
      formula: rewardFormula,
      value: metric("reward"),
      show: change,
      better: "higher",
    },
    {
      key: "value",
      title: "V(M)",
      formula: "V(M) = mean nats of log-likelihood of answers, with the memory minus without",
      value: metric("value"),
      show: change,
      better: "higher",
    },
    { key: "fwt", title: "FWT", formula: formulas.fwt, value: metric("fwt"), show: change, better: direction },
  ];
  return used(columns, groups);
}

/** What learning cost. Columns without any value in `groups` are left out. */
export function costColumns(groups: readonly Group[]): Column[] {
  const cost = (name: string) => (result: RunResult) => numberAt(result, "cost", name);
  const columns: Column[] = [
    { key: "seconds", title: "Time to learn", value: cost("seconds"), show: formatSeconds, better: "lower" },
    { key: "tokens", title: "Tokens learned from", value: cost("tokens"), show: (n) => formatCount(Math.round(n)) },
    { key: "flops", title: "FLOPs", value: cost("flops"), show: formatLarge, better: "lower" },
    { key: "bytes", title: "Added to the model", value: cost("bytes"), show: formatBytes, better: "lower" },
    {
      key: "bytesPerDocument",
      title: "Stored per document",
      value: cost("bytesPerDocument"),
      show: (n) => formatBytes(Math.round(n)),
      better: "lower",
    },
    {
      key: "peakMB",
      title: "Peak memory",
      value: cost("peakMB"),
      show: (n) => formatBytes(Math.round(n * 1e6)),
      better: "lower",
    },
  ];
  return used(columns, groups);
}

/** The names that any result of `groups` has in one of its parts. */
const namesIn = (groups: readonly Group[], part: (result: RunResult) => object | undefined): string[] => [
  ...new Set(groups.flatMap(({ runs }) => runs.flatMap(({ result }) => Object.keys(part(result) ?? {})))),
];

/** The task's own scores, means over the learned topics at the end, such as exactMatch. */
export const namedColumns = (groups: readonly Group[]): Column[] =>
  namesIn(groups, ({ scores }) => scores).map((name) => ({
    key: name,
    title: name,
    value: (result) => numberAt(result, "metrics", name),
    show: (value) => formatScore(value),
  }));

/** What the base knew, after / before, by probe. */
const probeColumns = (groups: readonly Group[]): Column[] =>
  namesIn(groups, ({ probes }) => probes).map((name) => ({
    key: `probeRatios.${name}`,
    title: `${name}, after / before`,
    value: (result) => numberAt(result, "metrics", "probeRatios", name),
    show: (value) => formatScore(value),
  }));

const methodOf = (runs: readonly ReportRun[]): string => runs[0]?.result.method ?? "";

const used = (columns: readonly Column[], groups: readonly Group[]): Column[] =>
  columns.filter(({ value }) => groups.some(({ runs }) => runs.some(({ result }) => value(result) !== null)));

/** (NAR, RKR) of those results that have both. */
export function balancePoints(results: readonly RunResult[]): (readonly [nar: number, rkr: number])[] {
  return results.flatMap((result) => {
    const nar = numberAt(result, "metrics", "nar");
    const rkr = numberAt(result, "metrics", "rkr");
    return nar === null || rkr === null ? [] : [[nar, rkr] as const];
  });
}

/** Hypervolume of the points (NAR, RKR) of several results against (0, 0); null when none has both. */
export function hypervolumeOf(results: readonly RunResult[]): Cell {
  const points = balancePoints(results);
  return points.length === 0 ? null : hypervolume(points);
}

/** Mean and 95% interval of one column over the runs of a group. */
export const intervalOf = ({ runs }: Group, { value }: Column): Interval | null =>
  interval95(runs.map(({ result }) => value(result)));

/** A row per method: number of seeds, then mean and half-width of the 95% interval of each column. */
export const columnsByMethod = (groups: readonly Group[], columns: readonly Column[]): Table => ({
  columns: ["method", "runs", ...columns.flatMap(({ key }) => [key, `${key}±95`])],
  rows: groups.map((group) => [
    group.label,
    group.runs.length,
    ...columns.flatMap((column) => {
      const interval = intervalOf(group, column);
      return [interval?.mean ?? null, interval?.half ?? null];
    }),
  ]),
});

/** What was kept and learned, the task's own scores, the probes, and what it cost. */
const allColumns = (groups: readonly Group[], options: ColumnsOptions): Column[] => [
  ...scoreColumns(groups, options),
  ...namedColumns(groups),
  ...probeColumns(groups),
  ...costColumns(groups),
];

/** A row per method with every number that its runs have. */
export function methodsTable(runs: readonly ReportRun[], options: ColumnsOptions = {}): Table {
  const groups = groupRuns(runs);
  return columnsByMethod(groups, allColumns(groups, options));
}

/** A row per run with every number of it. */
export function runsTable(runs: readonly ReportRun[], options: ColumnsOptions = {}): Table {
  const groups = groupRuns(runs);
  const columns = allColumns(groups, options);
  return {
    columns: ["run", "task", "method", "model", "seed", ...columns.map(({ key }) => key)],
    rows: groups.flatMap(({ label, runs: own }) =>
      own.map(({ result }) => [
        result.run,
        result.task,
        label,
        result.model,
        result.seeds.join(" "),
        ...columns.map(({ value }) => value(result)),
      ]),
    ),
  };
}

/** A row per score: R of every run, with row -1 for the baseline; other named scores follow under their names. */
export function scoresTable(runs: readonly ReportRun[]): Table {
  const rows = groupRuns(runs).flatMap(({ label, runs: own }) =>
    own.flatMap(({ result }) => {
      const { matrix } = result;
      const cells = (score: string, R: readonly (readonly Cell[])[], baseline: readonly Cell[] | null) =>
        [...(baseline ? [baseline] : []), ...R].flatMap((row, at) => {
          const i = baseline ? at - 1 : at;
          const after = i < 0 ? "" : (matrix.topics[i] ?? "");
          return row.flatMap((value, j) =>
            value === null
              ? []
              : [[result.run, label, result.seeds.join(" "), score, i, after, j, matrix.topics[j] ?? "", value]],
          );
        });
      const named = Object.entries(result.scores ?? {}).flatMap(([name, one]) => cells(name, one.R, one.baseline));
      return [...cells("R", matrix.R, matrix.baseline), ...named];
    }),
  );
  return { columns: ["run", "method", "seed", "score", "i", "after", "j", "topic", "value"], rows };
}
