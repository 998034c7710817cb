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

/** Vectors in blocks of this many: a block of products stays in registers while both pass. */
const BLOCK = 4;
/** With at most this many tokens per column, products of tokens are fewer than those of columns. */
const TOKENS_PER_COLUMN = 2;

/** A matrix with centred columns, as vectors one after the other; vectors of zeros fill up the last block. */
interface Vectors {
  readonly data: Float64Array;
  readonly count: number;
  readonly length: number;
}

function centred({ data: values, width }: Rows, of: "tokens" | "columns"): Vectors {
  const tokens = values.length / width;
  const [vectors, length] = of === "tokens" ? [tokens, width] : [width, tokens];
  const count = Math.ceil(vectors / BLOCK) * BLOCK;
  const [toToken, toColumn] = of === "tokens" ? [width, 1] : [1, tokens];
  const data = new Float64Array(count * length);
  for (let i = 0; i < width; i++) {
    let mean = 0;
    for (let n = 0; n < tokens; n++) mean += values[n * width + i] / tokens;
    for (let n = 0; n < tokens; n++) data[n * toToken + i * toColumn] = values[n * width + i] - mean;
  }
  return { data, count, length };
}

/**
 * out[4 x 2] (rows `stride` apart, from `at`) = dot products of vectors i to i + 3 of X with vectors j and j + 1 of
 * Y.
 */
function dots(X: Vectors, i: number, Y: Vectors, j: number, out: Float64Array, at: number, stride: number): void {
  const { data: x, length: L } = X;
  const { data: y } = Y;
  const [x0, x1, x2, x3] = [i * L, (i + 1) * L, (i + 2) * L, (i + 3) * L];
  const [y0, y1] = [j * L, (j + 1) * L];
  let [a0, a1, b0, b1, c0, c1, d0, d1] = [0, 0, 0, 0, 0, 0, 0, 0];
  for (let n = 0; n < L; n++) {
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
  out.set([a0, a1], at);
  out.set([b0, b1], at + stride);
  out.set([c0, c1], at + 2 * stride);
  out.set([d0, d1], at + 3 * stride);
}

const inner = (a: Float64Array, b: Float64Array): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
};

/** |Y'X|² (Frobenius) of columns; of a matrix with itself, half of the product is the other half. */
function crossNorm(X: Vectors, Y: Vectors): number {
  const symmetric = X.data === Y.data;
  const block = new Float64Array(2 * BLOCK);
  let sum = 0;
  for (let i = 0; i < X.count; i += BLOCK) {
    for (let j = symmetric ? i : 0; j < Y.count; j += 2) {
      dots(X, i, Y, j, block, 0, 2);
      sum += (symmetric && j >= i + BLOCK ? 2 : 1) * inner(block, block);
    }
  }
  return sum;
}

/** XX' of centred columns, [tokens, tokens]; the half below its diagonal blocks is that above. */
function gram(rows: Rows): Float64Array {
  const X = centred(rows, "tokens");
  const { count: N } = X;
  const product = new Float64Array(N * N);
  for (let i = 0; i < N; i += BLOCK) for (let j = i; j < N; j += 2) dots(X, i, X, j, product, i * N + j, N);
  for (let i = BLOCK; i < N; i++) for (let j = 0; j < i - (i % BLOCK); j++) product[i * N + j] = product[j * N + i];
  return product;
}

/** Made once per matrix: the base's are compared with every snapshot. */
function kept<T>(make: (rows: Rows) => T): (rows: Rows) => T {
  const made = new WeakMap<Rows, T>();
  return (rows) => {
    const value = made.get(rows) ?? make(rows);
    made.set(rows, value);
    return value;
  };
}

const gramOf = kept((rows) => {
  const product = gram(rows);
  return { product, norm: inner(product, product) };
});
const columnsOf = kept((rows) => {
  const columns = centred(rows, "columns");
  return { columns, norm: crossNorm(columns, columns) };
});

/** |Y'X|², |X'X|², |Y'Y|²: with few tokens from XX' and YY', as |Y'X|² is the sum of their products, entry by entry. */
function norms(now: Rows, base: Rows): [cross: number, now: number, base: number] {
  const tokens = now.data.length / now.width;
  if (tokens <= TOKENS_PER_COLUMN * Math.min(now.width, base.width)) {
    const [X, Y] = [gramOf(now), gramOf(base)];
    return [inner(X.product, Y.product), X.norm, Y.norm];
  }
  const [X, Y] = [columnsOf(now), columnsOf(base)];
  return [crossNorm(X.columns, Y.columns), X.norm, Y.norm];
}

const bytesOf = ({ data }: Rows): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

/**
 * Linear CKA of two matrices with the same tokens as rows; widths may differ. 1 for equal up to rotation and scale.
 * Where one matrix has equal rows there is nothing to compare: 1 if the other has too, 0 if not.
 */
export function linearCka(now: Rows, base: Rows): number {
  if (now.data.length / now.width !== base.data.length / base.width) internal("linearCka: unequal numbers of tokens");
  // What never moves, as where a method changes no weight, needs no products
  if (now.width === base.width && Buffer.compare(bytesOf(now), bytesOf(base)) === 0) return 1;
  const [cross, ofNow, ofBase] = norms(now, base);
  if (ofNow === 0 || ofBase === 0) return ofNow === ofBase ? 1 : 0;
  return cross / Math.sqrt(ofNow * ofBase);
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
