/** Charts of what methods tell of themselves, by step of a fit or of a stream: a chart by its name, its lines by theirs. */
import type { Figures } from "../methods/method.ts";
import { formatCount } from "./format.ts";
import { escape } from "./report-html.ts";
import { pointOf, spreadNote } from "./report-matrix.ts";
import { type Chart, chartKeys, lineChart, niceTicks, type Series } from "./report-svg.ts";

export interface FigureStep {
  readonly x: number;
  readonly figures: Figures;
}

/** A chart for each name that the steps of one or more runs have, with a line for each of its lines: means over the runs. */
export function figureCharts(
  runs: readonly (readonly FigureStep[])[],
  { xTicks, caption, markers = false }: Pick<Chart, "xTicks" | "markers"> & { readonly caption: string },
): string {
  const steps = runs.flat();
  const places = [...new Set(steps.map(({ x }) => x))].sort((a, b) => a - b);
  const charts = [...new Set(steps.flatMap(({ figures }) => Object.keys(figures)))];
  return charts
    .map((name) => {
      const lines = [...new Set(steps.flatMap(({ figures }) => Object.keys(figures[name] ?? {})))];
      const series: Series[] = lines.map((line) => ({
        name: line,
        points: places.map((x) =>
          pointOf(
            x,
            runs.map((run) => run.find((step) => step.x === x)?.figures[name]?.[line]),
          ),
        ),
      }));
      const chart = lineChart({ label: `${name} ${caption}`, series, xTicks, yLabel: name, markers });
      return (
        `<figure>${chart}${chartKeys(series, markers)}` +
        `<figcaption>${escape(`${name[0].toUpperCase()}${name.slice(1)} ${caption}`)}.${spreadNote(runs.length)}</figcaption></figure>`
      );
    })
    .join("");
}

/** Round step numbers up to the last. */
export const stepTicks = (last: number): Chart["xTicks"] =>
  niceTicks(0, last)
    .filter((x) => x <= last)
    .map((x) => ({ x, label: formatCount(x) }));
