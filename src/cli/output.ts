/**
 * What a command says. People read text on stdout; with --json, stdout gets one JSON object at the end and nothing
 * else. Everything about progress goes to stderr, in either case.
 */
import { styleText } from "node:util";
import { displayWidth, pad } from "../eval/format.ts";

export type Style = "bold" | "dim" | "cyan" | "yellow" | "green" | "red";

export interface Output {
  readonly json: boolean;
  /** Does stdout take colours? */
  readonly colour: boolean;
  /** Is a person looking at stdout? */
  readonly terminal: boolean;
  /** Columns of stdout. */
  readonly width: number;
  /** A line for people. */
  print(line?: string): void;
  /** A piece of a line for people: streamed text. */
  write(text: string): void;
  /** The text in a style, where stdout takes colours. */
  style(style: Style, text: string): string;
  /** The result of the command: printed with --json only. */
  result(value: Readonly<Record<string, unknown>>): void;
}

interface Stream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** Colours are for terminals, unless NO_COLOR says no or FORCE_COLOR says yes (https://no-color.org). */
export function wantsColour(stream: Stream, env: Readonly<Record<string, string | undefined>> = process.env): boolean {
  if (env.NO_COLOR) return false;
  if (env.FORCE_COLOR !== undefined) return env.FORCE_COLOR !== "0";
  return stream.isTTY === true && env.TERM !== "dumb";
}

/** styleText that does not look at the environment: `wantsColour` has decided already. */
export const paint = (style: Style, text: string): string => styleText(style, text, { validateStream: false });

export function createOutput({
  json = false,
  stream = process.stdout,
}: {
  json?: boolean;
  stream?: Stream;
} = {}): Output {
  const colour = !json && wantsColour(stream);
  const write = (text: string): void => {
    if (!json) stream.write(text);
  };
  return {
    json,
    colour,
    terminal: stream.isTTY === true && !json,
    width: stream.columns ?? 80,
    print: (line = "") => write(`${line}\n`),
    write,
    style: (style, text) => (colour ? paint(style, text) : text),
    result(value) {
      if (json) stream.write(`${JSON.stringify(value)}\n`);
    },
  };
}

/** Rows as lines of aligned columns, the first row as heading; numbers to the right. */
export function table(
  rows: readonly (readonly string[])[],
  { right = [] }: { right?: readonly number[] } = {},
): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => displayWidth(row[column] ?? ""))));
  return rows.map((row) =>
    row
      .map((cell, column) => pad(cell, widths[column], right.includes(column) ? "start" : "end"))
      .join("  ")
      .trimEnd(),
  );
}

/** A text as lines of at most `width` columns, broken between words. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && displayWidth(last) + 1 + displayWidth(word) <= width)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** A word as a POSIX shell reads it. */
export const shellWord = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
