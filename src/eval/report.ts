/**
 * The report of one or more runs over the same stream: one HTML file without network, script or fonts.
 * A pure function from results to a string. Numbers stand in tables, so that nothing is told by colour alone.
 * Runs that differ in their seed only are put together; every part whose numbers are missing is left out.
 */
import { isDeepStrictEqual } from "node:util";
import { formatBytes, formatChange, formatScore, formatSeconds } from "./format.ts";
import { flattened, groupRuns } from "./report-groups.ts";
import type { Group } from "./report-groups.ts";
import { interval95 } from "./interval.ts";
import { forgettingSentence, learningSentence } from "./matrix-text.ts";
import type { Cell } from "./metrics.ts";
import { escape, htmlPage, numbers, pairs, short } from "./report-html.ts";
import { insidesSection } from "./report-layers.ts";
import { fadingCurves, heatMap, largestChange, lossCurve, scoreCurves } from "./report-matrix.ts";
import { memoryCurves } from "./report-memory.ts";
import { methodsSection, namedScores, probesSection } from "./report-methods.ts";
import { tradeoff } from "./report-tradeoff.ts";
import type { ReportRun } from "./result.ts";
import type { ColumnsOptions } from "./tables.ts";

export interface ReportOptions extends ColumnsOptions {
  title?: string;
  /** Lines about the choice of runs, such as one that was left out. */
  notes?: readonly string[];
}

/** Times and forgetting of each topic, means over the runs. */
function durations({ runs, matrix }: Group): string {
  const mean = (pick: (run: ReportRun) => Cell | undefined): Cell =>
    interval95(runs.map((run) => pick(run) ?? null))?.mean ?? null;
  const shown = (value: Cell) => `<td>${value === null ? "–" : formatSeconds(value)}</td>`;
  const shiftOf = ({ result }: ReportRun) => (result.durations.evaluate.length > result.matrix.R.length ? 1 : 0);
  const rewarded = runs.some(({ result }) => result.rewards);
  const heldAt = (i: number): string => {
    const bytes = mean(({ result }) => result.rewards?.[i]?.bytes);
    return `<td>${bytes === null ? "–" : formatBytes(Math.round(bytes))}</td>`;
  };
  const rewardAt = (i: number): string => {
    const reward = mean(({ result }) => result.rewards?.[i]?.reward);
    return `<td>${reward === null ? "–" : formatChange(reward)}</td>`;
  };
  const rows = matrix.R.map((_, i) => ({
    name: short(matrix.topics[i]),
    cells: [
      shown(mean(({ result }) => result.durations.learn[i])),
      shown(mean((run) => run.result.durations.evaluate[i + shiftOf(run)])),
      `<td>${formatScore(mean(({ result }) => result.metrics.forgettingPerTopic[i]))}</td>`,
      ...(rewarded ? [heldAt(i), rewardAt(i)] : []),
    ],
  }));
  const before = mean((run) => (shiftOf(run) ? run.result.durations.evaluate[0] : null));
  const scoring = before === null ? "" : `; scoring before learning took ${formatSeconds(before)}`;
  const total = formatSeconds(mean(({ result }) => result.durations.total) ?? 0);
  const took = runs.length > 1 ? `A run took ${total} in the mean of ${runs.length}` : `The run took ${total}`;
  return (
    numbers(
      ["topic", "learned in", "row scored in", "forgotten", ...(rewarded ? ["held after", "reward"] : [])],
      rows,
      "Topics",
    ) + `<p class="soft">${took}${scoring}.</p>`
  );
}

/** One record for several runs: what they share once, what differs as a list. */
function merged(records: readonly Readonly<Record<string, unknown>>[]): Record<string, unknown> {
  const maps = records.map((record) => new Map(flattened(record)));
  const keys = new Set(maps.flatMap((map) => [...map.keys()]));
  return Object.fromEntries(
    [...keys].map((key) => {
      const values = maps.map((map) => map.get(key));
      return [key, values.every((value) => isDeepStrictEqual(value, values[0])) ? values[0] : values.flat()];
    }),
  );
}

function section(group: Group, scale: number, id: string): string {
  const { label, runs, matrix } = group;
  const [{ result }] = runs;
  const sentences = [learningSentence(matrix), forgettingSentence(matrix)]
    .filter((text) => text !== "")
    // An arrow that no line break can tear.
    .map((text) => text.replaceAll("->", "→"));
  const raw = runs
    .map((run) => {
      const json = escape(JSON.stringify(run.result, null, 2));
      return `<details><summary>Raw result of ${escape(run.result.run)} as JSON</summary><pre>${json}</pre></details>`;
    })
    .join("");
  const configuration = merged(
    runs.map((run) => ({ run: run.result.run, seeds: run.result.seeds, ...run.result.config })),
  );
  return (
    `<section id="${id}"><h2>${escape(label)} on ${escape(result.model)}</h2>` +
    sentences.map((text) => `<p>${escape(text)}</p>`).join("") +
    heatMap(group, scale) +
    `<div class="charts">${scoreCurves(group)}${lossCurve(group)}${memoryCurves(group)}</div>` +
    durations(group) +
    `<h3>Setup</h3><div class="setup">` +
    pairs("Configuration", configuration) +
    `<div>${pairs("Versions", merged(runs.map((run) => run.result.versions)))}` +
    `${pairs("Machine", merged(runs.map((run) => run.result.machine)))}</div></div>${raw}</section>`
  );
}

const plural = (count: number, one: string): string => `${count} ${one}${count === 1 ? "" : "s"}`;

/** Everything below the title. */
function body(runs: readonly ReportRun[], options: ReportOptions): string {
  const groups = groupRuns(runs);
  const scale = largestChange(groups.map(({ matrix }) => matrix));
  const links = groups.map(({ label }, i) => `<li><a href="#m${i}">${escape(label)}</a></li>`).join("");
  const balance = tradeoff(groups);
  const pictures = groups.length > 1 ? balance + fadingCurves(groups) : balance;
  const heading = balance === "" ? "What was kept" : "Kept against learned";
  return (
    methodsSection(runs, groups, options) +
    (pictures === "" ? "" : `<section><h2>${heading}</h2><div class="charts">${pictures}</div></section>`) +
    namedScores(groups) +
    probesSection(groups) +
    insidesSection(groups) +
    (groups.length > 1 ? `<nav aria-label="methods"><ul class="keys">${links}</ul></nav>` : "") +
    groups.map((group, i) => section(group, scale, `m${i}`)).join("\n")
  );
}

/** The whole page. All runs should share one task and its topics; CER is relative to the method named `reference`. */
export function reportHtml(runs: readonly ReportRun[], options: ReportOptions = {}): string {
  const name = options.title || "What was learned and what was forgotten";
  const unique = (values: readonly string[]) => [...new Set(values)].filter((value) => value).join(", ");
  const models = unique(runs.map(({ result }) => result.model));
  const finished =
    runs
      .map(({ result }) => result.finished)
      .sort()
      .at(-1) ?? "";
  const topics = runs[0]?.result.matrix.topics.length ?? 0;
  const when = finished.replace(/:\d\d\.\d+Z$/, " UTC").replace("T", " ");
  const about = [
    models,
    unique(runs.map(({ result }) => result.task)),
    `${plural(topics, "topic")}, learned one after another`,
    ...(runs.length > 1 ? [plural(runs.length, "run")] : []),
    when,
  ].join(" · ");
  const protocol = unique(runs.map(({ result }) => result.protocol ?? ""));
  return htmlPage({
    title: name,
    header:
      `<h1>${escape(name)}</h1><p class="soft">${escape(about)}</p>` +
      `${protocol === "" ? "" : `<p><strong>Protocol:</strong> ${escape(protocol)}</p>`}` +
      (options.notes ?? []).map((note) => `<p class="soft">${escape(note)}</p>`).join(""),
    main: runs.length === 0 ? "<p>No runs.</p>" : body(runs, options),
  });
}
