/**
 * The report of one or more runs over the same stream: one HTML file without network, script or fonts.
 * A pure function from results to a string. Numbers stand in tables, so that nothing is told by colour alone.
 */
import {
  directionText,
  formatBytes,
  formatChange,
  formatCount,
  formatScore,
  formatSeconds,
  improvement,
  truncate,
} from "./format.ts";
import { forgettingSentence, learningSentence } from "./matrix-text.ts";
import { formulas } from "./metrics.ts";
import type { Cell, ScoreMatrix } from "./metrics.ts";
import { escape, pairs } from "./report-html.ts";
import { heat, style } from "./report-style.ts";
import { chartKeys, lineChart } from "./report-svg.ts";
import type { Series } from "./report-svg.ts";
import type { LossPoint, ReportRun, RunResult } from "./result.ts";

/** At most this many points are drawn of a loss curve. */
const drawnLosses = 240;

/** A topic's name as a table has room for it. */
const short = (name: string): string => escape(truncate(name, 28));

/** What a cell is compared with: its topic before learning, or its first known score where there is no baseline. */
function reference({ R, baseline }: ScoreMatrix, column: number): Cell {
  if (baseline) return baseline[column] ?? null;
  return R.map((row) => row[column]).find((cell) => cell !== null) ?? null;
}

/** Largest change of any cell, so that all heat maps of a report share one scale. */
function largestChange(runs: readonly ReportRun[]): number {
  const changes = runs.flatMap(({ result: { matrix } }) =>
    matrix.R.flatMap((row) =>
      row.map((cell, j) => Math.abs(improvement(reference(matrix, j), cell, matrix.direction) ?? 0)),
    ),
  );
  return changes.reduce((a, b) => Math.max(a, b), 0);
}

function heatMap(matrix: ScoreMatrix, scale: number): string {
  const { R, baseline, direction, unit, topics } = matrix;
  const middle = (heat.light.length - 1) / 2;
  const cell = (value: Cell, column: number, row: number): string => {
    if (value === null) return `<td class="h${middle}">–</td>`;
    const from = reference(matrix, column);
    const better = improvement(from, value, direction) ?? 0;
    const step = middle + (scale > 0 ? Math.round((better / scale) * middle) : 0);
    const learned = row === column ? " learned" : "";
    const change = row < 0 || from === null ? "" : `<small>${formatChange(value - from)}</small>`;
    return `<td class="h${step}${learned}">${formatScore(value)}${change}</td>`;
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
  return (
    `<figure><div class="scroll"><table class="heat"><thead><tr><td></td>${head}</tr></thead>` +
    `<tbody>${rows.join("")}</tbody></table></div>` +
    `<div class="legend"><i>worse by ${end}</i><b>${legend}</b><i>better by ${end}</i></div>` +
    `<figcaption>R[i][j]: ${escape(unit)} of each column's topic after learning each row's topic; ` +
    `<strong>${directionText(direction)}</strong>. Small numbers and colours: change against ${compared}. ` +
    `Framed: the topic that was just learned.</figcaption></figure>`
  );
}

function scoreCurves({ R, baseline, direction, unit, topics }: ScoreMatrix): string {
  const rows = baseline ? [baseline, ...R] : R;
  const shift = baseline ? 1 : 0;
  const series: Series[] = topics.map((name, j) => ({
    name,
    points: rows.map((row, i) => (row[j] === null || row[j] === undefined ? null : { x: i, y: row[j] })),
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
    `the large marker is where it was learned.</figcaption></figure>`
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

function lossCurve(losses: readonly LossPoint[], topics: readonly string[]): string {
  const known = losses.filter(({ loss }) => Number.isFinite(loss));
  if (known.length === 0) return `<figure><figcaption>This method reported no training loss.</figcaption></figure>`;
  const size = Math.ceil(known.length / drawnLosses);
  const points = thinned(known, size);
  const bands = topics.flatMap((label, topic) => {
    const from = known.findIndex((point) => point.topic === topic);
    return from < 0 ? [] : [{ from, to: known.findLastIndex((point) => point.topic === topic) + 1, label }];
  });
  const chart = lineChart({
    label: "training loss over the steps of the stream",
    series: [
      {
        name: "training loss",
        points: points.flatMap((point, i) => (i > 0 && points[i - 1].topic !== point.topic ? [null, point] : [point])),
      },
    ],
    xTicks: [0, known.length].map((x) => ({ x, label: formatCount(x) })),
    yLabel: "training loss (nats per token)",
    bands,
  });
  const steps = `${formatCount(known.length)} steps`;
  return (
    `<figure>${chart}<figcaption>Training loss over the stream's ${steps}` +
    `${size > 1 ? `, each point the mean of ${size}` : ""}; bands are the topics in their order.</figcaption></figure>`
  );
}

interface Row {
  readonly name: string;
  readonly formula?: string;
  readonly value: (result: RunResult) => Cell;
  readonly show: (value: Cell) => string;
  /** Marks the best run; absent where small and large are both fine. */
  readonly better?: "higher" | "lower";
}

/** The table that compares the runs: a row per number with its formula, a column per run. */
function summary(runs: readonly ReportRun[]): string {
  const { direction, unit } = runs[0].result.matrix;
  const score = (value: Cell) => formatScore(value);
  const orDash = (show: (value: number) => string) => (value: Cell) => (value === null ? "–" : show(value));
  const rows: Row[] = [
    { name: "ACC", formula: formulas.acc, value: ({ metrics }) => metrics.acc, show: score, better: direction },
    { name: "BWT", formula: formulas.bwt, value: ({ metrics }) => metrics.bwt, show: formatChange, better: direction },
    {
      name: "Forgetting",
      formula: formulas.forgetting[direction],
      value: ({ metrics }) => metrics.forgetting,
      show: score,
      better: "lower",
    },
    { name: "FWT", formula: formulas.fwt, value: ({ metrics }) => metrics.fwt, show: formatChange, better: direction },
    { name: "Time to learn", value: ({ cost }) => cost.seconds, show: orDash(formatSeconds), better: "lower" },
    { name: "Tokens learned from", value: ({ cost }) => cost.tokens, show: orDash(formatCount) },
    { name: "Added to the model", value: ({ cost }) => cost.bytes, show: orDash(formatBytes), better: "lower" },
  ];
  const body = rows.map(({ name, formula, value, show, better }) => {
    const values = runs.map(({ result }) => value(result));
    const known = values.filter((one) => one !== null);
    const best = better === "higher" ? Math.max(...known) : Math.min(...known);
    const cells = values.map((one) => {
      const marked = better && runs.length > 1 && one === best && known.some((other) => other !== best);
      return `<td${marked ? ' class="best"' : ""}>${escape(show(one))}</td>`;
    });
    const note = formula ? `<span class="formula">${escape(formula)}</span>` : "";
    return `<tr><th scope="row">${name}${note}</th>${cells.join("")}</tr>`;
  });
  const head = runs.map(({ result }) => `<th scope="col">${escape(result.method)}</th>`).join("");
  const sign =
    direction === "lower"
      ? "Scores are better when lower: a positive BWT means that earlier topics got worse, a negative FWT is a gain."
      : "Scores are better when higher, so a negative BWT means that earlier topics got worse.";
  return (
    `<div class="scroll"><table class="numbers"><thead><tr><th scope="col">${escape(unit)}, ${directionText(direction)}` +
    `</th>${head}</tr></thead><tbody>${body.join("")}</tbody></table></div>` +
    `<p class="soft">T topics, R[i][j] the score of topic j after learning topic i, R[-1] before learning. ${sign}` +
    `${runs.length > 1 ? " ★ marks the best run of a row." : ""}</p>`
  );
}

function durations({ durations: { learn, evaluate, total }, matrix, metrics }: RunResult): string {
  const shift = evaluate.length > matrix.R.length ? 1 : 0;
  const shown = (value: number | undefined) => (value === undefined ? "–" : formatSeconds(value));
  const rows = matrix.R.map(
    (_, i) =>
      `<tr><th scope="row">${short(matrix.topics[i])}</th><td>${shown(learn[i])}</td>` +
      `<td>${shown(evaluate[i + shift])}</td><td>${formatScore(metrics.forgettingPerTopic[i] ?? null)}</td></tr>`,
  );
  const before = shift ? `; scoring before learning took ${formatSeconds(evaluate[0])}` : "";
  return (
    `<div class="scroll"><table class="numbers"><caption>Topics</caption><thead><tr><th scope="col">topic</th>` +
    `<th scope="col">learned in</th><th scope="col">row scored in</th><th scope="col">forgotten</th></tr></thead>` +
    `<tbody>${rows.join("")}</tbody></table></div><p class="soft">The run took ${formatSeconds(total)}${before}.</p>`
  );
}

function section({ result, losses }: ReportRun, scale: number): string {
  const { matrix } = result;
  const sentences = [learningSentence(matrix), forgettingSentence(matrix)].filter((text) => text !== "");
  return (
    `<section><h2>${escape(result.method)} on ${escape(result.model)}</h2>` +
    sentences.map((text) => `<p>${escape(text)}</p>`).join("") +
    heatMap(matrix, scale) +
    `<div class="charts">${scoreCurves(matrix)}${lossCurve(losses, matrix.topics)}</div>` +
    durations(result) +
    `<h3>Setup</h3><div class="setup">` +
    pairs("Configuration", { run: result.run, seeds: result.seeds, ...result.config }) +
    `<div>${pairs("Versions", result.versions)}${pairs("Machine", result.machine)}</div></div>` +
    `<details><summary>Raw result as JSON</summary><pre>${escape(JSON.stringify(result, null, 2))}</pre></details></section>`
  );
}

/** The whole page. All runs should share one task and its topics. */
export function reportHtml(runs: readonly ReportRun[], { title = "" }: { title?: string } = {}): string {
  const name = title || `What was learned and what was forgotten`;
  const models = [...new Set(runs.map(({ result }) => result.model))].join(", ");
  const finished =
    runs
      .map(({ result }) => result.finished)
      .sort()
      .at(-1) ?? "";
  const topics = runs[0]?.result.matrix.topics.length ?? 0;
  const scale = largestChange(runs);
  const when = finished.replace(/:\d\d\.\d+Z$/, " UTC").replace("T", " ");
  const about = `${models} · ${topics} ${topics === 1 ? "topic" : "topics"}, learned one after another · ${when}`;
  const body =
    runs.length === 0 ? "<p>No runs.</p>" : summary(runs) + runs.map((run) => section(run, scale)).join("\n");
  return (
    `<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n` +
    `<meta name="viewport" content="width=device-width, initial-scale=1">\n` +
    `<title>${escape(name)}</title>\n<style>\n${style}\n</style>\n</head>\n<body>\n` +
    `<header><h1>${escape(name)}</h1><p class="soft">${escape(about)}</p></header>\n<main>${body}</main>\n</body>\n</html>\n`
  );
}
