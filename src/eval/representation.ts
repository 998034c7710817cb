/**
 * How far a model's inside has moved: hidden states of fixed texts now against those of the base, and how widely
 * attention is spread. Functions of arrays alone. Letters: N tokens (rows), C and D widths, H heads, T tokens of one
 * text.
 *
 * CKA: Kornblith et al. 2019, "Similarity of Neural Network Representations Revisited",
 * https://arxiv.org/abs/1905.00414, linear CKA with centred columns (section 3, examples as rows).
 */
import { internal } from "../errors.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { float32Host, type HostTensor } from "../tensor/dtype.ts";
import { input, matmul, square, sum } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";

/** A matrix [N, C], row after row. */
export interface Rows {
  readonly data: Float32Array;
  readonly width: number;
}

export const representationFormulas = {
  relativeL2: "relative L2 = mean over tokens of |h - h0| / |h0|, h0 the base's hidden state",
  cosine: "cosine = mean over tokens of h·h0 / (|h| |h0|)",
  cka: "CKA = |Y'X|² / (|X'X| |Y'Y|), X and Y the hidden states with centred columns, Frobenius norms",
  entropy: "attention entropy = mean over key tokens of -Σ a ln a over the tokens attended to, nats",
} as const;

function checkedPair(now: Rows, base: Rows): number {
  if (now.width !== base.width || now.data.length !== base.data.length || now.data.length % now.width !== 0) {
    internal(`representation: ${now.data.length} by ${now.width} beside ${base.data.length} by ${base.width}`);
  }
  return now.data.length / now.width;
}

/** Puts matrices of one width under each other. */
export function stacked(parts: readonly Rows[]): Rows {
  const width = parts[0]?.width ?? 1;
  const data = new Float32Array(parts.reduce((sum, part) => sum + part.data.length, 0));
  let at = 0;
  for (const part of parts) {
    if (part.width !== width) internal(`representation: rows of ${width} and ${part.width} numbers`);
    data.set(part.data, at);
    at += part.data.length;
  }
  return { data, width };
}

/**
 * Mean over tokens of |h - h0| / |h0|, and mean cosine of h and h0. A token counts by itself and not by its length,
 * because a few tokens have hidden states many times longer than the others and would hide the rest.
 * Tokens with h0 = 0 are left out.
 */
export function drift(now: Rows, base: Rows): { relativeL2: number; cosine: number } {
  const N = checkedPair(now, base);
  const C = now.width;
  let relative = 0;
  let cosine = 0;
  let counted = 0;
  for (let n = 0; n < N; n++) {
    let distance = 0;
    let dot = 0;
    let square = 0;
    let baseSquare = 0;
    for (let i = n * C; i < (n + 1) * C; i++) {
      const [h, h0] = [now.data[i], base.data[i]];
      distance += (h - h0) ** 2;
      dot += h * h0;
      square += h * h;
      baseSquare += h0 * h0;
    }
    if (baseSquare === 0) continue;
    counted++;
    relative += Math.sqrt(distance / baseSquare);
    if (square > 0) cosine += dot / Math.sqrt(square * baseSquare);
  }
  return counted === 0 ? { relativeL2: 0, cosine: 1 } : { relativeL2: relative / counted, cosine: cosine / counted };
}

/** Columns centred, and all scaled to a root mean square of 1: CKA is the same, and float32 holds every sum of it. */
function centred({ data, width: C }: Rows): HostTensor {
  const N = data.length / C;
  const means = new Float64Array(C);
  for (let i = 0; i < data.length; i++) means[i % C] += data[i] / N;
  const values = Float64Array.from(data, (value, i) => value - means[i % C]);
  const size = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
  const largest = data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  // Equal rows leave what the means were rounded by
  return float32Host(
    [N, C],
    size <= 1e-12 * largest ? new Float32Array(values.length) : Float32Array.from(values, (v) => v / size),
  );
}

/** |Y'X|², |X'X|², |Y'Y|². */
function normsGraph(): Record<string, Tensor> {
  const [x, y] = [input("x", "float32", ["N", "C"]), input("y", "float32", ["N", "D"])];
  const norm = (a: Tensor, b: Tensor): Tensor => sum(square(matmul(a, b, { transposeA: true })));
  return { cross: norm(y, x), ofNow: norm(x, x), ofBase: norm(y, y) };
}

const bytesOf = ({ data }: Rows): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
const isSame = (a: Rows, b: Rows): boolean => a.width === b.width && Buffer.compare(bytesOf(a), bytesOf(b)) === 0;

/**
 * Linear CKA of pairs of matrices with the same tokens as rows; widths may differ. 1 for equal up to rotation and
 * scale. Where one matrix has equal rows there is nothing to compare: 1 if the other has too, 0 if not.
 */
export async function linearCka(pairs: readonly (readonly [now: Rows, base: Rows])[]): Promise<number[]> {
  for (const [now, base] of pairs) {
    if (now.data.length / now.width !== base.data.length / base.width) internal("linearCka: unequal numbers of tokens");
  }
  // What never moves, as where a method changes no weight, needs no products
  if (pairs.every(([now, base]) => isSame(now, base))) return pairs.map(() => 1);
  const runtime = createRuntime();
  try {
    const program = await runtime.compile(normsGraph());
    const values: number[] = [];
    for (const [now, base] of pairs) {
      if (isSame(now, base)) {
        values.push(1);
        continue;
      }
      const norms = await program.run({ x: centred(now), y: centred(base) });
      const [cross, ofNow, ofBase] = ["cross", "ofNow", "ofBase"].map((name) => Number(norms[name].data[0]));
      values.push(ofNow === 0 || ofBase === 0 ? Number(ofNow === ofBase) : cross / Math.sqrt(ofNow * ofBase));
    }
    return values;
  } finally {
    await runtime.dispose();
  }
}

/**
 * Entropy of attention in nats: for each head of [H, T, T] (rows: the token that attends; columns: what it attends to)
 * the mean over the rows named in `positions`.
 */
export function attentionEntropy(
  weights: Float32Array,
  { heads: H, length: T, positions }: { heads: number; length: number; positions: readonly number[] },
): number[] {
  if (weights.length !== H * T * T)
    internal(`attentionEntropy: ${weights.length} weights for ${H} heads of ${T} tokens`);
  return Array.from({ length: H }, (_, head) => {
    let sum = 0;
    for (const position of positions) {
      const from = (head * T + position) * T;
      for (let i = from; i < from + T; i++) if (weights[i] > 0) sum -= weights[i] * Math.log(weights[i]);
    }
    return sum / positions.length;
  });
}
