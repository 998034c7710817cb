/**
 * Codebooks as plain numbers, and what a bank and a method need of a quantiser however many codebooks it has: entries
 * of T tokens to indices and back. The nearest code is found in doubles; the graph's
 * (vector-quantizer.ts) rounds to float32, so on a near tie it may choose the other code: keep the indices it gave.
 */
import { UserError } from "../errors.ts";
import { float16ToFloat32, float32ToFloat16 } from "../checkpoint/half.ts";

export type QuantizerKind = "token" | "residual" | "slot" | "full";

export interface Codebook {
  readonly kind: QuantizerKind;
  /** T: tokens of an entry. */
  readonly tokens: number;
  /** D: numbers in a token. */
  readonly width: number;
  /** K: codes of each codebook; an index is below it. */
  readonly codes: number;
  /** B: codebooks. */
  readonly books: number;
  /** [B, K, D]. */
  readonly data: Float32Array;
}

export interface Encoded {
  /** [N, positions]. */
  readonly indices: Uint32Array;
  /** Squared distance of each token to what decoding gives: [N, T]. */
  readonly errors: Float64Array;
}

export interface Quantizer {
  readonly codebook: Codebook;
  /** Indices of an entry. */
  readonly positions: number;
  /** B·K: how many different (codebook, index) there are to count; 0 where counting makes no sense. */
  readonly bins: number;
  /** N·T·D numbers to N·positions indices. */
  encode(vectors: Float32Array): Encoded;
  /** N·positions indices to N·T·D numbers. */
  decode(indices: ArrayLike<number>): Float32Array;
}

/** The codebook that the index at a position of an entry points into; positions may run over several entries. */
export const bookOf = ({ books }: Pick<Codebook, "books">, position: number): number => position % books;

/** Bits of an index below `codes`. */
export const bitsOfIndex = (codes: number): number => 32 - Math.clz32(codes - 1);

export function checkCodebook(who: string, { tokens, width, codes, books, data }: Codebook): void {
  const sizes = [tokens, width, codes, books];
  if (!sizes.every((size) => Number.isInteger(size) && size >= 1) || codes < 2) {
    throw new UserError(
      `${who}: expected whole tokens, width and books from 1 and codes from 2, got ${tokens}, ${width}, ${books} and ` +
        `${codes}; 512 codes suit most banks`,
    );
  }
  if (data.length !== books * codes * width) {
    throw new UserError(
      `${who}: expected ${books} x ${codes} x ${width} numbers, got ${data.length}; give [books, codes, width]`,
    );
  }
  const bad = data.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) {
    const code = Math.floor(bad / width);
    throw new UserError(
      `${who}: expected finite numbers, got ${data[bad]} in code ${code % codes} of codebook ` +
        `${Math.floor(code / codes)}; look at what trained it`,
    );
  }
}

/** Whole entries of finite numbers, or an error. */
export function tokenRows(
  who: string,
  vectors: Float32Array,
  { tokens, width }: Pick<Codebook, "tokens" | "width">,
): Float32Array {
  if (vectors.length % (tokens * width) !== 0) {
    throw new UserError(
      `${who}: expected entries of ${tokens} x ${width} numbers, got ${vectors.length}; give whole entries`,
    );
  }
  const bad = vectors.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) {
    throw new UserError(
      `${who}: expected finite numbers, got ${vectors[bad]} in token ${Math.floor(bad / width)}; look at the encoder`,
    );
  }
  return vectors;
}

/** Whole entries of indices that lie in the codebook, or an error that names the position. */
export function checkIndices(
  who: string,
  indices: ArrayLike<number>,
  { codes }: Pick<Codebook, "codes">,
  positions: number,
): void {
  if (indices.length % positions !== 0) {
    throw new UserError(`${who}: expected ${positions} indices an entry, got ${indices.length}; give whole entries`);
  }
  for (let p = 0; p < indices.length; p++) {
    if (Number.isInteger(indices[p]) && indices[p] >= 0 && indices[p] < codes) continue;
    throw new UserError(
      `${who}: expected indices below ${codes}, got ${indices[p]} at position ${p}; use the codebook they were made with`,
    );
  }
}

/** Σ x[i] codes[at + i]. Four sums, as one waits for its own last. */
function product(x: Float64Array, codes: Float32Array, at: number): number {
  // One by one: taken from an array they cost twice the time
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  let i = 0;
  for (; i + 3 < x.length; i += 4) {
    a += x[i] * codes[at + i];
    b += x[i + 1] * codes[at + i + 1];
    c += x[i + 2] * codes[at + i + 2];
    d += x[i + 3] * codes[at + i + 3];
  }
  for (; i < x.length; i++) a += x[i] * codes[at + i];
  return a + b + (c + d);
}

/** The nearest code of each vector [N, D] by squared distance, the first of equals; codes [K, D]. */
export function nearest(
  vectors: Float32Array,
  codes: Float32Array,
  width: number,
): { readonly indices: Uint32Array; readonly errors: Float64Array<ArrayBuffer> } {
  const N = vectors.length / width;
  const indices = new Uint32Array(N);
  const errors = new Float64Array(N);
  const halves = Float64Array.from({ length: codes.length / width }, (_, code) => {
    const own = codes.subarray(code * width, (code + 1) * width);
    return product(Float64Array.from(own), own, 0) / 2;
  });
  const x = new Float64Array(width);
  for (let n = 0; n < N; n++) {
    for (let i = 0; i < width; i++) x[i] = vectors[n * width + i];
    // |x - c|² = |x|² - 2 (x·c - |c|²/2): the nearest code has the largest bracket
    let best = Number.NEGATIVE_INFINITY;
    for (let code = 0; code < halves.length; code++) {
      const score = product(x, codes, code * width) - halves[code];
      if (score > best) [best, indices[n]] = [score, code];
    }
    // Not from the bracket, which would not be 0 where the vector is a code
    for (let i = 0; i < width; i++) errors[n] += (x[i] - codes[indices[n] * width + i]) ** 2;
  }
  return { indices, errors };
}

/** Rounded to float16, as a bank stores it: encode with this, not with the numbers before. */
export function toHalf(codebook: Codebook): Codebook {
  const data = float16ToFloat32(float32ToFloat16(codebook.data));
  const bad = data.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) {
    throw new UserError(
      `toHalf: expected codes below 65520, got ${codebook.data[bad]} in code ${Math.floor(bad / codebook.width)}; ` +
        "scale the tokens down or keep the codebook in float32",
    );
  }
  return { ...codebook, data };
}

/** A copy with the numbers as a bank keeps them in so many bits. */
export const storedCodebook = (codebook: Codebook, bits: 16 | 32): Codebook =>
  bits === 16 ? toHalf(codebook) : { ...codebook, data: Float32Array.from(codebook.data) };

/** Entries of T tokens, each as one index into the same codebook. */
export function createTokenQuantizer(codebook: Codebook): Quantizer {
  checkCodebook("createTokenQuantizer", codebook);
  const { tokens, width, codes, books, data } = codebook;
  if (books !== 1) {
    throw new UserError(
      `createTokenQuantizer: expected one codebook, got ${books}; use createSlotQuantizer or createResidualQuantizer`,
    );
  }
  return {
    codebook,
    positions: tokens,
    bins: codes,
    encode: (vectors) => nearest(tokenRows("token.encode", vectors, codebook), data, width),
    decode(indices) {
      checkIndices("token.decode", indices, codebook, tokens);
      const out = new Float32Array(indices.length * width);
      for (let p = 0; p < indices.length; p++) {
        out.set(data.subarray(indices[p] * width, (indices[p] + 1) * width), p * width);
      }
      return out;
    },
  };
}
