/**
 * How far a model's inside has moved: hidden states of fixed texts now against those of the base, and how widely
 * attention is spread. Pure functions of arrays. Letters: N tokens (rows), C width, H heads, T tokens of one text.
 *
 * CKA: Kornblith et al. 2019, "Similarity of Neural Network Representations Revisited",
 * https://arxiv.org/abs/1905.00414, linear CKA with centred columns (section 3, examples as rows).
 */
import { internal } from "../errors.ts";

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

/** Float64 copy with every column's mean taken off. */
function centred({ data, width: C }: Rows): Float64Array {
  const N = data.length / C;
  const means = new Float64Array(C);
  for (let i = 0; i < data.length; i++) means[i % C] += data[i] / N;
  return Float64Array.from(data, (value, i) => value - means[i % C]);
}

/** |Y'X|² (Frobenius) of X [N, p] and Y [N, q]. */
function crossNorm(X: Float64Array, p: number, Y: Float64Array, q: number): number {
  const N = X.length / p;
  const product = new Float64Array(p * q);
  for (let n = 0; n < N; n++) {
    for (let i = 0; i < p; i++) {
      const x = X[n * p + i];
      for (let j = 0, at = i * q, y = n * q; j < q; j++) product[at + j] += x * Y[y + j];
    }
  }
  return product.reduce((sum, value) => sum + value * value, 0);
}

/**
 * Linear CKA of two matrices with the same tokens as rows; widths may differ. 1 for equal up to rotation and scale.
 * Where one matrix has equal rows there is nothing to compare: 1 if the other has too, 0 if not.
 */
export function linearCka(now: Rows, base: Rows): number {
  if (now.data.length / now.width !== base.data.length / base.width) internal("linearCka: unequal numbers of tokens");
  const X = centred(now);
  const Y = centred(base);
  const own = [crossNorm(X, now.width, X, now.width), crossNorm(Y, base.width, Y, base.width)];
  if (own.includes(0)) return own[0] === own[1] ? 1 : 0;
  return crossNorm(X, now.width, Y, base.width) / Math.sqrt(own[0] * own[1]);
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
