/** What a query may look at: injected prefixes, the past, the tokens at hand; and the mask over them. Shared by all decoders. */
import {
  type Attended,
  attention,
  causalAttention,
  causalBias,
  defaultPositions,
  type KeyValues,
  type MaskOptions,
} from "../nn/attention.ts";
import { broadcastTo, concat, pad } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";
import type { ForwardInputs } from "./model.ts";

export interface Context {
  /** int32 [T] or [B, T]. */
  readonly positions: Tensor;
  /** Queries [B, H, T, D] of a layer over all it may see, given the keys and values of the tokens at hand. */
  attend(layer: number, q: Tensor, present: KeyValues, options?: { scale?: number }): Attended;
}

export function contextOf({ ids, positions, past, prefix }: ForwardInputs, options: MaskOptions = {}): Context {
  const [B, T] = ids.shape;
  const own = positions ?? defaultPositions(T);
  const keys = past ? concat([past.positions, own.rank === 2 ? own : broadcastTo(own, [B, T])], { axis: 1 }) : own;
  const bias = causalBias(own, keys, options);
  const plain = past === undefined && positions === undefined && typeof T === "number";
  return {
    positions: own,
    attend(layer, q, present, { scale } = {}) {
      const before = prefix?.[layer];
      if (plain && !before) return causalAttention(q, present, { scale, ...options });
      const segments = [...(before ? [before] : []), ...(past ? [past.layers[layer]] : []), present];
      return attention(q, segments, {
        scale,
        bias: before ? pad(bias, { axis: -1, before: before.key.shape[2] }) : bias,
      });
    },
  };
}
