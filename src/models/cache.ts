/**
 * The host side of a key/value cache: one buffer for keys and one for values per layer, time first ([P, B, K, D]), so
 * that new tokens are appended by writing behind the old ones. Slot 0 is a padding token that no query sees, because
 * the runtime's matrix products crash on an empty past.
 */
import { UserError } from "../errors.ts";
import type { RowCondition } from "./condition.ts";
import type { Geometry } from "./model.ts";

/** Keys and values of the tokens that B sequences have read, in step. */
export interface Cache {
  /** B. */
  readonly batch: number;
  /** Tokens read per row, padding included. */
  readonly length: number;
  /** Keep the given rows, in this order; rows may repeat or be left out. B becomes `rows.length`. */
  select(rows: ArrayLike<number>): void;
  bytes(): number;
}

interface LayerBuffers {
  key: Float32Array;
  value: Float32Array;
}

/** What the decoder sees of it. */
export interface HostCache extends Cache {
  length: number;
  /** Places before the text, which are no tokens and have no position. */
  before: number;
  readonly layers: readonly LayerBuffers[];
  /** [P, B]. */
  readonly positions: Int32Array;
  /** The last step's scores [B, V]: each cache has its own, so that several decode side by side. */
  logits: Float32Array;
  /** What each row is told beside its text. */
  readonly conditions?: readonly RowCondition[];
  /** Make room for this many tokens per row; buffers at least double. */
  reserve(length: number): void;
}

/** Slots before the first token. */
export const HEAD = 1;

export function createHostCache(
  { layers: count, kvHeads, headDim }: Geometry,
  sequences: number,
  capacity: number,
  told?: readonly RowCondition[],
): HostCache {
  if (!Number.isInteger(sequences) || sequences < 1)
    throw new UserError(`cache: expected 1 or more sequences, got ${sequences}`);
  const unit = kvHeads * headDim; // numbers per slot and row
  let batch = sequences;
  let room = HEAD + capacity;
  let length = 0;
  let conditions = told;
  const layers: LayerBuffers[] = Array.from({ length: count }, () => ({
    key: new Float32Array(room * batch * unit),
    value: new Float32Array(room * batch * unit),
  }));
  let positions = new Int32Array(room * batch).fill(-1, 0, HEAD * batch);

  /** Rows of [P, B, width] picked into [P, rows, width]; in place unless B grows: then nothing moves to the right. */
  const pick = <A extends Float32Array | Int32Array>(data: A, width: number, rows: ArrayLike<number>): A => {
    const target = rows.length <= batch ? data : sized(data, room * rows.length * width);
    const held = sized(data, batch * width);
    for (let t = 0; t < HEAD + length; t++) {
      held.set(data.subarray(t * batch * width, (t + 1) * batch * width));
      for (let b = 0; b < rows.length; b++) {
        if (rows.length === batch && rows[b] === b) continue;
        target.set(held.subarray(rows[b] * width, (rows[b] + 1) * width), (t * rows.length + b) * width);
      }
    }
    return target.subarray(0, room * rows.length * width) as A;
  };
  /** As `pick` for fewer rows in their old order, as when some have ended: neighbours move together. */
  const drop = <A extends Float32Array | Int32Array>(data: A, width: number, rows: ArrayLike<number>): A => {
    const starts = [...Array(rows.length).keys()].filter((b) => b === 0 || rows[b] !== rows[b - 1] + 1);
    for (let t = 0; t < HEAD + length; t++) {
      for (const [i, b] of starts.entries()) {
        const from = (t * batch + rows[b]) * width;
        const count = (starts[i + 1] ?? rows.length) - b;
        data.copyWithin((t * rows.length + b) * width, from, from + count * width);
      }
    }
    return data.subarray(0, room * rows.length * width) as A;
  };
  /** Apply to every buffer. */
  const replace = (change: <A extends Float32Array | Int32Array>(data: A, width: number) => A): void => {
    for (const layer of layers) {
      layer.key = change(layer.key, unit);
      layer.value = change(layer.value, unit);
    }
    positions = change(positions, 1);
  };

  return {
    layers,
    before: 0,
    logits: new Float32Array(),
    get batch() {
      return batch;
    },
    get length() {
      return length;
    },
    set length(tokens) {
      length = tokens;
    },
    get positions() {
      return positions;
    },
    get conditions() {
      return conditions;
    },
    reserve(tokens) {
      if (HEAD + tokens <= room) return;
      room = HEAD + Math.max(tokens, 2 * (room - HEAD));
      replace((data, width) => {
        const larger = sized(data, room * batch * width);
        larger.set(data.subarray(0, (HEAD + length) * batch * width));
        return larger;
      });
    },
    select(rows) {
      for (let i = 0; i < rows.length; i++) {
        if (!(rows[i] >= 0 && rows[i] < batch))
          throw new UserError(`cache.select: expected rows from 0 to ${batch - 1}, got ${rows[i]}`);
      }
      if (rows.length === 0) throw new UserError("cache.select: expected 1 or more rows, got none");
      let ascending = true;
      for (let i = 1; i < rows.length; i++) ascending &&= rows[i] > rows[i - 1];
      replace((data, width) => (ascending ? drop : pick)(data, width, rows));
      const before = conditions;
      conditions = before && Array.from(rows, (row) => before[row]);
      batch = rows.length;
    },
    bytes: () => (2 * count * unit + 1) * batch * room * 4,
  };
}

/** Where a row comes from: the number of a cache, and the row in it. */
export type Place = readonly [cache: number, row: number];

/** `count` places from b on: rows of one cache that follow each other from `row` on, or that row again and again. */
interface Run {
  readonly b: number;
  readonly part: number;
  readonly row: number;
  readonly count: number;
  readonly repeated: boolean;
}

/** Places in runs that can be moved together. */
function runsOf(places: readonly Place[]): Run[] {
  const runs: Run[] = [];
  for (let b = 0; b < places.length; ) {
    const [part, row] = places[b];
    const is = (at: number, wanted: number): boolean => places[at]?.[0] === part && places[at][1] === wanted;
    const repeated = is(b + 1, row);
    let count = 1;
    while (is(b + count, repeated ? row : row + count)) count++;
    runs.push({ b, part, row, count, repeated });
    b += count;
  }
  return runs;
}

/**
 * One cache of the rows at these places. Their last tokens stand in one column: rows of shorter caches have padding
 * before them.
 */
export function joinHostCaches(
  geometry: Geometry,
  parts: readonly HostCache[],
  places: readonly Place[],
  capacity: number,
): HostCache {
  const B = places.length;
  const unit = geometry.kvHeads * geometry.headDim;
  const length = Math.max(...parts.map((part) => part.length));
  const told = places.flatMap(([part, row]) => parts[part].conditions?.[row] ?? []);
  const joint = createHostCache(geometry, B, Math.max(capacity, length), told.length === B ? told : undefined);
  joint.length = length;
  joint.positions.fill(-1, 0, (HEAD + length) * B);
  for (const { b, part: index, row, count, repeated } of runsOf(places)) {
    const part = parts[index];
    const shift = length - part.length;
    const move = <A extends Float32Array | Int32Array>(from: A, to: A, width: number): void => {
      const size = (repeated ? 1 : count) * width;
      for (let t = HEAD; t < HEAD + part.length; t++) {
        const at = (t * part.batch + row) * width;
        const start = ((t + shift) * B + b) * width;
        to.set(from.subarray(at, at + size), start);
        // Copies of copies: twice as many each time
        for (let made = size; made < count * width; made *= 2) {
          to.copyWithin(start + made, start, start + Math.min(made, count * width - made));
        }
      }
    };
    for (const [l, { key, value }] of part.layers.entries()) {
      move(key, joint.layers[l].key, unit);
      move(value, joint.layers[l].value, unit);
    }
    move(part.positions, joint.positions, 1);
  }
  return joint;
}

/** An empty array of the same kind. */
function sized<A extends Float32Array | Int32Array>(like: A, size: number): A {
  return new (like.constructor as new (size: number) => A)(size);
}
