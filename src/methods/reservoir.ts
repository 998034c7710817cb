/**
 * A uniform sample of a stream of unknown length in a fixed room: algorithm R (Vitter 1985, "Random sampling with a
 * reservoir", ACM TOMS 11(1)). After n items each of them is in the sample with probability min(1, capacity / n).
 * The draw for item t comes from a stream named after t, so the state is the items and their count alone.
 */
import { UserError } from "../errors.ts";
import { randomStream } from "../tensor/random.ts";

export interface Reservoir<T> {
  /** The sample, in the order of its places. */
  readonly items: readonly T[];
  /** Items offered so far. */
  readonly seen: number;
}

export const emptyReservoir: Reservoir<never> = { items: [], seen: 0 };

/** The reservoir after these items were offered; the given one stays as it is. */
export function offer<T>(
  { items, seen }: Reservoir<T>,
  offered: Iterable<T>,
  { capacity, seed }: { capacity: number; seed: number },
): Reservoir<T> {
  if (!Number.isInteger(capacity) || capacity < 1)
    throw new UserError(`reservoir: expected a capacity of at least 1, got ${capacity}`);
  const kept = [...items];
  let count = seen;
  for (const item of offered) {
    if (kept.length < capacity) kept.push(item);
    else {
      const place = randomStream(seed, "reservoir", count).integer(count + 1);
      if (place < capacity) kept[place] = item;
    }
    count++;
  }
  return { items: kept, seen: count };
}
