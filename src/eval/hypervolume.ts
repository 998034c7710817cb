/**
 * Hypervolume in two dimensions (Zitzler & Thiele 1998): the area that a set of points dominates above a reference
 * point, both coordinates maximised. One number for a trade-off curve; larger is better, and the ideal of two shares
 * against (0, 0) is 1. Exact, by a sweep over the front.
 */
import { paretoFront } from "./pareto.ts";

/** Area of the union of the rectangles from `reference` to each point; points that do not exceed it add nothing. */
export function hypervolume(
  points: readonly (readonly [number, number])[],
  [x0, y0]: readonly [number, number] = [0, 0],
): number {
  const above = points.filter(([x, y]) => x > x0 && y > y0);
  let area = 0;
  let reached = y0;
  // By falling x the front's y rises: each point adds the strip above the one before.
  for (const i of paretoFront(above)) {
    const [x, y] = above[i];
    area += (x - x0) * (y - reached);
    reached = y;
  }
  return area;
}
