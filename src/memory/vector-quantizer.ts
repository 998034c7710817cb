/**
 * Vector quantisation as a graph: every token becomes its nearest code. Neural discrete representation learning
 * (VQ-VAE), https://arxiv.org/abs/1711.00937, section 3, Eqs. 1-3, as memory bank compression uses it,
 * https://arxiv.org/abs/2601.00756. Letters: x [N, D] tokens (z_e of the paper), C [K, D] the codebook (e), β commitment.
 * The codebook learns from its loss (`codebookLoss`), or by moving averages outside the graph (codebook-average.ts).
 */
import { maskedMean } from "../nn/loss.ts";
import {
  add,
  argmax,
  broadcastTo,
  gather,
  matmul,
  mean,
  mul,
  reshape,
  rows,
  scalar,
  square,
  stopGradient,
  sub,
  sum,
} from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";
import { expectShape } from "../tensor/shape.ts";

export interface QuantizeOptions {
  /** Which tokens count in the losses, 1 or 0 each: the shape of x without its last axis. All by default. */
  readonly mask?: Tensor;
  /** β: how much the tokens are drawn to their codes; 0.25 in the paper. */
  readonly commitment?: number;
}

export interface Quantized {
  /** The codes themselves in the shape of x, to the last bit; the gradient passes to x as if nothing had happened. */
  readonly quantized: Tensor;
  /** int32. */
  readonly indices: Tensor;
  /** Mean squared distance; its gradient moves the codes. Scalar. */
  readonly codebookLoss: Tensor;
  /** The same distance; its gradient moves x. Scalar. */
  readonly commitmentLoss: Tensor;
  /** codebookLoss + β commitmentLoss. Scalar. */
  readonly loss: Tensor;
}

/** x·c - |c|²/2 of every code, (|x|² - |x - c|²) / 2: x [..., N, D], codes [..., K, D] -> [..., N, K]. */
export function nearness(x: Tensor, codes: Tensor): Tensor {
  const half = mul(sum(square(codes), { axes: [-1] }), 0.5);
  const row = reshape(half, [...half.shape.slice(0, -1), 1, half.shape[half.rank - 1]]);
  return sub(matmul(x, codes, { transposeB: true }), row);
}

/** Index of the nearest code by squared distance, the first of equals: x [..., N, D], codes [..., K, D] -> [..., N]. */
export const nearestCodes = (x: Tensor, codes: Tensor): Tensor => argmax(nearness(x, codes));

/** The value of `code`, the gradient of `x`. x + (code - x) would be rounded; x - x is 0, so this is not. */
export const straightThrough = (x: Tensor, code: Tensor): Tensor => add(sub(x, stopGradient(x)), stopGradient(code));

/** Codebook and commitment loss of tokens [..., D] and their codes of the same shape; mask [...] as in `QuantizeOptions`. */
export function quantizationLosses(
  x: Tensor,
  code: Tensor,
  { mask, commitment = 0.25 }: QuantizeOptions = {},
): Pick<Quantized, "codebookLoss" | "commitmentLoss" | "loss"> {
  const [a, b] = [rows(x), rows(code)];
  const weights = mask ? reshape(mask, [a.shape[0]]) : broadcastTo(scalar(1), [a.shape[0]]);
  const distance = (p: Tensor, q: Tensor): Tensor => maskedMean(mean(square(sub(p, q)), { axes: [1] }), weights);
  const codebookLoss = distance(stopGradient(a), b);
  const commitmentLoss = distance(a, stopGradient(b));
  return { codebookLoss, commitmentLoss, loss: add(codebookLoss, mul(commitmentLoss, commitment)) };
}

/** One code for each token: x [..., D], codebook [K, D] -> quantized [..., D], indices [...]. */
export function vectorQuantize(x: Tensor, codebook: Tensor, options: QuantizeOptions = {}): Quantized {
  expectShape("vectorQuantize (codebook)", codebook.shape, "K D", { D: x.shape[x.rank - 1] });
  const indices = reshape(nearestCodes(rows(x), codebook), x.shape.slice(0, -1));
  const code = gather(codebook, indices);
  return { quantized: straightThrough(x, code), indices, ...quantizationLosses(x, code, options) };
}
