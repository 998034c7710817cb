/** Numbers, durations and names as people read them: the same in the terminal and in the report. */
import type { Cell, Direction } from "./metrics.ts";

/** A score with fixed digits; null as a dash, and never "-0.00". */
export function formatScore(value: Cell, digits = 3): string {
  if (value === null || !Number.isFinite(value)) return "–";
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text;
}

/** A difference with its sign. */
export function formatChange(value: Cell, digits = 3): string {
  const text = formatScore(value, digits);
  return value !== null && Number(text) > 0 ? `+${text}` : text;
}

/** A share from 0 to 1 as "43 %"; what rounds to nothing has no sign. */
export const formatPercent = (share: number, digits = 0): string =>
  `${(100 * share).toFixed(digits).replace(/^-(0(?:\.0*)?)$/, "$1")} %`;

/** Seconds as "0.42 s", "12.3 s", "4 min 05 s" or "2 h 03 min". */
export function formatSeconds(seconds: number): string {
  if (seconds < 9.995) return `${seconds.toFixed(2)} s`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const two = (n: number) => String(n).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}

/** Bytes in decimal units, as disks and memory are sold. */
export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  let value = bytes;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toPrecision(3)} ${units[unit]}`;
}

/** Digits in groups of three. */
export const formatCount = (count: number): string => String(count).replace(/\B(?=(\d{3})+(?!\d))/g, ",");

/** Characters that take two columns in a terminal. */
const wide =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u;
const columnsOf = (character: string): number => (wide.test(character) ? 2 : /\p{Mn}/u.test(character) ? 0 : 1);

/** Columns that a text takes in a terminal. */
export const displayWidth = (text: string): number =>
  [...text].reduce((sum, character) => sum + columnsOf(character), 0);

/** Spaces before (`side` "start") or behind a text, up to `width` columns. */
export function pad(text: string, width: number, side: "start" | "end"): string {
  const spaces = " ".repeat(Math.max(0, width - displayWidth(text)));
  return side === "start" ? spaces + text : text + spaces;
}

/** A name of at most `width` columns; the middle is cut because both ends tell files apart. */
export function truncate(name: string, width: number): string {
  const clean = name.replace(/[\p{Cc}\p{Cf}]/gu, "?");
  if (displayWidth(clean) <= width) return clean;
  const take = (characters: readonly string[], columns: number): string[] => {
    let used = 0;
    const end = characters.findIndex((character) => (used += columnsOf(character)) > columns);
    return characters.slice(0, end < 0 ? undefined : end);
  };
  const characters = [...clean];
  const head = take(characters, Math.ceil((width - 1) / 2));
  const tail = take(characters.slice(head.length).reverse(), Math.floor((width - 1) / 2)).reverse();
  return width < 1 ? "" : `${head.join("")}…${tail.join("")}`;
}

export const directionText = (direction: Direction): string => `${direction} is better`;

/** By how much `to` is better than `from` (negative: worse), whichever way the scores point. */
export function improvement(from: Cell, to: Cell, direction: Direction): Cell {
  if (from === null || to === null) return null;
  return direction === "higher" ? to - from : from - to;
}
