/** What a query may look at: injected prefixes, the past, the tokens at hand; and the mask over them. Shared by all decoders. */
import { causalBias, defaultPositions, type KeyValues, type MaskOptions } from "../nn/attention.ts";
import { broadcastTo, concat, pad } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";
import type { ForwardInputs } from "./model.ts";

export interface Context {
  /** int32 [T] or [B, T]. */
  readonly positions: Tensor;
  /** Keys and values that layer `layer` attends to, given those of the tokens at hand. */
  segments(layer: number, present: KeyValues): KeyValues[];
  /** Additive mask over those segments, in the same order. */
  bias(layer: number): Tensor;
}

export function contextOf({ ids, positions, past, prefix }: ForwardInputs, options: MaskOptions = {}): Context {
  const [B, T] = ids.shape;
  const own = positions ?? defaultPositions(T);
  const keys = past ? concat([past.positions, own.rank === 2 ? own : broadcastTo(own, [B, T])], { axis: 1 }) : own;
  const plain = causalBias(own, keys, options);
  return {
    positions: own,
    segments(layer, present) {
      const before = prefix?.[layer];
      return [...(before ? [before] : []), ...(past ? [past.layers[layer]] : []), present];
    },
    bias(layer) {
      const before = prefix?.[layer];
      return before ? pad(plain, { axis: -1, before: before.key.shape[2] }) : plain;
    },
  };
}
