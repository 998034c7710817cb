/**
 * Runs that differ in their seed only are one line of a report: what they are called, and their matrices' mean.
 * Fields of a result are read with care: files of earlier versions lack the newer ones.
 */
import { isDeepStrictEqual } from "node:util";
import { type Cell, mean, type ScoreMatrix } from "./metrics.ts";
import type { ReportRun, RunResult } from "./result.ts";

export interface Group {
  /** The method, with what tells it from others of the same method. Unique within a report. */
  readonly label: string;
  readonly runs: readonly ReportRun[];
  /** Mean over the runs; a cell that one of them lacks is null. */
  readonly matrix: ScoreMatrix;
  /** Standard deviation over the runs (n - 1) of each cell of R; null with one run. */
  readonly deviation: readonly (readonly Cell[])[] | null;
}

/** A number at a path of a result, or null where there is none. */
export function numberAt(value: unknown, ...path: string[]): Cell {
  let at = value;
  for (const key of path) {
    if (typeof at !== "object" || at === null) return null;
    at = (at as Record<string, unknown>)[key];
  }
  return typeof at === "number" && Number.isFinite(at) ? at : null;
}

/** Names and values of nested objects, with dotted names; undefined values are left out. */
export function flattened(object: object, prefix = ""): [string, unknown][] {
  return Object.entries(object).flatMap(([key, value]: [string, unknown]) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? flattened(value, `${prefix}${key}.`)
      : value === undefined
        ? []
        : [[`${prefix}${key}`, value] as [string, unknown]],
  );
}

/** What may differ between two runs of one setting: seed, place, time. */
const ofTheRun = new Set(["seed", "out", "threads", "run", "streamSeed"]);

/**
 * A configuration as all seeds of a setting share it: where every seed has a stream of its own, the option that
 * chooses it is "100 + seed".
 */
export function sharedConfig(config: RunResult["config"]): RunResult["config"] {
  const { streamSeed, taskOptions, seed } = config;
  if (typeof streamSeed !== "string") return config;
  const own = numberAt(taskOptions, streamSeed);
  if (own === null || typeof seed !== "number") return config;
  return { ...config, taskOptions: { ...(taskOptions as object), [streamSeed]: `${own - seed} + seed` } };
}

/** Everything that makes a setting: the task, the model and the configuration without what differs per run. */
function settingOf({ method, model, task, config }: RunResult): Map<string, unknown> {
  const named = flattened(sharedConfig(config)).filter(([key]) => !ofTheRun.has(key));
  return new Map<string, unknown>([...named, ["method", method], ["model", model], ["task", task]]);
}

const shown = (value: unknown): string =>
  value === undefined ? "default" : Array.isArray(value) ? value.join(" ") : String(value);

/** Runs put together by setting, in the order in which the settings first appear. */
export function groupRuns(runs: readonly ReportRun[]): Group[] {
  const found: { setting: Map<string, unknown>; runs: ReportRun[] }[] = [];
  for (const run of runs) {
    const setting = settingOf(run.result);
    const before = found.find((one) => isDeepStrictEqual(one.setting, setting));
    if (before) before.runs.push(run);
    else found.push({ setting, runs: [run] });
  }
  const labels = found.map(({ setting }) => {
    const method = String(setting.get("method"));
    const same = found.filter((one) => one.setting.get("method") === method);
    const keys = new Set(same.flatMap((one) => [...one.setting.keys()]));
    const differing = [...keys].filter((key) =>
      same.some((one) => !isDeepStrictEqual(one.setting.get(key), same[0].setting.get(key))),
    );
    const told = differing.map((key) => `${key.split(".").at(-1) ?? key} ${shown(setting.get(key))}`);
    return [method, ...told].join(", ");
  });
  return found.map((one, i) => {
    const twins = labels.slice(0, i).filter((label) => label === labels[i]).length;
    return {
      label: twins > 0 ? `${labels[i]} (${twins + 1})` : labels[i],
      runs: one.runs,
      ...meanMatrix(one.runs.map(({ result }) => result.matrix)),
    };
  });
}

/**
 * Each seed of a setting once, from the run that was finished last: the same seed twice is no second draw, and would
 * make an interval narrower than it is. The notes say what was left out.
 */
export function withoutRepeatedSeeds(runs: readonly ReportRun[]): { runs: ReportRun[]; notes: string[] } {
  const dropped = new Set<ReportRun>();
  const seedsOf = new Map<string, string[]>();
  const seedOf = ({ result }: ReportRun): string => result.seeds.join(" ");
  for (const group of groupRuns(runs)) {
    for (const seed of new Set(group.runs.map(seedOf))) {
      const same = group.runs.filter((run) => seedOf(run) === seed);
      const [newest, ...others] = same.toSorted((a, b) => (a.result.finished < b.result.finished ? 1 : -1));
      if (others.length === 0) continue;
      for (const other of others) dropped.add(other);
      const names = others.map(({ result }) => result.run).join(", ");
      const text = `${group.label} counted once, from ${newest.result.run} (the newest), not from ${names}`;
      seedsOf.set(text, [...(seedsOf.get(text) ?? []), seed]);
    }
  }
  const notes = [...seedsOf].map(
    ([text, seeds]) => `${seeds.length > 1 ? "Seeds" : "Seed"} ${seeds.join(", ")} of ${text}.`,
  );
  return { runs: runs.filter((run) => !dropped.has(run)), notes };
}

/** Values of one cell in each matrix, or null where one of them has none. */
function over(matrices: readonly ScoreMatrix[], pick: (matrix: ScoreMatrix) => Cell | undefined): number[] | null {
  const values: number[] = [];
  for (const matrix of matrices) {
    const value = pick(matrix);
    if (value === null || value === undefined) return null;
    values.push(value);
  }
  return values;
}

/** Sample standard deviation; null for fewer than two values. */
function deviationOf(values: readonly number[] | null): Cell {
  const middle = values && mean(values);
  if (values === null || values.length < 2 || middle === null) return null;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1));
}

function meanMatrix(matrices: readonly ScoreMatrix[]): Pick<Group, "matrix" | "deviation"> {
  const [first] = matrices;
  if (matrices.length === 1) return { matrix: first, deviation: null };
  const each = (use: (values: number[] | null) => Cell) =>
    first.R.map((row, i) => row.map((_, j) => use(over(matrices, ({ R }) => R[i]?.[j]))));
  return {
    matrix: {
      ...first,
      R: each((values) => values && mean(values)),
      baseline: matrices.every(({ baseline }) => baseline)
        ? first.topics.map((_, j) => mean(over(matrices, ({ baseline }) => baseline?.[j]) ?? []))
        : null,
    },
    deviation: each(deviationOf),
  };
}
