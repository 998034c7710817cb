/**
 * A codebook learned without a gradient: each code is the moving average of the vectors that chose it. VQ-VAE,
 * https://arxiv.org/abs/1711.00937, appendix A.1, Eqs. 5-7, with Laplace smoothing of the counts. It learns from a
 * stream as well: what lies t updates back weighs decay^t. Letters: N_i counts, m_i sums, γ decay, ε smoothing;
 * e_i = m_i / N̂_i with N̂_i = (N_i + ε) / (n + K ε) n and n = Σ N_i.
 */
import { internal, UserError } from "../errors.ts";
import type { HostTensor } from "../tensor/dtype.ts";
import { clusterSums } from "./codebook-start.ts";
import { type MemoryState, numberOf, packDoubles, tensorOf, unpackDoubles } from "./packed.ts";

export interface AverageOptions {
  /** D. */
  readonly width: number;
  /** γ: the weight of the past at each update. */
  readonly decay?: number;
  /** ε: keeps the division away from zero; a code that nobody chooses shrinks once its count nears it. */
  readonly smoothing?: number;
  /** N_i at the start: so many vectors each code already stands for, or one number for all. */
  readonly count?: number | ArrayLike<number>;
}

export interface CodebookAverage {
  /** The codes now, [K, D]; the same array after each update. */
  readonly codes: Float32Array;
  /** Moves the codes towards the vectors [N, D] that chose them; a `decay` of its own for steps of unequal length. */
  update(vectors: Float32Array, indices: ArrayLike<number>, options?: { readonly decay?: number }): void;
  /** Puts a code elsewhere, as if it had been there for `count` vectors; the mean count of all by default. */
  place(code: number, vector: ArrayLike<number>, count?: number): void;
  state(): MemoryState;
  /** Takes on a saved state of as many codes of the same width, or throws and stays as it is. */
  restore(state: MemoryState): void;
}

function checkDecay(decay: number): void {
  if (decay >= 0 && decay < 1) return;
  throw new UserError(`createCodebookAverage: expected a decay from 0 and below 1, got ${decay}; 0.99 is usual`);
}

/** Averages that start at a codebook [K, D], which is copied. */
export function createCodebookAverage(
  start: Float32Array,
  { width, decay: usual = 0.99, smoothing = 1e-5, count = 1 }: AverageOptions,
): CodebookAverage {
  checkDecay(usual);
  const codes = Float32Array.from(start);
  const K = codes.length / width;
  const counts = typeof count === "number" ? new Float64Array(K).fill(count) : Float64Array.from(count);
  if (counts.length !== K) internal(`createCodebookAverage: ${counts.length} counts of ${K} codes`);
  if (!(smoothing > 0) || !counts.every((own) => own > 0)) {
    throw new UserError(
      `createCodebookAverage: expected smoothing and count above 0, got ${smoothing} and ${Math.min(...counts)}; ` +
        "try 1e-5 and 1",
    );
  }
  const sums = Float64Array.from(codes, (value, at) => value * counts[Math.floor(at / width)]);

  const divide = (): void => {
    const total = counts.reduce((a, b) => a + b, 0);
    for (let code = 0; code < K; code++) {
      const smoothed = ((counts[code] + smoothing) / (total + K * smoothing)) * total;
      for (let at = code * width; at < (code + 1) * width; at++) codes[at] = sums[at] / smoothed;
    }
  };

  return {
    codes,
    update(vectors, indices, { decay = usual } = {}) {
      checkDecay(decay);
      if (vectors.length !== indices.length * width) {
        throw new UserError(
          `codebookAverage.update: expected ${width} numbers for each of ${indices.length} indices, ` +
            `got ${vectors.length}; give the tokens that were quantised`,
        );
      }
      const found = clusterSums(vectors, indices, { codes: K, width });
      for (let i = 0; i < K; i++) counts[i] = decay * counts[i] + (1 - decay) * found.counts[i];
      for (let i = 0; i < sums.length; i++) sums[i] = decay * sums[i] + (1 - decay) * found.sums[i];
      divide();
    },
    place(code, vector, own = counts.reduce((a, b) => a + b, 0) / K) {
      counts[code] = own;
      for (let i = 0; i < width; i++) {
        sums[code * width + i] = vector[i] * own;
        codes[code * width + i] = vector[i];
      }
    },
    state() {
      const tensors: Record<string, HostTensor> = {
        counts: packDoubles([K], counts),
        sums: packDoubles([K, width], sums),
        codes: { dtype: "float32", shape: [K, width], data: Float32Array.from(codes) },
      };
      return { tensors, json: { codes: K, width } };
    },
    restore(state) {
      if (numberOf(state, "codes", 1) !== K || numberOf(state, "width", 1) !== width) {
        throw new UserError(
          `codebookAverage.restore: expected ${K} codes of ${width} numbers, got ${state.json.codes} of ` +
            `${state.json.width}; open the codebook it was saved with`,
        );
      }
      const saved = {
        counts: unpackDoubles(state, "counts", [K]),
        sums: unpackDoubles(state, "sums", [K, width]),
        codes: tensorOf(state, "codes", "float32", [K, width]).data,
      };
      counts.set(saved.counts);
      sums.set(saved.sums);
      codes.set(saved.codes);
    },
  };
}
