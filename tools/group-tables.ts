/** Tables of results whose files have names: `mode-mac.json` is the row "mac" of the group `mode-`. */
import { formatScore } from "../src/eval/format.ts";
import { type EvalResult, markdown, spread } from "./markdown-tables.ts";

/** Results by the names of their files. */
export type NamedResults = Readonly<Record<string, EvalResult>>;

export interface Group {
  /** What its files begin with; the rest is the row's name. */
  readonly prefix: string;
  /** Names of scores. */
  readonly scores: readonly string[];
  /** Digits after the point. */
  readonly digits?: number;
}

/** More columns of a group, as text; one that says nothing in any row is left out. */
export type Extra = Readonly<Record<string, (result: EvalResult, row: string) => string>>;

export const absent = "–";

/** Rows of a group with their names, in order of names and the numbers in them. */
export const rowsOf = (prefix: string, results: NamedResults): { row: string; result: EvalResult }[] =>
  Object.keys(results)
    .filter((name) => name.startsWith(prefix))
    .toSorted((a, b) => a.localeCompare(b, "en", { numeric: true }))
    .map((name) => ({ row: name.slice(prefix.length), result: results[name] }));

export const scoreOf = ({ metrics, intervals }: EvalResult, score: string, digits = 3): string =>
  spread(metrics[score] ?? null, intervals[score] ?? null, (value) => formatScore(value, digits));

/** A row for each file of a group; null where there is none. */
export function groupTable({ prefix, scores, digits }: Group, results: NamedResults, extra: Extra = {}): string | null {
  const rows = rowsOf(prefix, results);
  const shown = scores.filter((score) => rows.some(({ result }) => (result.metrics[score] ?? null) !== null));
  if (shown.length === 0) return null;
  const more = Object.entries(extra).filter(([, of]) => rows.some(({ row, result }) => of(result, row) !== absent));
  return markdown(
    ["", "seeds", ...shown, ...more.map(([title]) => title)],
    rows.map(({ row, result }) => [
      row.replaceAll("-", " "),
      String(result.seeds.length),
      ...shown.map((score) => scoreOf(result, score, digits)),
      ...more.map(([, of]) => of(result, row)),
    ]),
  );
}
