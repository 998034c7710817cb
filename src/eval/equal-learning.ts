/**
 * Methods at equal learning: each method's settings are points (what was learned, what was kept), and between the two
 * settings around 70% learned the kept part is interpolated. Nothing is extrapolated: a method whose settings all lie
 * below or above that point says how far they reach. Beside it, each method at its own best setting.
 * Learned is NAR of the score that fills R: on held-out phrasings in the world's tasks, on the very prompts that were
 * learned in tokens, counterfact and zsre.
 */
import { atEqualLearning, equalLearningAt } from "./comparison.ts";
import type { Table } from "./csv.ts";
import { formatPercent, formatScore, formatSeconds } from "./format.ts";
import { interval95, meanOf } from "./interval.ts";
import type { Interval } from "./interval.ts";
import type { Cell } from "./metrics.ts";
import { type Group, groupRuns, numberAt } from "./report-groups.ts";
import type { ReportRun, RunResult } from "./result.ts";

interface Kept {
  readonly key: string;
  readonly title: string;
  readonly value: (result: RunResult) => Cell;
  readonly show: (value: number) => string;
}

/** What is interpolated. */
export const keptColumns: readonly Kept[] = [
  { key: "rkr", title: "RKR", value: (result) => numberAt(result, "metrics", "rkr"), show: (n) => formatScore(n) },
  {
    key: "baseRetention",
    title: "Base retention",
    value: (result) => numberAt(result, "metrics", "baseRetention"),
    show: (n) => formatScore(n),
  },
  { key: "seconds", title: "Time to learn", value: ({ cost }) => cost.seconds, show: formatSeconds },
];

const narOf = (result: RunResult): Cell => numberAt(result, "metrics", "nar");
const meanIn = (group: Group, value: (result: RunResult) => Cell): Cell =>
  meanOf(group.runs.map(({ result }) => value(result)));

/** A method at the point, by the keys of `keptColumns`; null where a number is missing. */
interface AtPoint {
  readonly kept: Readonly<Record<string, Interval | null>>;
  /** The settings interpolated between; twice the same where one hits the point. */
  readonly between: readonly [string, string];
}

export interface EqualLearningRow {
  readonly method: string;
  readonly settings: number;
  /** Least and most that a setting learned, NAR in the mean over its seeds. */
  readonly learned: readonly [number, number];
  /** Null where the settings do not lie around the point. */
  readonly at: AtPoint | null;
  /** The setting with the largest NAR times RKR; null without both. */
  readonly best: { readonly setting: string; readonly group: Group } | null;
}

/** "learningRate 0.001" of "lora, learningRate 0.001". */
const settingName = ({ label }: Group): string => label.split(", ").slice(1).join(", ") || label;

/**
 * The value at the point: interpolated in each seed, then their mean and interval, if all seeds lie around the point;
 * else along the means of the settings, without an interval.
 */
function interpolated(groups: readonly Group[], value: (result: RunResult) => Cell): Interval | null {
  const points = groups.map((group) => {
    return { setting: settingName(group), learned: meanIn(group, narOf), retention: meanIn(group, value) };
  });
  const found = atEqualLearning(points);
  if (!found) return null;
  const seeds = [...new Set(groups.flatMap(({ runs }) => runs.map(({ result }) => String(result.seeds))))];
  const each = seeds.map((seed) => {
    const own = groups.flatMap((group) => {
      const run = group.runs.find(({ result }) => String(result.seeds) === seed);
      return run ? [{ setting: settingName(group), learned: narOf(run.result), retention: value(run.result) }] : [];
    });
    return atEqualLearning(own)?.retention ?? null;
  });
  return each.includes(null) ? { mean: found.retention, half: null, n: seeds.length } : interval95(each);
}

/** A row per method (and model) that has NAR at all, in the order in which they first appear. */
export function equalLearning(groups: readonly Group[]): EqualLearningRow[] {
  const models = new Set(groups.map(({ runs }) => runs[0].result.model));
  const nameOf = ({ runs: [{ result }] }: Group): string =>
    models.size > 1 ? `${result.method}, ${result.model}` : result.method;
  return [...new Set(groups.map(nameOf))].flatMap((method): EqualLearningRow[] => {
    const own = groups.filter((group) => nameOf(group) === method && meanIn(group, narOf) !== null);
    if (own.length === 0) return [];
    const nars = own.map((group) => meanIn(group, narOf) as number);
    const points = own.map((group, i) => ({ setting: settingName(group), learned: nars[i], retention: 0 }));
    const around = atEqualLearning(points);
    const products = own.flatMap((group, i) => {
      const rkr = meanIn(group, (result) => numberAt(result, "metrics", "rkr"));
      return rkr === null ? [] : [{ group, product: nars[i] * rkr }];
    });
    const best = products.reduce<(typeof products)[number] | null>(
      (most, one) => (most === null || one.product > most.product ? one : most),
      null,
    );
    return [
      {
        method,
        settings: own.length,
        learned: [Math.min(...nars), Math.max(...nars)],
        at: around && {
          kept: Object.fromEntries(keptColumns.map(({ key, value }) => [key, interpolated(own, value)])),
          between: around.between,
        },
        best: best && { setting: settingName(best.group), group: best.group },
      },
    ];
  });
}

/** "at 70 %", "reaches 43 %" or "starts at 81 %": rounded so that it never says 70 % of what is not. */
export function reachText({ learned: [least, most], at }: EqualLearningRow): string {
  if (at) return `at ${formatPercent(equalLearningAt)}`;
  return most < equalLearningAt
    ? `reaches ${Math.floor(most * 100)} %`
    : least > equalLearningAt
      ? `starts at ${Math.ceil(least * 100)} %`
      : "–";
}

/** Own best as numbers: NAR, RKR and base retention of the best setting. */
export const bestColumns: readonly Kept[] = [
  { key: "nar", title: "NAR", value: narOf, show: (n) => formatScore(n) },
  ...keptColumns.slice(0, 2),
];

/** Interval of one number of the best setting. */
export const bestOf = ({ best }: EqualLearningRow, { value }: Kept): Interval | null =>
  best && interval95(best.group.runs.map(({ result }) => value(result)));

/** The best setting in words. */
export const bestText = ({ best, settings }: EqualLearningRow): string =>
  best === null ? "–" : settings === 1 ? "the only one" : best.setting;

/** Has any method a best setting? Without RKR none has, and a table of them would be empty. */
export const hasBest = (rows: readonly EqualLearningRow[]): boolean => rows.some(({ best }) => best !== null);

export const equalLearningNote = (rows: readonly EqualLearningRow[]): string =>
  `At ${formatPercent(equalLearningAt)} learned of new facts (NAR): linear between the two settings of a method ` +
  "around that " +
  `point, never beyond its settings.${hasBest(rows) ? " Best: the setting with the largest NAR · RKR." : ""}`;

/** The table as CSV has it. */
export function equalLearningTable(runs: readonly ReportRun[]): Table {
  const pair = (interval: Interval | null): Cell[] => [interval?.mean ?? null, interval?.half ?? null];
  const at = `@${equalLearningAt}`;
  return {
    columns: [
      "method",
      "settings",
      "leastNar",
      "mostNar",
      ...keptColumns.flatMap(({ key }) => [`${key}${at}`, `${key}${at}±95`]),
      "below",
      "above",
      "best",
      ...bestColumns.flatMap(({ key }) => [`best.${key}`, `best.${key}±95`]),
    ],
    rows: equalLearning(groupRuns(runs)).map((row) => [
      row.method,
      row.settings,
      ...row.learned,
      ...keptColumns.flatMap(({ key }) => pair(row.at?.kept[key] ?? null)),
      row.at?.between[0] ?? null,
      row.at?.between[1] ?? null,
      row.best?.setting ?? null,
      ...bestColumns.flatMap((column) => pair(bestOf(row, column))),
    ]),
  };
}
