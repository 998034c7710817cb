/**
 * Line charts as inline SVG, drawn on a small canvas (420 x 250) so that their text stays readable on a phone.
 * Lines differ in colour, dash and marker, so colour alone never carries the meaning.
 */
import { truncate } from "./format.ts";
import { escape } from "./report-html.ts";
import { lines } from "./report-style.ts";

export interface ChartPoint {
  readonly x: number;
  readonly y: number;
  /** Ends of the spread around y, drawn as a shade behind the lines. */
  readonly low?: number;
  readonly high?: number;
}

export interface Series {
  readonly name: string;
  /** A null breaks the line. */
  readonly points: readonly (ChartPoint | null)[];
  /** Position in `points` that is emphasised. */
  readonly emphasis?: number;
  /** Number of its colour, dash and marker; its position unless given. */
  readonly look?: number;
}

export interface Chart {
  /** What a screen reader says. */
  readonly label: string;
  readonly series: readonly Series[];
  readonly xTicks: readonly { readonly x: number; readonly label: string }[];
  readonly yLabel: string;
  /** Shaded spans of x with a name, such as the topic that was being learned. */
  readonly bands?: readonly { readonly from: number; readonly to: number; readonly label: string }[];
  /** Draw a marker at each point. */
  readonly markers?: boolean;
}

/** The canvas of a line chart. */
const canvas = { width: 420, height: 250, left: 46, right: 10, top: 24, bottom: 26 } as const;
const dashes = ["", "6 3", "2 3", "8 3 2 3", "4 2", "1 2", "10 4"];

/** About `count` round numbers that enclose [low, high]. */
export function niceTicks(low: number, high: number, count = 5): number[] {
  // Rounding noise around one value is drawn as that value.
  const least = Math.max(Math.abs(low), Math.abs(high), 1e-3);
  const span = high - low > least * 1e-6 ? high - low : least;
  const raw = span / Math.max(1, count - 1);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 2.5, 5].find((factor) => factor * power >= raw * 0.999) ?? 10);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(high / step - 1e-9));
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** A coordinate as SVG needs it: hundredths. */
export const round = (value: number): string => String(Math.round(value * 100) / 100);

/** The marker of series `index` around (x, y): circle, square, triangle, diamond and so on. */
function marker(index: number, x: number, y: number, radius: number): string {
  const fill = `fill="var(--l${index % lines.light.length})"`;
  const polygon = (corners: readonly (readonly [number, number])[]) =>
    `<polygon ${fill} points="${corners.map(([dx, dy]) => `${round(x + dx * radius)},${round(y + dy * radius)}`).join(" ")}"/>`;
  const shapes = [
    () => `<circle ${fill} cx="${round(x)}" cy="${round(y)}" r="${round(radius)}"/>`,
    () =>
      polygon([
        [-0.9, -0.9],
        [0.9, -0.9],
        [0.9, 0.9],
        [-0.9, 0.9],
      ]),
    () =>
      polygon([
        [0, -1.15],
        [1.1, 0.9],
        [-1.1, 0.9],
      ]),
    () =>
      polygon([
        [0, -1.25],
        [1.25, 0],
        [0, 1.25],
        [-1.25, 0],
      ]),
    () =>
      polygon([
        [0, 1.15],
        [1.1, -0.9],
        [-1.1, -0.9],
      ]),
  ];
  return shapes[index % shapes.length]();
}

const stroke = (index: number, width: number): string => {
  // The second round of colours gets other dashes than the first.
  const dash = dashes[(index + Math.floor(index / dashes.length)) % dashes.length];
  return (
    `fill="none" stroke="var(--l${index % lines.light.length})" stroke-width="${width}" stroke-linejoin="round"` +
    (dash === "" ? "" : ` stroke-dasharray="${dash}"`)
  );
};

/** The series with the numbers of their looks. */
const withLooks = (series: readonly Series[]) => series.map((one, i) => ({ ...one, look: one.look ?? i }));

/** Names of the series with a sample of each line. */
export function chartKeys(series: readonly Series[], markers = true): string {
  const items = withLooks(series).map(({ name, look: i = 0 }) => {
    const sample = `<path ${stroke(i, 2)} d="M0 6H26"/>${markers ? marker(i, 13, 6, 4) : ""}`;
    return `<li><svg viewBox="0 0 26 12" aria-hidden="true">${sample}</svg>${escape(name)}</li>`;
  });
  return `<ul class="keys">${items.join("")}</ul>`;
}

/** The stretches of a line between its breaks. */
function unbroken(points: readonly (ChartPoint | null)[]): ChartPoint[][] {
  const parts: ChartPoint[][] = [[]];
  for (const point of points) {
    if (point === null) parts.push([]);
    else parts[parts.length - 1].push(point);
  }
  return parts;
}

/** One chart. Returns an <svg> element, or a sentence when there is nothing to draw. */
export function lineChart({ label, series, xTicks, yLabel, bands = [], markers = false }: Chart): string {
  const points = series.flatMap((one) => one.points.filter((point) => point !== null));
  if (points.length === 0) return `<p class="soft">Nothing to draw.</p>`;
  const { width, height, left, right, top, bottom } = canvas;
  const xs = [
    ...points.map((point) => point.x),
    ...xTicks.map((tick) => tick.x),
    ...bands.flatMap((b) => [b.from, b.to]),
  ];
  const xLow = xs.reduce((a, b) => Math.min(a, b));
  const xHigh = xs.reduce((a, b) => Math.max(a, b));
  const ys = points.flatMap(({ y, low = y, high = y }) => [low, y, high]);
  const yTicks = niceTicks(
    ys.reduce((a, b) => Math.min(a, b)),
    ys.reduce((a, b) => Math.max(a, b)),
  );
  const inset = markers ? Math.min(24, 120 / Math.max(1, xTicks.length)) : 0;
  const toX = (x: number) => left + inset + ((x - xLow) / (xHigh - xLow || 1)) * (width - left - right - 2 * inset);
  const toY = (y: number) =>
    height - bottom - ((y - yTicks[0]) / (yTicks[yTicks.length - 1] - yTicks[0])) * (height - top - bottom);

  const parts: string[] = [];
  bands.forEach(({ from, to, label: name }, i) => {
    const [x0, x1] = [toX(from), toX(to)];
    if (i % 2 === 0) {
      parts.push(
        `<rect class="band" x="${round(x0)}" y="${top}" width="${round(x1 - x0)}" height="${height - top - bottom}"/>`,
      );
    }
    const text = truncate(name, Math.floor((x1 - x0) / 7.5));
    if (text.length > 1) {
      parts.push(
        `<text class="tick" text-anchor="middle" x="${round((x0 + x1) / 2)}" y="${top + 12}">${escape(text)}</text>`,
      );
    }
  });
  for (const tick of yTicks) {
    const y = round(toY(tick));
    parts.push(`<path class="grid" d="M${left} ${y}H${width - right}"/>`);
    parts.push(`<text class="tick" text-anchor="end" x="${left - 6}" y="${y}" dy=".35em">${tick}</text>`);
  }
  parts.push(`<text class="tick" x="${left - 40}" y="12">${escape(yLabel)}</text>`);
  const every = Math.ceil(xTicks.length / 8);
  const room = (width - left - right - 2 * inset) / Math.max(1, (xTicks.length - 1) / every) / 7.5;
  xTicks.forEach((tick, i) => {
    if (i % every !== 0) return;
    // The outer labels are centred on the edge of the plot, so they get less room or are aligned with the edge.
    const outer = i === 0 || i === xTicks.length - 1;
    const text = truncate(tick.label, Math.floor(outer && inset > 0 ? Math.min(room, 9) : room));
    const anchor = inset === 0 && i === xTicks.length - 1 ? "end" : "middle";
    const x = round(toX(tick.x));
    parts.push(`<text class="tick" text-anchor="${anchor}" x="${x}" y="${height - 8}">${escape(text)}</text>`);
  });
  // Shades first: every line stays visible above every spread.
  for (const one of withLooks(series)) {
    const i = one.look;
    for (const part of unbroken(one.points)) {
      const spread = part.filter(({ low, high }) => low !== undefined && high !== undefined);
      if (spread.length < 2 || spread.every(({ low, high }) => low === high)) continue;
      const upper = spread.map(({ x, high = 0 }) => `${round(toX(x))},${round(toY(high))}`);
      const lower = spread.map(({ x, low = 0 }) => `${round(toX(x))},${round(toY(low))}`).reverse();
      const fill = `fill="var(--l${i % lines.light.length})" fill-opacity=".14"`;
      parts.push(`<polygon class="spread" ${fill} points="${[...upper, ...lower].join(" ")}"/>`);
    }
  }
  for (const one of withLooks(series)) {
    const i = one.look;
    let pen = "M";
    const path = one.points.map((point) => {
      const command = point === null ? "" : `${pen}${round(toX(point.x))} ${round(toY(point.y))}`;
      pen = point === null ? "M" : "L";
      return command;
    });
    parts.push(`<path ${stroke(i, markers ? 2 : 1.5)} d="${path.join("")}"/>`);
    if (!markers) continue;
    one.points.forEach((point, at) => {
      if (point !== null) parts.push(marker(i, toX(point.x), toY(point.y), at === one.emphasis ? 6.5 : 3.5));
    });
  }
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escape(label)}">${parts.join("")}</svg>`;
}
