/** The tables that put methods beside each other: what they kept, learned and cost; named scores; probes. */
import { csvText } from "./csv.ts";
import type { Table } from "./csv.ts";
import {
  bestColumns,
  bestOf,
  bestText,
  equalLearning,
  equalLearningNote,
  type EqualLearningRow,
  equalLearningTable,
  hasBest,
  keptColumns,
  reachText,
} from "./equal-learning.ts";
import { directionText, formatScore } from "./format.ts";
import type { Group } from "./report-groups.ts";
import { interval95, intervalFormula } from "./interval.ts";
import { type Cell, meanOfKnown } from "./metrics.ts";
import { escape, formulaList, numbers, short } from "./report-html.ts";
import { intervalCell } from "./report-layers.ts";
import type { ReportRun } from "./result.ts";
import { costColumns, intervalOf, methodsTable, runsTable, scoreColumns } from "./tables.ts";
import type { Column, ColumnsOptions } from "./tables.ts";

const arrow = { higher: "\u00a0↑", lower: "\u00a0↓" } as const;

/** A row per method, a column per number; the best mean of a column is marked. */
function columnsTable(groups: readonly Group[], columns: readonly Column[], caption: string): string {
  const intervals = columns.map((column) => groups.map((group) => intervalOf(group, column)));
  const isBest = (column: Column, i: number, g: number): boolean => {
    const means = intervals[i].map((one) => one?.mean ?? null);
    const known = means.filter((mean) => mean !== null);
    if (!column.better || groups.length < 2 || means[g] === null) return false;
    const best = column.better === "higher" ? Math.max(...known) : Math.min(...known);
    return means[g] === best && known.some((other) => other !== best);
  };
  return numbers(
    ["method", ...columns.map(({ title, better }) => `${title}${better ? arrow[better] : ""}`)],
    groups.map(({ label }, g) => ({
      name: short(label),
      cells: columns.map((column, i) => intervalCell(intervals[i][g], column.show, isBest(column, i, g))),
    })),
    escape(caption),
  );
}

/** Methods at equal learning and at their own best; empty for a single setting, and where nothing has NAR. */
function equalSection(groups: readonly Group[]): string {
  const rows = groups.length > 1 ? equalLearning(groups) : [];
  if (rows.length === 0) return "";
  const place = (row: EqualLearningRow): string => {
    const names = [...new Set(row.at?.between ?? [])].map(
      (name, i) => `<small>${i > 0 ? "to " : ""}${escape(name)}</small>`,
    );
    return `<td>${escape(reachText(row))}${names.join("")}</td>`;
  };
  const equal = rows.map((row) => ({
    name: short(row.method),
    cells: [place(row), ...keptColumns.map(({ key, show }) => intervalCell(row.at?.kept[key] ?? null, show))],
  }));
  const best = rows.map((row) => ({
    name: short(row.method),
    cells: [
      `<td>${escape(bestText(row))}</td>`,
      ...bestColumns.map((column) => intervalCell(bestOf(row, column), column.show)),
    ],
  }));
  const titles = (columns: typeof keptColumns): string[] => columns.map(({ title }) => title);
  return (
    numbers(["method", "learned", ...titles(keptColumns)], equal, "At equal learning") +
    (hasBest(rows) ? numbers(["method", "setting", ...titles(bestColumns)], best, "Each method at its own best") : "") +
    `<p class="soft">${equalLearningNote(rows)}</p>`
  );
}

/** A table as a file inside the page. */
function download(name: string, text: string, table: Table): string {
  const data = Buffer.from(csvText(table)).toString("base64");
  return `<a download="${name}.csv" href="data:text/csv;charset=utf-8;base64,${data}">${text}</a>`;
}

/** Topics that a ratio could not be taken of, by method. */
function leftOut(groups: readonly Group[]): string {
  const notes = groups.flatMap(({ label, runs }) =>
    (["rkr", "nar"] as const).flatMap((key) => {
      const names = new Set(runs.flatMap(({ result }) => result.metrics[`${key}LeftOut`] ?? []));
      return names.size === 0 ? [] : [`${key.toUpperCase()} of ${label} leaves out ${[...names].join(", ")}`];
    }),
  );
  return notes.length === 0 ? "" : `<p class="soft">${escape(notes.join("; "))}.</p>`;
}

export function methodsSection(runs: readonly ReportRun[], groups: readonly Group[], options: ColumnsOptions): string {
  const { direction, unit } = groups[0].matrix;
  const scores = scoreColumns(groups, options);
  const costs = costColumns(groups);
  const sign =
    direction === "lower"
      ? "Scores are better when lower: a positive BWT means that earlier topics got worse, a negative FWT is a gain."
      : "Scores are better when higher, so a negative BWT means that earlier topics got worse.";
  const several = groups.some((group) => group.runs.length > 1);
  const formulas = [
    ...scores.flatMap(({ formula }) => formula ?? []),
    ...(several ? [`95% interval: ${intervalFormula}`] : []),
  ];
  return (
    `<section><h2 class="first">${groups.length > 1 ? "The methods" : "The numbers"}</h2>` +
    columnsTable(groups, scores, `Kept and learned: ${unit}, ${directionText(direction)}`) +
    columnsTable(groups, costs, "What it cost") +
    equalSection(groups) +
    `<p class="soft">↑ better when higher, ↓ when lower.${groups.length > 1 ? " ★ marks the best of a column." : ""}` +
    `${several ? " Means over the runs, ± half of the 95% interval." : ""} T topics, R[i][j] the score of topic j ` +
    "after " +
    `learning topic i, R[-1] before learning. ${sign}</p>` +
    leftOut(groups) +
    formulaList(formulas) +
    `<p class="downloads">As CSV: ${download("methods", "methods", methodsTable(runs, options))}, ` +
    `${download("runs", "runs", runsTable(runs, options))}, ` +
    `${download("equal-learning", "equal learning", equalLearningTable(runs))}</p></section>`
  );
}

/** Every named score in a table of its own, because scores of different protocols do not compare. */
export function namedScores(groups: readonly Group[]): string {
  const names = new Set(groups.flatMap(({ runs }) => runs.flatMap(({ result }) => Object.keys(result.scores ?? {}))));
  if (names.size < 2) return "";
  const show = (value: number) => formatScore(value);
  const tables = [...names].map((name) => {
    const moments: ((run: ReportRun) => Cell)[] = [
      ({ result }) => meanOfKnown(result.scores?.[name]?.baseline ?? []),
      ({ result }) => meanOfKnown((result.scores?.[name]?.R ?? []).map((row, j) => row[j])),
      ({ result }) => {
        const R = result.scores?.[name]?.R ?? [];
        return meanOfKnown((R.at(-1) ?? []).slice(0, R.length));
      },
    ];
    return numbers(
      ["method", "before", "learned", "end"],
      groups.map(({ label, runs }) => ({
        name: short(label),
        cells: moments.map((pick) => intervalCell(interval95(runs.map(pick)), show)),
      })),
      escape(name),
    );
  });
  const protocols = [...new Set(groups.flatMap(({ runs }) => runs.flatMap(({ result }) => result.protocol ?? [])))];
  return (
    `<section><h2>Scores by name</h2><p class="soft">Means over the topics: before anything was learned, each topic ` +
    "right " +
    `after it was learned, all learned topics at the end.${protocols.length > 0 ? ` ${escape(protocols.join("; "))}.` : ""}` +
    `</p><div class="tables">${tables.map((table) => `<div>${table}</div>`).join("")}</div></section>`
  );
}

/** What the base knew before, over the stream. */
export function probesSection(groups: readonly Group[]): string {
  const names = new Set(groups.flatMap(({ runs }) => runs.flatMap(({ result }) => Object.keys(result.probes ?? {}))));
  if (names.size === 0) return "";
  const show = (value: number) => formatScore(value);
  const { topics } = groups[0].matrix;
  const tables = [...names].map((name) => {
    const found = groups.flatMap(({ runs }) => runs.flatMap(({ result }) => result.probes?.[name] ?? []));
    const rows = found.reduce((most, { after }) => Math.max(most, after.length), 0);
    const ratio = ({ result }: ReportRun): Cell => {
      const probe = result.probes?.[name];
      const last = probe?.after.at(-1) ?? null;
      return !probe || probe.before === null || probe.before === 0 || last === null ? null : last / probe.before;
    };
    return numbers(
      [
        "method",
        "before",
        ...Array.from({ length: rows }, (_, i) => `after ${short(topics[i] ?? String(i))}`),
        "end / before",
      ],
      groups.map(({ label, runs }) => {
        const cell = (pick: (run: ReportRun) => Cell) => intervalCell(interval95(runs.map(pick)), show);
        return {
          name: short(label),
          cells: [
            cell(({ result }) => result.probes?.[name]?.before ?? null),
            ...Array.from({ length: rows }, (_, i) => cell(({ result }) => result.probes?.[name]?.after[i] ?? null)),
            cell(ratio),
          ],
        };
      }),
      `${escape(name)}: ${escape(found[0].unit)}, ${directionText(found[0].direction)}`,
    );
  });
  return (
    `<section><h2>What the base knew before</h2><p class="soft">Measured before the first topic and after every ` +
    "topic: " +
    `nothing of it is taught again.</p>${tables.join("")}</section>`
  );
}
