/**
 * Pareto front of points whose coordinates are all better when larger, such as (NAR, RKR) of each method:
 * what is kept when everything goes that another point beats or equals everywhere and beats somewhere.
 */
import { internal } from "../errors.ts";

/** Coordinates of one candidate; all points of a set have the same number of them. */
export type Point = readonly number[];

/** Is `a` at least as good as `b` in every coordinate and better in one? */
export function dominates(a: Point, b: Point): boolean {
  if (a.length !== b.length) internal(`dominates: points of ${a.length} and ${b.length} coordinates`);
  return a.every((value, i) => value >= b[i]) && a.some((value, i) => value > b[i]);
}

/**
 * Positions in `points` of those that no other point dominates, by falling first coordinate. Equal points are all
 * kept. A point with a coordinate that is no finite number is on no front and beats nobody.
 */
export function paretoFront(points: readonly Point[]): number[] {
  const finite = points.flatMap((point, i) => (point.every(Number.isFinite) ? [i] : []));
  return finite
    .filter((i) => !finite.some((j) => dominates(points[j], points[i])))
    .sort((a, b) => points[b][0] - points[a][0] || a - b);
}
