/**
 * Clipping gradients by their global norm (https://arxiv.org/abs/1211.5063). The norm costs one read of the gradients;
 * the scaling costs nothing, because every optimizer's `step` takes the factor and applies it in its own pass.
 */

/** Square root of the sum of squares over all gradients, summed in double precision. NaN or Infinity pass through. */
export function globalNorm(grads: Readonly<Record<string, Float32Array>>): number {
  let total = 0;
  for (const name of Object.keys(grads)) total += sumOfSquares(grads[name]);
  return Math.sqrt(total);
}

/** Four independent sums keep the adder busy: one alone waits for itself. */
function sumOfSquares(values: Float32Array): number {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  const whole = values.length & ~3;
  for (let i = 0; i < whole; i += 4) {
    const a = values[i];
    const b = values[i + 1];
    const c = values[i + 2];
    const d = values[i + 3];
    s0 += a * a;
    s1 += b * b;
    s2 += c * c;
    s3 += d * d;
  }
  for (let i = whole; i < values.length; i++) s0 += values[i] * values[i];
  return s0 + s1 + (s2 + s3);
}

/** The factor that brings a gradient of this norm down to at most `maxNorm` (as PyTorch's clip_grad_norm_). */
export function clipScale(norm: number, maxNorm: number): number {
  return Math.min(1, maxNorm / (norm + 1e-6));
}
