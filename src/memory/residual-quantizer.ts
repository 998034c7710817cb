/**
 * Residual quantisation: the first codebook takes a token, each further one what the codes before it left over, and the
 * codes add up. SoundStream, https://arxiv.org/abs/2107.03312, section III-C, Algorithm 1. Letters: R depth (N_q there),
 * x [..., D] tokens, codebooks [R, K, D].
 */
import { UserError } from "../errors.ts";
import { add, concat, gather, mul, reshape, rows, slice, stopGradient, sub } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";
import { expectShape } from "../tensor/shape.ts";
import { bookOf, type Codebook, checkCodebook, checkIndices, nearest, type Quantizer, tokenRows } from "./codebook.ts";
import {
  nearestCodes,
  quantizationLosses,
  type Quantized,
  type QuantizeOptions,
  straightThrough,
} from "./vector-quantizer.ts";

export interface ResidualOptions extends QuantizeOptions {
  /** How much the codes of each depth count in what comes out, [R]: zeros behind a depth leave the rest away. */
  readonly depths?: Tensor;
}

export interface ResidualQuantized extends Quantized {
  /** Commitment loss of the last depth alone: what all codes together leave of x. Scalar. */
  readonly leftLoss: Tensor;
}

/** R codes for each token: x [..., D], codebooks [R, K, D] -> quantized [..., D], indices [..., R]; losses add up. */
export function residualQuantize(
  x: Tensor,
  codebooks: Tensor,
  { depths, ...options }: ResidualOptions = {},
): ResidualQuantized {
  expectShape("residualQuantize (codebooks)", codebooks.shape, "R K D", { D: x.shape[x.rank - 1] });
  const [R, K, D] = codebooks.shape;
  if (typeof R !== "number" || R < 1) {
    throw new UserError(`residualQuantize: expected a fixed depth from 1, got ${R}; give codebooks [R, K, D]`);
  }
  let rest = x;
  const stages = Array.from({ length: R }, (_, depth) => {
    const book = reshape(slice(codebooks, { axis: 0, start: depth, end: depth + 1 }), [K, D]);
    const indices = reshape(nearestCodes(rows(rest), book), x.shape.slice(0, -1));
    const code = gather(book, indices);
    const losses = quantizationLosses(rest, code, options);
    rest = sub(rest, stopGradient(code));
    const counted = depths ? mul(code, slice(depths, { axis: 0, start: depth, end: depth + 1 })) : code;
    return { code: counted, indices: reshape(indices, [...indices.shape, 1]), ...losses };
  });
  const total = (part: "code" | "codebookLoss" | "commitmentLoss" | "loss"): Tensor =>
    stages.map((stage) => stage[part]).reduce((a, b) => add(a, b));
  return {
    quantized: straightThrough(x, total("code")),
    indices: concat(
      stages.map(({ indices }) => indices),
      { axis: -1 },
    ),
    codebookLoss: total("codebookLoss"),
    commitmentLoss: total("commitmentLoss"),
    leftLoss: stages[R - 1].commitmentLoss,
    loss: total("loss"),
  };
}

export interface ResidualEncoded {
  /** [N, R]. */
  readonly indices: Uint32Array;
  /** Squared distance of each vector to its sum of codes. */
  readonly errors: Float64Array;
  /** What each codebook was asked, [N, D] per depth: the vectors that a dead code of it is replaced from. */
  readonly asked: readonly Float32Array[];
}

/** The same on numbers: vectors [N, D], books [R, K, D] row-major. Rounded to float32 after each depth, as the graph is. */
export function encodeResidual(
  vectors: Float32Array,
  { width, codes, books, data }: Pick<Codebook, "width" | "codes" | "books" | "data">,
): ResidualEncoded {
  const N = vectors.length / width;
  const indices = new Uint32Array(N * books);
  const asked: Float32Array[] = [];
  let rest = vectors;
  let errors = new Float64Array(N);
  for (let depth = 0; depth < books; depth++) {
    asked.push(rest);
    const book = data.subarray(depth * codes * width, (depth + 1) * codes * width);
    const found = nearest(rest, book, width);
    errors = found.errors;
    const next = Float32Array.from(rest);
    for (let n = 0; n < N; n++) {
      indices[n * books + depth] = found.indices[n];
      for (let i = 0, at = found.indices[n] * width; i < width; i++) next[n * width + i] -= book[at + i];
    }
    rest = next;
  }
  return { indices, errors, asked };
}

/** Entries of T tokens, each as R indices: [T, R] positions. */
export function createResidualQuantizer(codebook: Codebook): Quantizer {
  checkCodebook("createResidualQuantizer", codebook);
  const { tokens, width, codes, books, data } = codebook;
  return {
    codebook,
    positions: tokens * books,
    bins: books * codes,
    encode: (vectors) => encodeResidual(tokenRows("residual.encode", vectors, codebook), codebook),
    decode(indices) {
      checkIndices("residual.decode", indices, codebook, tokens * books);
      const out = new Float32Array((indices.length / books) * width);
      for (let p = 0; p < indices.length; p++) {
        const from = (bookOf(codebook, p) * codes + indices[p]) * width;
        const to = Math.floor(p / books) * width;
        for (let i = 0; i < width; i++) out[to + i] += data[from + i];
      }
      return out;
    },
  };
}
