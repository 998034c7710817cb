/**
 * Gradients of a table of which a batch reads few rows: the sums over repetitions, and nothing else. So a step costs
 * the rows that were read, whatever the table's length.
 */
import { internal } from "../errors.ts";

export interface RowSum {
  /** Numbers in a row. */
  readonly width: number;
  /** Distinct rows, in the order in which they first came, [N]; a view until the next change. */
  indices(): Int32Array;
  /** Their sums, [N, width]; a view until the next change. */
  values(): Float32Array;
  /** Adds rows [M, width] at indices [M], which may repeat. */
  add(indices: Int32Array, values: Float32Array): void;
  clear(): void;
}

export function createRowSum(width: number): RowSum {
  const places = new Map<number, number>();
  let indices = new Int32Array(64);
  let sums = new Float32Array(64 * width);
  const reserve = (rows: number): void => {
    if (rows <= indices.length) return;
    const capacity = Math.max(rows, 2 * indices.length);
    const [more, longer] = [new Int32Array(capacity), new Float32Array(capacity * width)];
    more.set(indices);
    longer.set(sums);
    [indices, sums] = [more, longer];
  };
  return {
    width,
    indices: () => indices.subarray(0, places.size),
    values: () => sums.subarray(0, places.size * width),
    add(rows, values) {
      if (values.length !== rows.length * width)
        internal(`rowSum.add: ${rows.length} rows of ${width} do not fit ${values.length} numbers`);
      for (let i = 0; i < rows.length; i++) {
        const from = i * width;
        const known = places.get(rows[i]);
        if (known === undefined) {
          const place = places.size;
          reserve(place + 1);
          places.set(rows[i], place);
          indices[place] = rows[i];
          sums.set(values.subarray(from, from + width), place * width);
          continue;
        }
        const to = known * width;
        for (let j = 0; j < width; j++) sums[to + j] += values[from + j];
      }
    },
    clear: () => places.clear(),
  };
}
