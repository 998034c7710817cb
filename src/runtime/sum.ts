/** Sums of whole arrays, by the plain loop that V8 runs fastest: unrolled by four, reads before writes. */

/** Elements at a time, so that the sum of many arrays is still in the nearest cache when the next one is added. */
const block = 4096;

/** target = parts[0] + parts[1] + ..., in this order; all equally long. `target` may be the first part. */
export function sumArrays(target: Float32Array, parts: readonly Float32Array[]): void {
  if (parts.length === 1 && parts[0] !== target) target.set(parts[0]);
  for (let from = 0; from < target.length; from += block) {
    const to = Math.min(from + block, target.length);
    for (let k = 1; k < parts.length; k++) add(target, k === 1 ? parts[0] : target, parts[k], from, to);
  }
}

/** target = a + b from one place to another. */
function add(target: Float32Array, a: Float32Array, b: Float32Array, from: number, to: number): void {
  const whole = from + ((to - from) & ~3);
  for (let i = from; i < whole; i += 4) {
    const s0 = a[i] + b[i];
    const s1 = a[i + 1] + b[i + 1];
    const s2 = a[i + 2] + b[i + 2];
    const s3 = a[i + 3] + b[i + 3];
    target[i] = s0;
    target[i + 1] = s1;
    target[i + 2] = s2;
    target[i + 3] = s3;
  }
  for (let i = whole; i < to; i++) target[i] = a[i] + b[i];
}
