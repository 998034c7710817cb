/** Low-rank adapters beside linear layers (LoRA, https://arxiv.org/abs/2106.09685). */
import { add, linear, mul, pad } from "../tensor/functions.ts";
import { dropout } from "./linear.ts";
import type { Modification } from "./params.ts";

export interface LowRank {
  /** alpha / rank. */
  readonly scale: number;
  /** Share of adapter inputs that are zeroed while training; 0 for none. */
  readonly dropout: number;
}

/**
 * y + (alpha / r) B A x (Eq. 3) where a layer has `lora_A.weight` [r, I] and `lora_B.weight` [O, r]. A B of fewer rows
 * adds to the last ones: keys and values of a fused projection.
 */
export function lowRankAdapters({ scale, dropout: rate }: LowRank): Modification {
  return {
    linear(p, x, y) {
      const down = p.maybe("lora_A.weight");
      if (!down) return y;
      const hidden = linear(dropout(x, rate, p.path), down);
      const own = linear(scale === 1 ? hidden : mul(hidden, scale), p.get("lora_B.weight"));
      const missing = Number(y.shape[y.rank - 1]) - Number(own.shape[own.rank - 1]);
      return add(y, missing > 0 ? pad(own, { axis: -1, before: missing }) : own);
    },
  };
}
