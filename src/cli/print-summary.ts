/** The means of a run over its seeds, for people. */
import { formatBytes, formatChange, formatCount, formatScore, formatSeconds } from "../eval/format.ts";
import { forgettingSentence, learningSentence, renderMatrix } from "../eval/matrix-text.ts";
import type { Summary } from "../runs/summary.ts";
import { wrap } from "./output.ts";
import type { Session } from "./session.ts";

/** Numbers under their plain names, a few in a line. */
function printNumbers({ output }: Session, summary: Summary): void {
  const { print, style, width } = output;
  const parts = Object.entries(summary.metrics).flatMap(([name, value]) => {
    if (value === null) return [];
    const half = summary.intervals[name];
    const spread = half === null || half === undefined ? "" : ` ± ${formatScore(half)}`;
    const shown = name === "bwt" || name === "fwt" ? formatChange(value) : formatScore(value);
    return [`${name} ${shown}${spread}`];
  });
  // Blanks that do not break keep a name with its number, and numbers three apart
  const words = parts.map((part) => `${part}  `.replaceAll(" ", "\u00a0")).join(" ");
  for (const line of wrap(words, width)) print(line.replaceAll("\u00a0", " ").trimEnd());
  const { seconds, tokens, bytes } = summary.cost;
  const costs = `learned in ${formatSeconds(seconds ?? 0)} from ${formatCount(Math.round(tokens ?? 0))} tokens; holds ${formatBytes(Math.round(bytes ?? 0))} of its own`;
  print(style("dim", costs));
}

export function printSummary(session: Session, summary: Summary): void {
  const { print, style, colour, width } = session.output;
  const { run, task, method, model, seeds, matrix, protocol } = summary;
  print(
    `${style("bold", run)}  ${method} on ${task}, ${model}, ${seeds.length === 1 ? "seed" : "seeds"} ` +
      `${seeds.join(", ")}`,
  );
  for (const line of wrap(protocol, width)) print(style("dim", line));
  print();
  print(renderMatrix(matrix, { colour, width }));
  print();
  for (const sentence of [learningSentence(matrix), forgettingSentence(matrix)])
    if (sentence !== "") for (const line of wrap(sentence, width)) print(line);
  printNumbers(session, summary);
}
