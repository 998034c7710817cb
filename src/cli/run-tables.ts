/** Tables over runs for the terminal: what `runs`, `show` and `compare` print. */
import { exists } from "../checkpoint/files.ts";
import { UserError } from "../errors.ts";
import type { CsvCell, Table } from "../eval/csv.ts";
import { type Interval, meanOf } from "../eval/interval.ts";
import {
  bestColumns,
  bestOf,
  bestText,
  equalLearning,
  equalLearningNote,
  hasBest,
  keptColumns,
  reachText,
} from "../eval/equal-learning.ts";
import type { ReportRun, RunResult } from "../eval/result.ts";
import { type Group, groupRuns, sharedConfig, withoutRepeatedSeeds } from "../eval/report-groups.ts";
import { cerReference, type Column, costColumns, intervalOf, namedColumns, scoreColumns } from "../eval/tables.ts";
import { lossPoints } from "../runs/events.ts";
import { seedFolder } from "../runs/evaluation.ts";
import { isOpenRun } from "../runs/folder.ts";
import { below } from "../runs/run-name.ts";
import type { RunStore, StoredRun } from "../runs/store.ts";
import type { Summary } from "../runs/summary.ts";
import { table, wrap } from "./output.ts";
import { sweepFolder } from "./store-flags.ts";

export type ShownStatus = StoredRun["status"] | "stopped" | "folder gone";

/** The status as it is: a run that nobody works on any more has stopped, whatever was written when it was killed. */
export async function statusOf(run: StoredRun): Promise<ShownStatus> {
  if (!(await exists(run.folder))) return "folder gone";
  if (run.status !== "running") return run.status;
  for (const path of [run.folder, ...run.seeds.map((seed) => seedFolder(run.folder, seed))]) {
    if (await isOpenRun(path)) return "running";
  }
  return "stopped";
}

/** A run as --json prints it: its number in the database says nothing outside of it. */
export const plainRun = (run: StoredRun): Omit<StoredRun, "id"> & { id?: undefined } => ({ ...run, id: undefined });

/** The finished results of a run, under its name. */
export function reportRuns(store: RunStore, { id, name }: StoredRun): ReportRun[] {
  return store.results(id).map(({ seed, result }) => ({
    result: { ...result, run: name },
    losses: lossPoints(store.events(id, seed)),
  }));
}

/** The runs that the user names; a sweep stands for its finished trials. */
export async function runsNamed(store: RunStore, names: readonly string[]): Promise<StoredRun[]> {
  const found: StoredRun[] = [];
  for (const name of new Set(names)) {
    const folder = await sweepFolder(store, name);
    const runs = folder === undefined ? [store.run(name)] : finishedTrials(store, folder);
    if (runs.length === 0) {
      throw new UserError(
        `runs: expected finished trials in the sweep ${name}, got none; go on with it: mneme sweep --resume ${name}`,
      );
    }
    found.push(...runs);
  }
  return found.filter((run, i) => found.findIndex(({ id }) => id === run.id) === i);
}

/** Finished trials of a sweep, in the order of their numbers. */
export const finishedTrials = (store: RunStore, folder: string): StoredRun[] =>
  store
    .runs()
    .filter((run) => run.status === "finished" && below(folder, run.folder) !== undefined)
    .toSorted((a, b) => a.folder.localeCompare(b.folder, "en", { numeric: true }));

/**
 * Results of several runs, each seed of a setting once, and a note where one was there twice. No result is an
 * error.
 */
export function resultsOf(
  store: RunStore,
  runs: readonly StoredRun[],
  command: string,
): { runs: ReportRun[]; notes: string[] } {
  const all = runs.flatMap((run) => {
    const found = reportRuns(store, run);
    if (found.length > 0) return found;
    throw new UserError(
      `${command}: expected finished runs, got ${run.name} without a result; go on with it: mneme eval --resume ` +
        `${run.name}`,
    );
  });
  return withoutRepeatedSeeds(all);
}

/** What two results must share to stand in one table. */
const comparable: readonly { what: string; of: (result: RunResult) => string }[] = [
  { what: "task", of: ({ task }) => task },
  { what: "protocol", of: ({ protocol }) => protocol },
  { what: "unit", of: ({ matrix }) => `${matrix.unit}, ${matrix.direction} is better` },
  { what: "topics", of: ({ matrix }) => matrix.topics.join(", ") },
  {
    what: "task options",
    of: ({ config }) => JSON.stringify(sharedConfig(config).taskOptions ?? config.files ?? null),
  },
];

/** Results of which each part may share a table. */
export function comparableParts(runs: readonly ReportRun[]): ReportRun[][] {
  const parts = new Map<string, ReportRun[]>();
  for (const run of runs) {
    const key = JSON.stringify(comparable.map(({ of }) => of(run.result)));
    parts.set(key, [...(parts.get(key) ?? []), run]);
  }
  return [...parts.values()];
}

/** Refuses results of different tasks or protocols: numbers that were taken differently never share a table. */
export function checkComparable(results: readonly RunResult[], command: string): void {
  const [first, ...others] = results;
  for (const other of others) {
    const difference = comparable.find(({ of }) => of(first) !== of(other));
    if (difference) {
      const { what, of } = difference;
      throw new UserError(
        `${command}: expected runs of one ${what}, got ${of(first)} (${first.run}) and ${of(other)} (${other.run}); ` +
          "compare them separately",
      );
    }
  }
}

/** A row per setting; with `spread`, the 95% interval over its seeds beside each mean. */
function settingsTable(
  groups: readonly Group[],
  columns: readonly Column[],
  { width, spread }: { width: number; spread: boolean },
): string[] {
  const cell = (group: Group, column: Column): string => {
    const interval = intervalOf(group, column);
    if (interval === null) return "–";
    const half = interval.half === null || !spread ? "" : ` ± ${column.show(interval.half).replace("+", "")}`;
    return column.show(interval.mean) + half;
  };
  const rows = groups.map((group) => [
    group.runs.length > 1 ? `${group.label} (${group.runs.length} seeds)` : group.label,
    ...columns.map((column) => cell(group, column)),
  ]);
  return columns.length === 0 ? [] : ["", ...wrapTable([["", ...columns.map(({ title }) => title)], ...rows], width)];
}

/** What was kept and learned, the task's own scores, and what it cost: a row per setting, an empty line before each. */
export function comparisonTables(runs: readonly ReportRun[], width: number): string[] {
  const groups = groupRuns(runs);
  const scores = scoreColumns(groups);
  const against = scores.find(({ key }) => key === "cer")?.formula;
  return [
    ...settingsTable(groups, scores, { width, spread: true }),
    ...(against === undefined ? [] : wrap(against, width)),
    ...settingsTable(groups, namedColumns(groups), { width, spread: true }),
    ...settingsTable(groups, costColumns(groups), { width, spread: false }),
    ...equalLearningLines(groups, width),
  ];
}

/** Methods at equal learning and at their own best; nothing for a single setting, and where no run has NAR. */
export function equalLearningLines(groups: readonly Group[], width: number): string[] {
  const rows = groups.length > 1 ? equalLearning(groups) : [];
  if (rows.length === 0) return [];
  const shown = (interval: Interval | null, show: (value: number) => string): string =>
    interval === null ? "–" : show(interval.mean) + (interval.half === null ? "" : ` ± ${show(interval.half)}`);
  const titles = (columns: typeof keptColumns): string[] => columns.map(({ title }) => title);
  const equal = rows.map((row) => [
    row.method,
    reachText(row),
    ...keptColumns.map(({ key, show }) => shown(row.at?.kept[key] ?? null, show)),
  ]);
  const best = rows.map((row) => [
    row.method,
    bestText(row),
    ...bestColumns.map((column) => shown(bestOf(row, column), column.show)),
  ]);
  return [
    "",
    ...wrap(equalLearningNote(rows), width),
    ...wrapTable([["equal learning", "learned", ...titles(keptColumns)], ...equal], width),
    ...(hasBest(rows) ? wrapTable([["own best", "setting", ...titles(bestColumns)], ...best], width) : []),
  ];
}

/** A table as --json says it: an object per row. */
export const recordsOf = ({ columns, rows }: Table): Record<string, CsvCell>[] =>
  rows.map((row) => Object.fromEntries(columns.map((name, i) => [name, row[i]])));

/** What each setting cost. */
export function costTable(runs: readonly ReportRun[], width: number): string[] {
  const groups = groupRuns(runs);
  return settingsTable(groups, costColumns(groups), { width, spread: false });
}

/**
 * Numbers of a run that need another run beside it: its learning per second relative to full fine-tuning (CER), of
 * the finished runs of the same task, model and machine the setting that the tables take.
 */
function relativeMetrics(store: RunStore, run: StoredRun): { cer: number | null } {
  const own = reportRuns(store, run);
  const setting = ({ task, model, config }: StoredRun) =>
    JSON.stringify([task, model, config.taskOptions, config.stream]);
  const others = store.runs().filter((other) => {
    const { id, status, method } = other;
    return id !== run.id && status === "finished" && method === cerReference && setting(other) === setting(run);
  });
  // Trials of sweeps have settings that nobody chose: only where there is nothing else
  const isTrial = ({ name }: StoredRun): boolean => name.includes("/");
  const chosen = others.every(isTrial) ? others : others.filter((other) => !isTrial(other));
  const full = withoutRepeatedSeeds(chosen.flatMap((other) => reportRuns(store, other)));
  const cer = scoreColumns(groupRuns([...own, ...full.runs])).find(({ key }) => key === "cer");
  return { cer: cer ? meanOf(own.map(({ result }) => cer.value(result))) : null };
}

/** The means of a run, and beside them the numbers that need another run. */
export const withRelativeMetrics = (store: RunStore, run: StoredRun, summary: Summary): Summary => ({
  ...summary,
  metrics: { ...summary.metrics, ...relativeMetrics(store, run) },
});

/** A table whose columns go on below where they do not fit; the first column is repeated. */
function wrapTable(rows: readonly (readonly string[])[], width: number): string[] {
  const count = rows[0]?.length ?? 0;
  const size = (column: number): number => Math.max(...rows.map((row) => row[column].length));
  const lines: string[] = [];
  for (let start = 1; start < count; ) {
    let [end, used] = [start, size(0)];
    while (end < count && (end === start || used + 2 + size(end) <= width)) used += 2 + size(end++);
    const part = rows.map((row) => [row[0], ...row.slice(start, end)]);
    lines.push(...table(part, { right: part[0].map((_, i) => i).slice(1) }));
    start = end;
  }
  return lines;
}
