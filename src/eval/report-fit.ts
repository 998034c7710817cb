/**
 * The report of a fit: one HTML file without network, script or fonts, as that of an evaluation. Curves of the loss and
 * of what the method measured of itself on the way, then what was measured at the end and how it was set up.
 */
import type { MethodEvent } from "../methods/method.ts";
import type { TrainResult } from "../methods/train.ts";
import { formatCount, formatScore, formatSeconds } from "./format.ts";
import { meanOfKnown } from "./metrics.ts";
import { figureCharts, type FigureStep, stepTicks } from "./report-figures.ts";
import { escape, htmlPage, pairs } from "./report-html.ts";
import { lineChart } from "./report-svg.ts";

export interface FitCurves {
  readonly losses: readonly { readonly x: number; readonly y: number }[];
  readonly figures: readonly FigureStep[];
}

/**
 * Curves from the events of a fit. One that was stopped repeats the steps that came after its last checkpoint: a step
 * number that does not grow replaces everything from there on.
 */
export function fitCurves(events: Iterable<MethodEvent>): FitCurves {
  const losses: { x: number; y: number }[] = [];
  const figures: FigureStep[] = [];
  for (const event of events) {
    if (event.type === "step") {
      for (const points of [losses, figures]) while ((points.at(-1)?.x ?? 0) >= event.step) points.pop();
      losses.push({ x: event.step, y: event.loss });
    } else if (event.type === "figures") {
      figures.push({ x: event.step, figures: event.figures });
    } else if (event.type === "validation") {
      figures.push({ x: event.step, figures: { "bits per byte": { "held-out text": event.bitsPerByte } } });
    }
  }
  return { losses, figures };
}

/** At most this many points are drawn of the loss, and of a line of figures. */
const drawn = { loss: 120, figure: 60 } as const;

/** Neighbours put together, so that at most `most` groups are left; all but the last of one size. */
function neighbours<T>(points: readonly T[], most: number): { groups: T[][]; size: number } {
  const size = Math.max(1, Math.ceil(points.length / most));
  const groups = Array.from({ length: Math.ceil(points.length / size) }, (_, i) =>
    points.slice(i * size, (i + 1) * size),
  );
  return { groups, size };
}

const middle = (points: readonly { readonly x: number }[]): number => (points[0].x + points[points.length - 1].x) / 2;

/** Means of neighbouring looks: one alone jumps. */
const smoothed = (figures: readonly FigureStep[]): FigureStep[] =>
  neighbours(figures, drawn.figure).groups.map((own) => {
    const charts: Record<string, Record<string, number>> = {};
    for (const chart of new Set(own.flatMap((one) => Object.keys(one.figures)))) {
      charts[chart] = {};
      for (const line of new Set(own.flatMap((one) => Object.keys(one.figures[chart] ?? {}))))
        charts[chart][line] = meanOfKnown(own.map((one) => one.figures[chart]?.[line] ?? null)) ?? 0;
    }
    return { x: middle(own), figures: charts };
  });

function lossChart(losses: FitCurves["losses"]): string {
  const known = losses.filter(({ y }) => Number.isFinite(y));
  const { groups, size } = neighbours(known, drawn.loss);
  const points = groups.map((own) => {
    const ys = own.map(({ y }) => y);
    const y = ys.reduce((a, b) => a + b, 0) / ys.length;
    return { x: middle(own), y, low: Math.min(...ys), high: Math.max(...ys) };
  });
  const chart = lineChart({
    label: "loss over the steps of the fit",
    series: [{ name: "loss", points }],
    xTicks: stepTicks(known.at(-1)?.x ?? 0),
    yLabel: "loss",
  });
  const each = size > 1 ? `, each point the mean of ${size}, the shade from the lowest to the highest` : "";
  return `<figure>${chart}<figcaption>Loss by step${each}.</figcaption></figure>`;
}

export interface FitReport {
  readonly method: string;
  readonly model: string;
  readonly result: TrainResult;
  readonly measured: Readonly<Record<string, number>>;
  readonly options: Readonly<Record<string, unknown>>;
  readonly curves: FitCurves;
}

export function fitReportHtml({ method, model, result, measured, options, curves }: FitReport): string {
  const { steps, tokens, seconds, finalLoss } = result;
  const about = [
    model,
    `${formatCount(steps)} steps`,
    `${formatCount(tokens)} tokens`,
    formatSeconds(seconds),
    `last loss ${formatScore(finalLoss)}`,
  ].join(" · ");
  const found = Object.fromEntries(Object.entries(measured).map(([name, value]) => [name, formatScore(value)]));
  const looked = figureCharts([smoothed(curves.figures)], { xTicks: stepTicks(steps), caption: "by step" });
  return htmlPage({
    title: `Fit of ${method}`,
    header: `<h1>Fit of ${escape(method)}</h1><p class="soft">${escape(about)}</p>`,
    main:
      `<section><h2 class="first">On the way</h2><div class="charts">${lossChart(curves.losses)}${looked}</div></section>` +
      `<section><h2>At the end</h2><div class="setup">${pairs("Measured", found)}${pairs("Options", options)}</div></section>`,
  });
}
