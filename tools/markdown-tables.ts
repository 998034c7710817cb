/** What tables of results are made of. */
import type { Cell } from "../src/eval/metrics.ts";

/** The last line of `mneme eval --json`, as far as tables need it. */
export interface EvalResult {
  readonly task: string;
  readonly method: string;
  readonly protocol: string;
  readonly seeds: readonly number[];
  readonly metrics: Readonly<Record<string, Cell>>;
  readonly intervals: Readonly<Record<string, Cell>>;
  readonly cost: Readonly<Record<string, Cell>>;
  /** R[i][j], and its row before learning. */
  readonly matrix?: { readonly R: readonly (readonly Cell[])[]; readonly baseline: readonly Cell[] | null };
}

export type Show = (value: number) => string;

/** "0.61 ± 0.24"; without the half where there is none, or nothing but rounding noise. */
export function spread(mean: Cell, half: Cell, show: Show): string {
  if (mean === null) return "–";
  const exact = half === null || half <= Math.abs(mean) * 1e-9;
  return exact ? show(mean) : `${show(mean)} ± ${show(half).replace("×", "")}`;
}

/** A Markdown table; the first column is text, the others are numbers. */
export function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), `|---|${"---:|".repeat(head.length - 1)}`, ...rows.map(line)].join("\n");
}
