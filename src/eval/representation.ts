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

/** Columns in blocks of this many: a block of the product stays in registers while all tokens pass. */
const BLOCK = 4;

/** A matrix with centred columns, column after column, and |X'X|². Columns of zeros fill up the last block. */
interface Centred {
  /** [columns, N]. */
  readonly data: Float64Array;
  readonly tokens: number;
  readonly columns: number;
  readonly norm: number;
}

/** Kept with the matrix: the base's are compared with every snapshot. */
const centredOf = new WeakMap<Rows, Centred>();

function centred(rows: Rows): Centred {
  const known = centredOf.get(rows);
  if (known) return known;
  const { data: values, width } = rows;
  const tokens = values.length / width;
  const columns = Math.ceil(width / BLOCK) * BLOCK;
  const data = new Float64Array(columns * tokens);
  for (let i = 0; i < width; i++) {
    let mean = 0;
    for (let n = 0; n < tokens; n++) mean += values[n * width + i] / tokens;
    for (let n = 0; n < tokens; n++) data[i * tokens + n] = values[n * width + i] - mean;
  }
  const matrix = { data, tokens, columns };
  const found = { ...matrix, norm: crossNorm(matrix, matrix) };
  centredOf.set(rows, found);
  return found;
}

/** |Y'X|² (Frobenius); of a matrix with itself, half of the product is the other half. */
function crossNorm(X: Omit<Centred, "norm">, Y: Omit<Centred, "norm">): number {
  const symmetric = X.data === Y.data;
  let sum = 0;
  for (let i = 0; i < X.columns; i += BLOCK) {
    for (let j = symmetric ? i : 0; j < Y.columns; j += BLOCK) {
      const block = blockNorm(X, i, Y, j) + blockNorm(X, i, Y, j + 2);
      sum += symmetric && j > i ? 2 * block : block;
    }
  }
  return sum;
}

/** The sum of squares of the dot products of columns i to i + 3 of X with columns j and j + 1 of Y. */
function blockNorm({ data: x, tokens: N }: Omit<Centred, "norm">, i: number, Y: Omit<Centred, "norm">, j: number) {
  const { data: y } = Y;
  const [x0, x1, x2, x3] = [i * N, (i + 1) * N, (i + 2) * N, (i + 3) * N];
  const [y0, y1] = [j * N, (j + 1) * N];
  let [a0, a1, b0, b1, c0, c1, d0, d1] = [0, 0, 0, 0, 0, 0, 0, 0];
  for (let n = 0; n < N; n++) {
    const p = y[y0 + n];
    const q = y[y1 + n];
    const a = x[x0 + n];
    const b = x[x1 + n];
    const c = x[x2 + n];
    const d = x[x3 + n];
    a0 += a * p;
    a1 += a * q;
    b0 += b * p;
    b1 += b * q;
    c0 += c * p;
    c1 += c * q;
    d0 += d * p;
    d1 += d * q;
  }
  return a0 * a0 + a1 * a1 + b0 * b0 + b1 * b1 + c0 * c0 + c1 * c1 + d0 * d0 + d1 * d1;
}

/**
 * Linear CKA of two matrices with the same tokens as rows; widths may differ. 1 for equal up to rotation and scale.
 * Where one matrix has equal rows there is nothing to compare: 1 if the other has too, 0 if not.
 */
export function linearCka(now: Rows, base: Rows): number {
  if (now.data.length / now.width !== base.data.length / base.width) internal("linearCka: unequal numbers of tokens");
  const [X, Y] = [centred(now), centred(base)];
  if (X.norm === 0 || Y.norm === 0) return X.norm === Y.norm ? 1 : 0;
  return crossNorm(X, Y) / Math.sqrt(X.norm * Y.norm);
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
