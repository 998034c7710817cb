/** Linear layers, sub-layers and embeddings; the first two open to what a method adds to them (`Modification`). */
import { gather, less, linear, mul, random, where } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";
import type { Params } from "./params.ts";

/**
 * x [..., I] -> [..., O] with `weight` [O, I] ([I, O] when `inputFirst`), an optional `bias` [O], what a method
 * adds.
 */
export function linearLayer(x: Tensor, p: Params, { inputFirst = false } = {}): Tensor {
  const y = linear(x, p.get("weight"), p.maybe("bias"), { inputFirst });
  return p.modification.linear?.(p, x, y) ?? y;
}

/** The output y [..., C] of a sub-layer that read x [..., C], ready for the residual sum. */
export function sublayer(x: Tensor, y: Tensor, p: Params): Tensor {
  return p.modification.sublayer?.(p, x, y) ?? y;
}

/** Zero a share of the entries and scale the rest to keep the mean. `stream` names the noise. */
export function dropout(x: Tensor, rate: number, stream: string): Tensor {
  if (rate === 0) return x;
  return where(less(random(x.shape, stream), 1 - rate), mul(x, 1 / (1 - rate)), 0);
}

/** Rows of `weight` [V, C] at ids [...] -> [..., C]. */
export function embedding(ids: Tensor, p: Params): Tensor {
  return gather(p.get("weight"), ids);
}
