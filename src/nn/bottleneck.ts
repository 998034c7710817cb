/** Bottleneck adapters behind sub-layers (https://arxiv.org/abs/1902.00751, section 2.1 and figure 2). */
import { add, linear } from "../tensor/functions.ts";
import { activations } from "./activation.ts";
import type { Modification } from "./params.ts";

/** Names of an adapter's tensors below its sub-layer: W_down [m, C], b_down [m], W_up [C, m], b_up [C]. */
export const bottleneckNames = {
  down: "adapter_down.weight",
  downBias: "adapter_down.bias",
  up: "adapter_up.weight",
  upBias: "adapter_up.bias",
} as const;

/** y + W_up f(W_down y + b_down) + b_up where a sub-layer has these tensors. */
export function bottleneckAdapters(activation: keyof typeof activations): Modification {
  return {
    sublayer(p, _x, y) {
      const down = p.maybe(bottleneckNames.down);
      if (!down) return y;
      const hidden = activations[activation](linear(y, down, p.get(bottleneckNames.downBias)));
      return add(y, linear(hidden, p.get(bottleneckNames.up), p.get(bottleneckNames.upBias)));
    },
  };
}
