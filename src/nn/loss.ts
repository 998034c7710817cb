/** Losses over token rows: N rows, V classes. A mask leaves rows out of the mean; an empty mask gives 0, not NaN. */
import {
  crossEntropy as tokenLosses,
  div,
  exp,
  logSoftmax,
  maximum,
  mul,
  stopGradient,
  sub,
  sum,
} from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";
import { expectShape } from "../tensor/shape.ts";

/** Mean of per-row values [N] over the rows that mask [N] keeps (weights are allowed). */
export function maskedMean(values: Tensor, mask: Tensor): Tensor {
  expectShape("maskedMean (mask)", mask.shape, "N", { N: values.shape[0] });
  return div(sum(mul(values, mask)), maximum(sum(mask), 1e-9));
}

/** Mean cross-entropy in nats: logits [N, V], targets [N] (int32), mask [N] (float32) -> scalar. */
export function crossEntropy(logits: Tensor, targets: Tensor, mask: Tensor): Tensor {
  return maskedMean(tokenLosses(logits, targets), mask);
}

/** Mean KL(softmax(p) || softmax(q)) in nats; the teacher p carries no gradient. p, q [N, V], mask [N] -> scalar. */
export function klDivergence(p: Tensor, q: Tensor, mask: Tensor): Tensor {
  const logP = logSoftmax(stopGradient(p));
  return maskedMean(sum(mul(exp(logP), sub(logP, logSoftmax(q))), { axes: [1] }), mask);
}
