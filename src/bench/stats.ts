/** Many timings as one honest figure: a median with its range and how often it was measured. */
import { internal } from "../errors.ts";

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly repeats: number;
}

/** The middle value; the mean of the two middle ones when their number is even. */
export function median(values: readonly number[]): number {
  if (values.length === 0) internal("median of nothing");
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function spread(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values), repeats: values.length };
}

/** The same object with its fractions cut to `digits` significant digits: more would only claim a precision. */
export function rounded(value: unknown, digits = 5): unknown {
  if (typeof value === "number") return Number.isInteger(value) ? value : Number(value.toPrecision(digits));
  if (Array.isArray(value)) return value.map((item) => rounded(item, digits));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, rounded(item, digits)]));
}
