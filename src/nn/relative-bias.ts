/**
 * Relative positions as T5 has them (1910.10683, section 2.1): the distance from query to key falls into a bucket, and
 * each bucket holds one learned number per head that joins the scores. The first half of the buckets are of one
 * distance each, the others grow on a logarithmic scale; all from `maxDistance` on share the last.
 */
import { int32Host } from "../tensor/dtype.ts";
import {
  add,
  constant,
  gather,
  integer,
  iota,
  maximum,
  minimum,
  reshape,
  sub,
  transpose,
} from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";
import type { Dim } from "../tensor/shape.ts";

export interface RelativeBiasOptions {
  /** Half of the buckets are for keys after the query; else these share the bucket of distance 0. */
  readonly bidirectional: boolean;
  /** Larger than half of one direction's buckets. */
  readonly maxDistance: number;
}

/** The bucket, of `count`, of a distance key - query. */
function bucketOf(distance: number, count: number, { bidirectional, maxDistance }: RelativeBiasOptions): number {
  const own = bidirectional ? Math.floor(count / 2) : count;
  const first = bidirectional && distance > 0 ? own : 0;
  const far = bidirectional ? Math.abs(distance) : Math.max(0, -distance);
  const exact = Math.floor(own / 2);
  if (far < exact) return first + far;
  // In this order the steps at powers of two come out exact
  const part = Math.log(far / exact) / Math.log(maxDistance / exact);
  return first + Math.min(own - 1, exact + Math.floor(part * (own - exact)));
}

/** What joins the scores of `length` tokens among themselves: weight [buckets, H] -> [H, T, T]. */
export function relativeBias(weight: Tensor, length: Dim, options: RelativeBiasOptions): Tensor {
  const count = Number(weight.shape[0]);
  // Distances end at maxDistance, so a table answers for any length, also for one known only at the run
  const most = options.maxDistance;
  const table = Int32Array.from({ length: 2 * most + 1 }, (_, i) => bucketOf(i - most, count, options));
  const steps = iota(length);
  const distances = sub(reshape(steps, [1, length]), reshape(steps, [length, 1]));
  const near = minimum(maximum(distances, integer(-most)), integer(most));
  const buckets = gather(constant(int32Host([table.length], table)), add(near, integer(most)));
  return transpose(gather(weight, buckets), [2, 0, 1]);
}
