/** The score matrix in the report: heat map, curves of each topic over the stream, the training loss behind it. */
import { directionText, formatChange, formatCount, formatScore, improvement } from "./format.ts";
import type { Group } from "./report-groups.ts";
import { type Cell, meanOfKnown, type ScoreMatrix } from "./metrics.ts";
import { escape, short } from "./report-html.ts";
import { heat } from "./report-style.ts";
import { chartKeys, lineChart } from "./report-svg.ts";
import type { ChartPoint, Series } from "./report-svg.ts";
import type { LossPoint, ReportRun } from "./result.ts";

/** At most this many points are drawn of a loss curve. */
const drawnLosses = 240;

/** What a cell is compared with: its topic before learning, or its first known score where there is no baseline. */
function reference({ R, baseline }: ScoreMatrix, column: number): Cell {
  if (baseline) return baseline[column] ?? null;
  return R.map((row) => row[column]).find((cell) => cell !== null) ?? null;
}

/** Largest change of any cell, so that all heat maps of a report share one scale. */
export function largestChange(matrices: readonly ScoreMatrix[]): number {
  const changes = matrices.flatMap((matrix) =>
    matrix.R.flatMap((row) =>
      row.map((cell, j) => Math.abs(improvement(reference(matrix, j), cell, matrix.direction) ?? 0)),
    ),
  );
  return changes.reduce((a, b) => Math.max(a, b), 0);
}

export function heatMap({ matrix, deviation, runs }: Group, scale: number): string {
  const { R, baseline, direction, unit, topics } = matrix;
  const middle = (heat.light.length - 1) / 2;
  const cell = (value: Cell, column: number, row: number): string => {
    if (value === null) return `<td class="h${middle}">–</td>`;
    const from = reference(matrix, column);
    const better = improvement(from, value, direction) ?? 0;
    const step = middle + (scale > 0 ? Math.round((better / scale) * middle) : 0);
    const learned = row === column ? " learned" : "";
    const spread = row < 0 ? null : (deviation?.[row]?.[column] ?? null);
    const change = row < 0 || from === null ? "" : formatChange(value - from);
    const small = spread === null ? change : `±${formatScore(spread)}`;
    return `<td class="h${step}${learned}">${formatScore(value)}${small === "" ? "" : `<small>${small}</small>`}</td>`;
  };
  const line = (label: string, cells: readonly Cell[], row: number): string =>
    `<tr><th scope="row">${label}</th>${topics.map((_, j) => cell(cells[j] ?? null, j, row)).join("")}</tr>`;
  const rows = [
    ...(baseline ? [line("before learning", baseline, -1)] : []),
    ...R.map((cells, i) => line(`after ${short(topics[i])}`, cells, i)),
  ];
  const head = topics.map((name) => `<th scope="col" title="${escape(name)}">${short(name)}</th>`).join("");
  const legend = heat.light.map((_, i) => `<span class="h${i}"></span>`).join("");
  const compared = baseline ? "before learning" : "its first score";
  const end = `${formatScore(scale)} ${escape(unit)}`;
  const small = deviation
    ? `Means of ${runs.length} runs, small: their standard deviation. Colours: change against ${compared}.`
    : `Small numbers and colours: change against ${compared}.`;
  return (
    `<figure><div class="scroll"><table class="heat"><thead><tr><td></td>${head}</tr></thead>` +
    `<tbody>${rows.join("")}</tbody></table></div>` +
    `<div class="legend"><i>worse by ${end}</i><b>${legend}</b><i>better by ${end}</i></div>` +
    `<figcaption>R[i][j]: ${escape(unit)} of each column's topic after learning each row's topic; ` +
    `<strong>${directionText(direction)}</strong>. ${small} Framed: the topic that was just ` +
    "learned.</figcaption></figure>"
  );
}

/** Mean of the known values with their ends, or null without any. */
export function pointOf(x: number, values: readonly (Cell | undefined)[]): ChartPoint | null {
  const known = values.filter((value) => value !== null && value !== undefined);
  if (known.length === 0) return null;
  const y = known.reduce((a, b) => a + b, 0) / known.length;
  if (known.length === 1) return { x, y };
  return { x, y, low: known.reduce((a, b) => Math.min(a, b)), high: known.reduce((a, b) => Math.max(a, b)) };
}

export const spreadNote = (runs: number): string =>
  runs > 1 ? ` Lines are means of ${runs} runs, shades reach from the lowest to the highest.` : "";

/** A line per topic over the stream. */
export function scoreCurves({ matrix, runs }: Group): string {
  const { R, baseline, direction, unit, topics } = matrix;
  const all = runs.map(({ result }) =>
    baseline ? [result.matrix.baseline ?? [], ...result.matrix.R] : result.matrix.R,
  );
  const shift = baseline ? 1 : 0;
  const series: Series[] = topics.map((name, j) => ({
    name,
    points: Array.from({ length: R.length + shift }, (_, i) =>
      pointOf(
        i,
        all.map((rows) => rows[i]?.[j]),
      ),
    ),
    emphasis: j + shift,
  }));
  const labels = [...(baseline ? ["before"] : []), ...topics.slice(0, R.length)];
  const chart = lineChart({
    label: `${unit} of each topic over the stream`,
    series,
    xTicks: labels.map((label, x) => ({ x, label })),
    yLabel: `${unit} (${directionText(direction)})`,
    markers: true,
  });
  return (
    `<figure>${chart}${chartKeys(series)}<figcaption>Score of each topic over the stream; ` +
    `the large marker is where it was learned.${spreadNote(runs.length)}</figcaption></figure>`
  );
}

/**
 * How a topic fades, methods beside each other: mean over topics of R[j+t][j], t topics after it was learned. Scores
 * such as bits per byte differ more between topics than over time, so "lower" ones are shown as R[j+t][j] - R[j][j].
 */
export function fadingCurves(groups: readonly Group[]): string {
  const { direction, unit, R } = groups[0].matrix;
  if (R.length < 2) return "";
  /** Mean over the topics that have become t topics old in one run. */
  const faded = ({ result }: ReportRun, t: number): Cell => {
    const { R: own } = result.matrix;
    return meanOfKnown(
      own.slice(t).map((row, j) => {
        const [now, then] = [row[j], direction === "higher" ? 0 : own[j][j]];
        return now === null || then === null ? null : now - then;
      }),
    );
  };
  const series: Series[] = groups.map(({ label, matrix, runs }) => ({
    name: label,
    points: matrix.R.map((_, t) =>
      pointOf(
        t,
        runs.map((run) => faded(run, t)),
      ),
    ),
  }));
  const chart = lineChart({
    label: `${unit} by the number of topics learned since`,
    series,
    xTicks: R.map((_, t) => ({ x: t, label: String(t) })),
    yLabel: `${direction === "higher" ? unit : `change in ${unit}`} (${directionText(direction)})`,
    markers: true,
  });
  const most = groups.reduce((count, { runs }) => Math.max(count, runs.length), 0);
  const what = direction === "higher" ? "its score" : "the change of its score";
  return (
    `<figure>${chart}${chartKeys(series)}<figcaption>How a topic fades: ${what} by the number of topics learned ` +
    "since (0: just learned), " +
    `mean over the topics that became that old.${spreadNote(most)}</figcaption></figure>`
  );
}

/** Means of groups of `size` neighbouring steps of one topic. */
function thinned(losses: readonly LossPoint[], size: number): { x: number; y: number; topic: number }[] {
  const points: { x: number; y: number; topic: number }[] = [];
  for (let start = 0; start < losses.length; ) {
    const { topic } = losses[start];
    let end = start;
    let sum = 0;
    while (end < losses.length && end < start + size && losses[end].topic === topic) sum += losses[end++].loss;
    points.push({ x: (start + end - 1) / 2, y: sum / (end - start), topic });
    start = end;
  }
  return points;
}

/** The training loss over all steps, a line per run, with the topics as bands. */
export function lossCurve({ runs, matrix: { topics } }: Group): string {
  const all = runs.flatMap(({ result, losses }) => {
    const known = losses.filter(({ loss }) => Number.isFinite(loss));
    return known.length === 0 ? [] : [{ name: `seed ${result.seeds.join(" ")}`, known }];
  });
  if (all.length === 0) return `<figure><figcaption>This method reported no training loss.</figcaption></figure>`;
  const longest = all.reduce((a, b) => (b.known.length > a.known.length ? b : a)).known;
  const size = Math.ceil(longest.length / drawnLosses);
  const bands = topics.flatMap((label, topic) => {
    const from = longest.findIndex((point) => point.topic === topic);
    return from < 0 ? [] : [{ from, to: longest.findLastIndex((point) => point.topic === topic) + 1, label }];
  });
  const series: Series[] = all.map(({ name, known }) => {
    const points = thinned(known, size);
    const broken = points.flatMap((point, i) =>
      i > 0 && points[i - 1].topic !== point.topic ? [null, point] : [point],
    );
    return { name: runs.length > 1 ? name : "training loss", points: broken };
  });
  const chart = lineChart({
    label: "training loss over the steps of the stream",
    series,
    xTicks: [0, longest.length].map((x) => ({ x, label: formatCount(x) })),
    yLabel: "training loss (nats per token)",
    bands,
  });
  const steps = `${formatCount(longest.length)} steps`;
  return (
    `<figure>${chart}${series.length > 1 ? chartKeys(series, false) : ""}` +
    `<figcaption>Training loss over the stream's ${steps}` +
    `${size > 1 ? `, each point the mean of ${size}` : ""}; bands are the topics in their order.</figcaption></figure>`
  );
}
