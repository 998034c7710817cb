/**
 * What a query may look at: injected prefixes, the past, the tokens at hand; and the mask over them. Shared by all
 * decoders.
 */
import {
  type Attended,
  attention,
  causalAttention,
  causalBias,
  defaultPositions,
  type KeyValues,
  type MaskOptions,
} from "../nn/attention.ts";
import { broadcastTo, concat, pad, slice } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";
import { addDims } from "../tensor/shape.ts";
import type { ForwardInputs } from "./model.ts";

export interface Context {
  /** int32 [T] or [B, T]. */
  readonly positions: Tensor;
  /** What of [.., T, ..] a layer's queries need: all tokens, or in the last layer the last where no other is read. */
  asked(layer: number, x: Tensor, axis?: number): Tensor;
  /**
   * Queries [B, H, T, D] of the tokens asked, over all they may see, given the keys and values of the tokens at
   * hand.
   */
  attend(layer: number, q: Tensor, present: KeyValues, options?: { scale?: number }): Attended;
}

export interface ContextOptions extends MaskOptions {
  /** Of the model. */
  readonly layers: number;
}

const lastOf = (x: Tensor, axis: number): Tensor =>
  slice(x, { axis, start: addDims(x.shape[axis], -1), end: x.shape[axis] });

export function contextOf(
  { ids, positions, past, prefix, lastOnly = false }: ForwardInputs,
  { layers, ...options }: ContextOptions,
): Context {
  const [B, T] = ids.shape;
  const own = positions ?? defaultPositions(T);
  const keys = past ? concat([past.positions, own.rank === 2 ? own : broadcastTo(own, [B, T])], { axis: 1 }) : own;
  const bias = causalBias(own, keys, options);
  const isLast = (layer: number): boolean => lastOnly && layer === layers - 1;
  const plain = past === undefined && positions === undefined && typeof T === "number";
  return {
    positions: own,
    asked: (layer, x, axis = 1) => (isLast(layer) ? lastOf(x, axis) : x),
    attend(layer, q, present, { scale } = {}) {
      const before = prefix?.[layer];
      if (plain && !before && !isLast(layer)) return causalAttention(q, present, { scale, ...options });
      const segments = [...(before ? [before] : []), ...(past ? [past.layers[layer]] : []), present];
      const seen = isLast(layer) ? lastOf(bias, bias.rank - 2) : bias;
      return attention(q, segments, {
        scale,
        bias: before ? pad(seen, { axis: -1, before: before.key.shape[2] }) : seen,
      });
    },
  };
}
