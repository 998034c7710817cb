/** Linear layers and embeddings, with low-rank adapters beside them when the parameters hold any (LoRA, 2106.09685). */
import { add, gather, less, linear, mul, random, where } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";
import type { Params } from "./params.ts";

/** x [..., I] -> [..., O] with `weight` [O, I] ([I, O] when `inputFirst`), an optional `bias` [O], optional adapters. */
export function linearLayer(x: Tensor, p: Params, { inputFirst = false } = {}): Tensor {
  const y = linear(x, p.get("weight"), p.maybe("bias"), { inputFirst });
  const down = p.maybe("lora_A.weight");
  return down ? add(y, lowRankUpdate(x, down, p.get("lora_B.weight"), p)) : y;
}

/** (alpha / r) B A x (2106.09685, Eq. 3), with dropout on x while training. A [r, I], B [O, r]. */
function lowRankUpdate(x: Tensor, a: Tensor, b: Tensor, { lowRank, path }: Params): Tensor {
  const hidden = linear(dropout(x, lowRank.dropout, path), a);
  return linear(lowRank.scale === 1 ? hidden : mul(hidden, lowRank.scale), b);
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
