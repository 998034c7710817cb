/**
 * What was kept against what was learned: NAR to the right, RKR upwards, one bubble per method whose area is the time
 * it took, the Pareto front of the methods and the area it dominates.
 */
import { formatScore, formatSeconds, truncate } from "./format.ts";
import type { Group } from "./report-groups.ts";
import { hypervolume } from "./hypervolume.ts";
import { interval95 } from "./interval.ts";
import { paretoFront } from "./pareto.ts";
import { escape } from "./report-html.ts";
import { lines } from "./report-style.ts";
import { niceTicks, round } from "./report-svg.ts";
import { balancePoints } from "./tables.ts";

const canvas = { width: 420, height: 350, left: 46, right: 14, top: 26, bottom: 42 } as const;
/** Radius of the most expensive method's bubble. */
const largest = 24;

interface Placed {
  readonly label: string;
  /** Its place among all methods, also those without both numbers: one colour per method in the whole report. */
  readonly order: number;
  readonly nar: number;
  readonly rkr: number;
  readonly seconds: number;
  /** (NAR, RKR) of each run. */
  readonly runs: readonly (readonly [number, number])[];
}

interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** Methods that have both numbers, as means over their runs. */
function placedOf(groups: readonly Group[]): Placed[] {
  return groups.flatMap(({ label, runs }, order) => {
    const points = balancePoints(runs.map(({ result }) => result));
    const nar = interval95(points.map(([x]) => x));
    const rkr = interval95(points.map(([, y]) => y));
    if (!nar || !rkr) return [];
    const seconds = interval95(runs.map(({ result }) => result.cost.seconds))?.mean ?? 0;
    return [{ label, order, nar: nar.mean, rkr: rkr.mean, seconds, runs: points }];
  });
}

const overlap = (a: Box, b: Box): number =>
  Math.max(0, Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x)) *
  Math.max(0, Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y));

/** Where each name covers least of the other names and bubbles: tried around its bubble, one after the other. */
function placeNames(
  bubbles: readonly { readonly x: number; readonly y: number; readonly r: number; readonly text: string }[],
  plot: Box,
): { x: number; y: number; anchor: string }[] {
  const taken: Box[] = bubbles.map(({ x, y, r }) => ({ x: x - r, y: y - r, width: 2 * r, height: 2 * r }));
  return bubbles.map(({ x, y, r, text }) => {
    const width = text.length * 7.4;
    const height = 14;
    const gap = r + 4;
    const places = [
      { anchor: "start", x: x + gap, y: y + 4 },
      { anchor: "end", x: x - gap, y: y + 4 },
      { anchor: "middle", x, y: y - gap },
      { anchor: "middle", x, y: y + gap + 10 },
      { anchor: "start", x: x + gap * 0.8, y: y - gap * 0.7 },
      { anchor: "start", x: x + gap * 0.8, y: y + gap * 0.7 + 8 },
      { anchor: "end", x: x - gap * 0.8, y: y - gap * 0.7 },
      { anchor: "end", x: x - gap * 0.8, y: y + gap * 0.7 + 8 },
    ];
    const boxed = places.map((place) => {
      const left = place.x - (place.anchor === "end" ? width : place.anchor === "middle" ? width / 2 : 0);
      const box: Box = { x: left, y: place.y - 11, width, height };
      const outside = width * height - overlap(box, plot);
      return { place, box, cost: outside * 4 + taken.reduce((sum, other) => sum + overlap(box, other), 0) };
    });
    const best = boxed.reduce((a, b) => (b.cost < a.cost - 1e-9 ? b : a));
    taken.push(best.box);
    return best.place;
  });
}

/** The figure, or nothing when no method has both NAR and RKR. */
export function tradeoff(groups: readonly Group[]): string {
  const placed = placedOf(groups);
  if (placed.length === 0) return "";
  const { width, height, left, right, top, bottom } = canvas;
  const all = placed.flatMap(({ nar, rkr, runs }) => [...runs, [nar, rkr] as const]);
  const ticks = (values: readonly number[]) =>
    niceTicks(
      values.reduce((a, b) => Math.min(a, b), 0),
      values.reduce((a, b) => Math.max(a, b), 1),
      6,
    );
  const xTicks = ticks(all.map(([x]) => x));
  const yTicks = ticks(all.map(([, y]) => y));
  const scale = (from: readonly number[], low: number, high: number) => (value: number) =>
    low + ((value - from[0]) / (from[from.length - 1] - from[0])) * (high - low);
  const toX = scale(xTicks, left, width - right);
  const toY = scale(yTicks, height - bottom, top);
  const at = (x: number, y: number) => `${round(toX(x))} ${round(toY(y))}`;

  const points = placed.map(({ nar, rkr }) => [nar, rkr] as const);
  const area = hypervolume(points);
  const front = paretoFront(points);
  // From the right down to the left: the staircase over the methods above (0, 0).
  const above = front.filter((i) => points[i][0] > 0 && points[i][1] > 0);
  const stairs = above.flatMap((i, k) => [
    `${k === 0 ? `M${at(points[i][0], 0)}` : `L${at(points[i][0], points[above[k - 1]][1])}`}L${at(...points[i])}`,
  ]);
  const parts: string[] = [];
  const last = above.at(-1);
  if (last !== undefined) {
    const roof = stairs.join("") + `L${at(0, points[last][1])}`;
    parts.push(`<path class="band" d="${roof}L${at(0, 0)}Z"/>`);
    parts.push(`<path class="front" d="${roof}"/>`);
  }
  for (const tick of xTicks) {
    parts.push(`<path class="grid" d="M${round(toX(tick))} ${top}V${height - bottom}"/>`);
    parts.push(
      `<text class="tick" text-anchor="middle" x="${round(toX(tick))}" y="${height - bottom + 16}">${tick}</text>`,
    );
  }
  for (const tick of yTicks) {
    parts.push(`<path class="grid" d="M${left} ${round(toY(tick))}H${width - right}"/>`);
    parts.push(
      `<text class="tick" text-anchor="end" x="${left - 6}" y="${round(toY(tick))}" dy=".35em">${tick}</text>`,
    );
  }
  parts.push(`<text class="tick" x="${left - 40}" y="13">RKR: share of old topics kept</text>`);
  parts.push(
    `<text class="tick" text-anchor="end" x="${width - right}" y="${height - 6}">NAR: share of new facts ` +
      "learned</text>",
  );
  const dearest = placed.reduce((most, { seconds }) => Math.max(most, seconds), 0);
  const bubbles = placed.map(({ label, nar, rkr, seconds }) => ({
    x: toX(nar),
    y: toY(rkr),
    r: Math.max(3, dearest > 0 ? largest * Math.sqrt(seconds / dearest) : 3),
    text: truncate(label, 24),
  }));
  placed.forEach(({ runs, label, seconds, order }, i) => {
    const colour = `var(--l${order % lines.light.length})`;
    const { x, y, r } = bubbles[i];
    const name = `${label}: NAR ${formatScore(points[i][0])}, RKR ${formatScore(points[i][1])}, ${formatSeconds(seconds)}`;
    parts.push(
      `<circle cx="${round(x)}" cy="${round(y)}" r="${round(r)}" fill="${colour}" fill-opacity=".3" ` +
        `stroke="${colour}">` +
        `<title>${escape(name)}</title></circle>`,
    );
    for (const [nar, rkr] of runs.length > 1 ? runs : []) {
      parts.push(`<circle cx="${round(toX(nar))}" cy="${round(toY(rkr))}" r="1.8" fill="${colour}"/>`);
    }
    parts.push(`<path stroke="var(--text)" stroke-width="1.2" d="M${round(x - 3.5)} ${round(y)}h7m-3.5 -3.5v7"/>`);
  });
  const plot = { x: left, y: top, width: width - left - right, height: height - top - bottom };
  const names = placeNames(bubbles, plot);
  names.forEach(({ x, y, anchor }, i) => {
    const kind = front.includes(i) ? "name leading" : "name";
    parts.push(
      `<text class="${kind}" text-anchor="${anchor}" x="${round(x)}" y="${round(y)}">${escape(bubbles[i].text)}</text>`,
    );
  });
  const best = front.map((i) => escape(placed[i].label)).join(", ");
  const seeds = placed.some(({ runs }) => runs.length > 1) ? " (cross: mean, dots: its runs)" : "";
  return (
    `<figure class="tradeoff"><svg viewBox="0 0 ${width} ${height}" role="img" ` +
    `aria-label="retention against absorption of each method">${parts.join("")}</svg>` +
    `<figcaption>Retention (RKR) against absorption (NAR) of each method${seeds}; right and up is better. The area ` +
    "of a " +
    `bubble is the time to learn, ${formatSeconds(dearest)} for the largest. The line is the Pareto front ` +
    `(${best}); it ` +
    `dominates the shaded area, <strong>hypervolume ${formatScore(area)}</strong> of 1 against (0, ` +
    "0).</figcaption></figure>"
  );
}
