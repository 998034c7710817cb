/**
 * What learning does inside the model, for the report: drift of hidden states and spread of attention by layer, and
 * how fast scores decay. Methods that cannot be looked into are missing from the charts and named below them.
 */
import { decayFormula } from "./decay.ts";
import { formatScore } from "./format.ts";
import type { Group } from "./report-groups.ts";
import { interval95 } from "./interval.ts";
import type { Interval } from "./interval.ts";
import { type Cell, meanOfKnown } from "./metrics.ts";
import { escape, formulaList, numbers, short } from "./report-html.ts";
import { pointOf, spreadNote } from "./report-matrix.ts";
import { chartKeys, lineChart } from "./report-svg.ts";
import type { Series } from "./report-svg.ts";
import type { ReportRun } from "./result.ts";
import { representationFormulas } from "./representation.ts";
import { signColumns } from "./signs.ts";
import { intervalOf } from "./tables.ts";

const insidesOf = ({ result }: ReportRun) => result.diagnostics?.insides ?? null;

/** Cell with a mean and, below it, half of its 95% interval. */
export function intervalCell(interval: Interval | null, show: (value: number) => string, mark = false): string {
  if (!interval) return "<td>–</td>";
  const { mean, half } = interval;
  // Equal values differ by rounding noise at most.
  const exact = half === null || half <= Math.abs(mean) * 1e-9;
  const small = exact ? "" : `<small>±${escape(show(half).replace(/^[+×]/, ""))}</small>`;
  return `<td${mark ? ' class="best"' : ""}>${escape(show(mean))}${small}</td>`;
}

/** One chart over layers with a line per method. */
function layerChart(
  groups: readonly (readonly [Group, number])[],
  {
    label,
    yLabel,
    caption,
    first = 0,
    pick,
  }: {
    label: string;
    yLabel: string;
    caption: string;
    /** Number of the first layer. */
    first?: number;
    /** One value per layer. */
    pick: (run: ReportRun) => readonly Cell[];
  },
): string {
  const series: Series[] = groups.map(([{ label: name, runs }, look]) => {
    const all = runs.map(pick);
    const layers = all.reduce((most, values) => Math.max(most, values.length), 0);
    const points = Array.from({ length: layers }, (_, layer) =>
      pointOf(
        layer + first,
        all.map((values) => values[layer]),
      ),
    );
    return { name, points, look };
  });
  const layers = series.reduce((most, { points }) => Math.max(most, points.length), 0);
  if (layers === 0) return "";
  const chart = lineChart({
    label,
    series,
    xTicks: Array.from({ length: layers }, (_, i) => ({ x: i + first, label: String(i + first) })),
    yLabel,
    markers: true,
  });
  return `<figure>${chart}<figcaption>${caption}</figcaption></figure>`;
}

/** Warning signs in one table: drift at the last layer and its growth, attention entropy, decay of scores. */
function signs(groups: readonly Group[]): string {
  const shown = signColumns.flatMap((column) => {
    const intervals = groups.map((group) => intervalOf(group, column));
    return intervals.some((one) => one !== null) ? [{ column, intervals }] : [];
  });
  if (shown.length === 0) return "";
  return numbers(
    ["method", ...shown.map(({ column }) => column.title)],
    groups.map(({ label }, g) => ({
      name: short(label),
      cells: shown.map(({ column, intervals }) => intervalCell(intervals[g], column.show)),
    })),
  );
}

/** Attention entropy of each head at the end beside the base's, a row per layer. */
function headTable({ label, runs }: Group): string {
  const before = runs.map((run) => insidesOf(run)?.before?.attentionEntropy ?? []);
  const after = runs.map((run) => insidesOf(run)?.after.at(-1)?.attentionEntropy ?? []);
  const layers = after[0]?.length ?? 0;
  const heads = after[0]?.[0]?.length ?? 0;
  if (layers === 0) return "";
  const cell = (all: readonly (readonly (readonly number[])[])[], layer: number, head: number) =>
    interval95(all.map((one) => one[layer]?.[head] ?? null))?.mean ?? null;
  return numbers(
    ["layer", ...Array.from({ length: heads }, (_, head) => `head ${head}`)],
    Array.from({ length: layers }, (_, layer) => ({
      name: String(layer + 1),
      cells: Array.from({ length: heads }, (_, head) => {
        const from = cell(before, layer, head);
        const small = from === null ? "" : `<small>was ${formatScore(from, 2)}</small>`;
        return `<td>${formatScore(cell(after, layer, head), 2)}${small}</td>`;
      }),
    })),
    `Attention entropy (nats) at the end, ${escape(label)}`,
  );
}

/** The section, or nothing when no run has diagnostics. */
export function insidesSection(groups: readonly Group[]): string {
  const looked = groups.filter(({ runs }) => runs.some((run) => insidesOf(run) !== null));
  const table = signs(groups);
  if (table === "") return "";
  const most = looked.reduce((count, { runs }) => Math.max(count, runs.length), 0);
  // A method looks the same in every chart of the report.
  const drawn = groups.flatMap((group, i) => (looked.includes(group) ? [[group, i] as const] : []));
  const end = (run: ReportRun) => insidesOf(run)?.after.at(-1);
  const charts = [
    layerChart(drawn, {
      label: "relative L2 distance of hidden states by layer",
      yLabel: "relative L2 (0: unmoved)",
      caption: "Distance of hidden states from the base at the end of the stream. 0 is the embedding.",
      pick: (run) => end(run)?.drift.map(({ relativeL2 }) => relativeL2) ?? [],
    }),
    layerChart(drawn, {
      label: "cosine of hidden states by layer",
      yLabel: "cosine (1: unmoved)",
      caption: "Cosine of hidden states with the base's at the end of the stream.",
      pick: (run) => end(run)?.drift.map(({ cosine }) => cosine) ?? [],
    }),
    layerChart(drawn, {
      label: "linear CKA of hidden states by layer",
      yLabel: "linear CKA (1: unmoved)",
      caption: "Linear CKA of hidden states with the base's at the end of the stream.",
      pick: (run) => end(run)?.drift.map(({ cka }) => cka) ?? [],
    }),
    layerChart(drawn, {
      label: "attention entropy by layer, relative to the base",
      yLabel: "entropy / base's (1: unchanged)",
      caption: "Attention entropy at the end over that of the base, mean over heads.",
      first: 1,
      pick: (run) => insidesOf(run)?.entropyRatio.at(-1)?.map(meanOfKnown) ?? [],
    }),
  ].join("");
  const keys =
    looked.length > 0 ? chartKeys(drawn.map(([{ label }, look]) => ({ name: label, points: [], look }))) : "";
  const blind = groups.filter((group) => !looked.includes(group)).map(({ label }) => label);
  const missing =
    blind.length > 0 && looked.length > 0
      ? ` No hidden states of ${escape(blind.join(", "))}: the model itself is not changed there, or not open.`
      : "";
  const formulas = [...(looked.length > 0 ? Object.values(representationFormulas) : []), decayFormula];
  const heads = looked.map(headTable).join("");
  return (
    `<section><h2>Inside the model</h2>${table}` +
    `<p class="soft">Drift: relative L2 of the last hidden state. Warning signs, not ` +
    `scores.${missing}${spreadNote(most)}</p>` +
    `${keys}<div class="charts">${charts}</div>${formulaList(formulas)}` +
    `${heads === "" ? "" : `<details><summary>Attention entropy of every head</summary>${heads}</details>`}</section>`
  );
}
