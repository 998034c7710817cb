/**
 * Not quantised at all: every number of an entry is kept, as its 32 float32 bits or its 16 float16 bits. It lets a bank
 * of full vectors (MAC, https://arxiv.org/abs/2403.04317) be the same store as a compressed one, byte for byte counted
 * alike.
 */
import { float16ToFloat32, float32ToFloat16 } from "../checkpoint/half.ts";
import { UserError } from "../errors.ts";
import { checkIndices, type Codebook, type Quantizer, tokenRows } from "./codebook.ts";

/** The "codebook" of vectors kept in `bits` a number. */
export const fullPrecision = (tokens: number, width: number, { bits = 32 }: { bits?: 16 | 32 } = {}): Codebook => ({
  kind: "full",
  tokens,
  width,
  codes: 2 ** bits,
  books: 0,
  data: new Float32Array(),
});

/** Entries of T·D numbers, each as its bits. */
export function createFullQuantizer(codebook: Codebook): Quantizer {
  const { tokens, width, codes } = codebook;
  if (codes !== 2 ** 32 && codes !== 2 ** 16) {
    throw new UserError(`createFullQuantizer: expected numbers of 16 or 32 bits, got ${Math.log2(codes)}`);
  }
  const positions = tokens * width;
  const decode = (indices: ArrayLike<number>): Float32Array => {
    checkIndices("full.decode", indices, codebook, positions);
    if (codes === 2 ** 16) return float16ToFloat32(Uint16Array.from(indices));
    return new Float32Array(Uint32Array.from(indices).buffer);
  };
  return {
    codebook,
    positions,
    bins: 0,
    encode(vectors) {
      const numbers = Float32Array.from(tokenRows("full.encode", vectors, codebook));
      const indices = codes === 2 ** 16 ? Uint32Array.from(float32ToFloat16(numbers)) : new Uint32Array(numbers.buffer);
      const errors = new Float64Array(numbers.length / width);
      decode(indices).forEach((value, i) => {
        errors[Math.floor(i / width)] += (value - numbers[i]) ** 2;
      });
      return { indices, errors };
    },
    decode,
  };
}
