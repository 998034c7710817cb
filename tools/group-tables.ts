/** Tables of results whose files have names: `mode-mac.json` is the row "mac" of the group `mode-`. */
import { formatCount, formatScore } from "../src/eval/format.ts";
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
  /** Rows that are shown, where others would repeat them. */
  readonly only?: readonly string[];
}

/** How rows are called, and in which order they stand; by default as their files. */
export interface Naming {
  titleOf(row: string): string;
  compare(a: string, b: string): number;
}

/** More columns of a group, as text; one that says nothing in any row is left out. */
export type Extra = Readonly<Record<string, (result: EvalResult, row: string) => string>>;

export const absent = "–";

const plain: Naming = {
  titleOf: (row) => row.replaceAll("-", " "),
  compare: (a, b) => a.localeCompare(b, "en", { numeric: true }),
};

/** Rows of a group with their names, in order of names and the numbers in them. */
export const rowsOf = (
  prefix: string,
  results: NamedResults,
  { compare }: Naming = plain,
): { row: string; result: EvalResult }[] =>
  Object.keys(results)
    .filter((name) => name.startsWith(prefix))
    .map((name) => ({ row: name.slice(prefix.length), result: results[name] }))
    .toSorted((a, b) => compare(a.row, b.row));

/** Perplexities of nonsense are large. */
const shown = (value: number, digits: number): string =>
  Math.abs(value) >= 1000 ? formatCount(Math.round(value)) : formatScore(value, digits);

export const scoreOf = ({ metrics, intervals }: EvalResult, score: string, digits = 3): string =>
  spread(metrics[score] ?? null, intervals[score] ?? null, (value) => shown(value, digits));

/** A row for each file of a group; null where there is none. */
export function groupTable(
  { prefix, scores, digits, only }: Group,
  results: NamedResults,
  { extra = {}, naming = plain }: { extra?: Extra; naming?: Naming } = {},
): string | null {
  const rows = rowsOf(prefix, results, naming).filter(({ row }) => only?.includes(row) ?? true);
  const found = scores.filter((score) => rows.some(({ result }) => (result.metrics[score] ?? null) !== null));
  if (found.length === 0) return null;
  const more = Object.entries(extra).filter(([, of]) => rows.some(({ row, result }) => of(result, row) !== absent));
  return markdown(
    ["", "seeds", ...found, ...more.map(([title]) => title)],
    rows.map(({ row, result }) => [
      naming.titleOf(row),
      String(result.seeds.length),
      ...found.map((score) => scoreOf(result, score, digits)),
      ...more.map(([, of]) => of(result, row)),
    ]),
  );
}
