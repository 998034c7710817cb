/**
 * A codebook for each of the T tokens of an entry: slot t only meets vectors of slot t, so its codes are spent on them,
 * and a code says which slot it came from. Letters: x [..., T, D] tokens, codebooks [T, K, D].
 */
import { UserError } from "../errors.ts";
import { int32Host } from "../tensor/dtype.ts";
import { add, constant, gather, reshape, transpose } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";
import { elementCount, expectShape, formatShape, isStatic } from "../tensor/shape.ts";
import { bookOf, checkCodebook, checkIndices, type Codebook, nearest, type Quantizer, tokenRows } from "./codebook.ts";
import {
  nearestCodes,
  quantizationLosses,
  type Quantized,
  type QuantizeOptions,
  straightThrough,
} from "./vector-quantizer.ts";

/** One code for each token from its slot's codebook: x [..., T, D], codebooks [T, K, D] -> indices [..., T]. */
export function slotQuantize(x: Tensor, codebooks: Tensor, options: QuantizeOptions = {}): Quantized {
  const { shape } = codebooks;
  expectShape("slotQuantize (codebooks)", shape, "T K D", { T: x.shape[x.rank - 2], D: x.shape[x.rank - 1] });
  if (!isStatic(shape)) {
    throw new UserError(`slotQuantize: expected codebooks of known sizes, got ${formatShape(shape)}; name no axis`);
  }
  const [T, K, D] = shape;
  const bySlot = transpose(reshape(x, [elementCount(x.shape.slice(0, -2)), T, D]), [1, 0, 2]); // [T, N, D]
  const indices = reshape(transpose(nearestCodes(bySlot, codebooks)), x.shape.slice(0, -1));
  // One table of all slots: code k of slot t lies in row t K + k
  const first = constant(
    int32Host(
      [T],
      Array.from({ length: T }, (_, slot) => slot * K),
    ),
  );
  const code = gather(reshape(codebooks, [T * K, D]), add(indices, first));
  return { quantized: straightThrough(x, code), indices, ...quantizationLosses(x, code, options) };
}

/** Entries of T tokens, each as an index into its slot's codebook. */
export function createSlotQuantizer(codebook: Codebook): Quantizer {
  checkCodebook("createSlotQuantizer", codebook);
  const { tokens, width, codes, data } = codebook;
  if (codebook.books !== tokens) {
    throw new UserError(
      `createSlotQuantizer: expected a codebook for each of ${tokens} tokens, got ${codebook.books}; ` +
        "use createTokenQuantizer for one that all share",
    );
  }
  return {
    codebook,
    positions: tokens,
    bins: tokens * codes,
    encode(vectors) {
      const x = tokenRows("slot.encode", vectors, codebook);
      const N = x.length / width / tokens;
      const indices = new Uint32Array(N * tokens);
      const errors = new Float64Array(N * tokens);
      const own = new Float32Array(N * width);
      for (let slot = 0; slot < tokens; slot++) {
        for (let n = 0; n < N; n++) {
          const at = (n * tokens + slot) * width;
          own.set(x.subarray(at, at + width), n * width);
        }
        const found = nearest(own, data.subarray(slot * codes * width, (slot + 1) * codes * width), width);
        for (let n = 0; n < N; n++) {
          indices[n * tokens + slot] = found.indices[n];
          errors[n * tokens + slot] = found.errors[n];
        }
      }
      return { indices, errors };
    },
    decode(indices) {
      checkIndices("slot.decode", indices, codebook, tokens);
      const out = new Float32Array(indices.length * width);
      for (let p = 0; p < indices.length; p++) {
        const at = (bookOf(codebook, p) * codes + indices[p]) * width;
        out.set(data.subarray(at, at + width), p * width);
      }
      return out;
    },
  };
}
