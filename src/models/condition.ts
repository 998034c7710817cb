/**
 * What a model is told beside its text, row by row. A method computes it (from a memory, say); here it takes its way
 * into graphs and caches. Two kinds: slots (in every layer one more key and value, and something added to the
 * embeddings) and memories (keys and values of a few places that stand before the text).
 * Letters: B rows, T tokens, L layers, K key/value heads, D head size, C width, A kinds of places, M places.
 */
import { internal } from "../errors.ts";
import { ALWAYS_SEEN, type KeyValues } from "../nn/attention.ts";
import { float32Host, type HostTensor } from "../tensor/dtype.ts";
import { input, reshape, slice } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";
import { HEAD, type HostCache } from "./cache.ts";
import type { ForwardInputs, Geometry } from "./model.ts";

export interface SlotCondition {
  /** [L, K, D]: in each layer key and value alike, seen by every token. */
  readonly slots: Float32Array;
  /**
   * [A, C], added to the embeddings: row 1 + i to the token i places behind the prompt's last, row 0 to all before it
   * and to those behind the last row.
   */
  readonly added: Float32Array;
}

/** Places before the text, all seen by every token. All rows of a batch have as many. */
export interface MemoryCondition {
  /** [L, 2, K, M, D]: keys as they are compared (already at their positions), then values. */
  readonly memory: Float32Array;
}

export type Condition = SlotCondition | MemoryCondition;

/** The condition of a row whose prompt ends at this position. */
export type RowCondition = Condition & { readonly last: number };

/** How conditions of one kind reach a model. */
export interface ConditionKind {
  /** Inputs of a graph that reads its text at once. */
  inputs(geometry: Geometry): Pick<ForwardInputs, "prefix" | "added">;
  /** What those are fed: conditions of B rows, positions [B, T] (negative: padding). */
  feeds(
    geometry: Geometry,
    rows: readonly RowCondition[],
    positions: ArrayLike<number>,
  ): Record<string, HostTensor<"float32">>;
  /** For kinds that a cache of keys and values can hold: writes them there. Graphs with a cache then take no inputs. */
  remember?(geometry: Geometry, rows: readonly RowCondition[], cache: HostCache): void;
}

const slotsOf = (row: RowCondition): SlotCondition =>
  "slots" in row ? row : internal("condition: expected slots, got a memory");
const memoryOf = (row: RowCondition): Float32Array =>
  "memory" in row ? row.memory : internal("condition: expected a memory, got slots");

/** A vector per layer, the same for key and value: slots [B, L, K, D] -> one place more for every layer. */
export function slotPrefix(slots: Tensor): KeyValues[] {
  const [B, L, K, D] = slots.shape;
  return Array.from({ length: Number(L) }, (_, layer) => {
    const own = reshape(slice(slots, { axis: 1, start: layer, end: layer + 1 }), [B, K, 1, D]);
    return { key: own, value: own };
  });
}

/** Which row of `added` the token at a position gets. */
export function addedRow(position: number, last: number, count: number): number {
  const row = position - last + 1;
  return position >= last && row < count ? row : 0;
}

export const slotConditions: ConditionKind = {
  inputs: ({ layers, kvHeads, headDim, width }) => ({
    prefix: slotPrefix(input("slots", "float32", ["B", layers, kvHeads, headDim])),
    added: input("added", "float32", ["B", "T", width]),
  }),
  feeds({ layers, kvHeads, headDim, width: C }, rows, positions) {
    const B = rows.length;
    const T = positions.length / B;
    const size = layers * kvHeads * headDim;
    const slots = new Float32Array(B * size);
    const added = new Float32Array(B * T * C);
    for (const [b, row] of rows.entries()) {
      const own = slotsOf(row);
      if (own.slots.length !== size || own.added.length % C !== 0)
        internal(`condition: ${own.slots.length} and ${own.added.length} numbers for ${size} and rows of ${C}`);
      slots.set(own.slots, b * size);
      for (let t = 0; t < T; t++) {
        const from = C * addedRow(positions[b * T + t], row.last, own.added.length / C);
        added.set(own.added.subarray(from, from + C), (b * T + t) * C);
      }
    }
    return {
      slots: float32Host([B, layers, kvHeads, headDim], slots),
      added: float32Host([B, T, C], added),
    };
  },
};

/** M of rows that all have as many. */
function placesOf({ layers, kvHeads, headDim }: Geometry, rows: readonly RowCondition[]): number {
  const [first = 0, ...others] = rows.map((row) => memoryOf(row).length);
  const M = first / (2 * layers * kvHeads * headDim);
  if (!Number.isInteger(M) || others.some((length) => length !== first))
    internal(`condition: memories of ${first} and ${others.find((length) => length !== first)} numbers in a batch`);
  return M;
}

/** Keys and values [B, 2 L, K, M, D] -> the places before the text, for every layer. */
export function memoryPrefix(memory: Tensor): KeyValues[] {
  const [B, count, K, M, D] = memory.shape;
  const part = (at: number): Tensor => reshape(slice(memory, { axis: 1, start: at, end: at + 1 }), [B, K, M, D]);
  return Array.from({ length: Number(count) / 2 }, (_, layer) => ({
    key: part(2 * layer),
    value: part(2 * layer + 1),
  }));
}

export const memoryConditions: ConditionKind = {
  inputs: ({ layers, kvHeads, headDim }) => ({
    prefix: memoryPrefix(input("memory", "float32", ["B", 2 * layers, kvHeads, "M", headDim])),
  }),
  feeds(geometry, rows) {
    const { layers, kvHeads, headDim } = geometry;
    const M = placesOf(geometry, rows);
    const size = 2 * layers * kvHeads * M * headDim;
    const memory = new Float32Array(rows.length * size);
    for (const [b, row] of rows.entries()) memory.set(memoryOf(row), b * size);
    return { memory: float32Host([rows.length, 2 * layers, kvHeads, M, headDim], memory) };
  },
  remember(geometry, rows, cache) {
    const { kvHeads: K, headDim: D } = geometry;
    const M = placesOf(geometry, rows);
    const B = rows.length;
    cache.reserve(cache.length + M);
    const start = HEAD + cache.length;
    for (const [b, row] of rows.entries()) {
      const memory = memoryOf(row);
      for (const [layer, { key, value }] of cache.layers.entries()) {
        for (const [which, target] of [key, value].entries()) {
          for (let k = 0; k < K; k++) {
            for (let m = 0; m < M; m++) {
              const from = (((2 * layer + which) * K + k) * M + m) * D;
              target.set(memory.subarray(from, from + D), ((start + m) * B + b) * K * D + k * D);
            }
          }
        }
      }
    }
    cache.positions.fill(ALWAYS_SEEN, start * B, (start + M) * B);
    cache.length += M;
    cache.before = M;
  },
};
