/**
 * A score matrix for the terminal, and what it means in one sentence.
 * Colours compare a cell with the others of its column: texts differ in difficulty, so only columns compare.
 */
import { styleText } from "node:util";
import { directionText, displayWidth, formatScore, improvement, pad, truncate } from "./format.ts";
import type { Cell, ScoreMatrix } from "./metrics.ts";

export interface MatrixTextOptions {
  /** Write escape sequences for colour. */
  colour?: boolean;
  /** Columns of the terminal. */
  width?: number;
  digits?: number;
}

type Style = "bold" | "dim" | "cyan" | "yellow";

/** styleText that does not look at the environment: the argument `colour` has decided already. */
const paint = (styles: readonly Style[], text: string): string =>
  styles.reduce((painted, style) => styleText(style, painted, { validateStream: false }), text);

/** Best cells of a column cyan, worst ones yellow (told apart with every kind of colour blindness), the rest plain. */
function styleOf(value: Cell, column: readonly Cell[], direction: ScoreMatrix["direction"]): Style[] {
  const known = column.filter((cell) => cell !== null);
  if (value === null) return ["dim"];
  const low = Math.min(...known);
  const high = Math.max(...known);
  if (high - low < 1e-9) return [];
  const goodness = direction === "higher" ? (value - low) / (high - low) : (high - value) / (high - low);
  return goodness > 2 / 3 ? ["cyan"] : goodness < 1 / 3 ? ["yellow"] : [];
}

/**
 * The matrix as lines of text: a row per learned topic (and one before learning), a column per topic,
 * [brackets] around the score of the topic that was just learned. Columns that do not fit are wrapped below.
 */
export function renderMatrix(
  { R, baseline, direction, unit, topics }: ScoreMatrix,
  { colour = false, width = 80, digits = 2 }: MatrixTextOptions = {},
): string {
  const put = (styles: readonly Style[], text: string) => (colour ? paint(styles, text) : text);
  const rows = [
    ...(baseline ? [{ label: "before learning", cells: baseline, learned: -1 }] : []),
    ...R.map((cells, i) => ({ label: `after ${topics[i]}`, cells, learned: i })),
  ];
  const longestLabel = Math.max(4, ...rows.map(({ label }) => displayWidth(label)));
  const labelWidth = Math.min(longestLabel, Math.max(12, Math.floor(width / 3)));
  const longest = Math.max(3, ...rows.flatMap(({ cells }) => cells.map((cell) => formatScore(cell, digits).length)));
  const namesWidth = Math.max(...topics.map(displayWidth));
  const columnWidth = Math.max(longest + 2, Math.min(namesWidth, 16));
  const perBlock = Math.max(1, Math.floor((width - labelWidth) / (columnWidth + 1)));

  const lines = [put(["bold"], `${unit}, ${directionText(direction)}`) + "; [x] = just learned"];
  for (let start = 0; start < topics.length; start += perBlock) {
    const block = topics.slice(start, start + perBlock);
    const head = block.map((name) => put(["bold"], pad(truncate(name, columnWidth), columnWidth, "start")));
    lines.push([" ".repeat(labelWidth), ...head].join(" ").trimEnd());
    for (const { label, cells, learned } of rows) {
      const shown = block.map((_, i) => {
        const column = start + i;
        const value = cells[column] ?? null;
        const number = formatScore(value, digits);
        const text = column === learned ? `[${number}]` : `${number} `;
        const styles = styleOf(
          value,
          rows.map((row) => row.cells[column] ?? null),
          direction,
        );
        return put(column === learned ? [...styles, "bold"] : styles, pad(text, columnWidth, "start"));
      });
      lines.push([pad(truncate(label, labelWidth), labelWidth, "end"), ...shown].join(" ").trimEnd());
    }
  }
  return lines.join("\n");
}

/**
 * Of "share (exactMatch)" the words "exact match", of "share of exact answers" "exact answers"; undefined for no
 * share.
 */
function shareOf(unit: string): string | undefined {
  const [found, name = ""] = /^share(?: \((.+)\)| of (.+))?$/.exec(unit)?.filter((part) => part !== undefined) ?? [];
  return found === undefined ? undefined : name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

/**
 * One change in words: "a.txt got worse by 0.21 bits per byte (1.80 -> 2.01)", and of a share
 * "sport got better by 40 points (exact match 0 % -> 40 %)".
 */
function change(
  name: string,
  from: Cell,
  to: Cell,
  { direction, unit }: ScoreMatrix,
  digits: number,
): string | undefined {
  const better = improvement(from, to, direction);
  if (better === null) return undefined;
  const share = shareOf(unit);
  const shown = (value: Cell): string =>
    share === undefined || value === null ? formatScore(value, digits) : formatScore(100 * value, digits - 2);
  const sign = share === undefined ? "" : " %";
  const what = share === undefined || share === "" ? "" : `${share} `;
  const numbers = `(${what}${shown(from)}${sign} -> ${shown(to)}${sign})`;
  const size = shown(Math.abs(better));
  if (Number(size) === 0) return `${name} stayed the same ${numbers}`;
  const points = size === "1" ? "point" : "points";
  return `${name} got ${better > 0 ? "better" : "worse"} by ${size} ${share === undefined ? unit : points} ${numbers}`;
}

/**
 * What was forgotten at the end of the stream, in one sentence: each earlier topic's best score up to then
 * against its score now, the numbers behind `forgetting`. Empty before the second topic.
 */
export function forgettingSentence(matrix: ScoreMatrix, { digits = 2 }: { digits?: number } = {}): string {
  const { R, topics, direction } = matrix;
  if (R.length < 2) return "";
  const last = R[R.length - 1];
  const parts = topics.slice(0, R.length - 1).flatMap((name, j) => {
    const before = R.slice(0, -1).flatMap((row) => (row[j] === null ? [] : [row[j]]));
    const best = before.length === 0 ? null : direction === "higher" ? Math.max(...before) : Math.min(...before);
    return change(name, best, last[j], matrix, digits) ?? [];
  });
  return parts.length === 0 ? "" : `After learning ${topics[R.length - 1]}, ${parts.join("; ")}.`;
}

/** What learning brought, in one sentence: each topic's score before anything was learned against right after it. */
export function learningSentence(matrix: ScoreMatrix, { digits = 2 }: { digits?: number } = {}): string {
  const { R, baseline, topics } = matrix;
  if (!baseline || R.length === 0) return "";
  const parts = R.flatMap((row, j) => change(topics[j], baseline[j], row[j], matrix, digits) ?? []);
  return parts.length === 0 ? "" : `When each was learned, ${parts.join("; ")}.`;
}
