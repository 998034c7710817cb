/**
 * Learning sentence vectors from pairs that mean the same. Contrastive Predictive Coding (InfoNCE, 1807.03748, Eq. 4)
 * with the other pairs of the batch as negatives, as in SimCSE (2104.08821, Eq. 1 and 4: cosines over a temperature).
 * Differs: the loss is symmetrical, each side finds its partner among all of the other; positives are two texts, not
 * two draws of dropout; what is a hard negative is the business of the source, which puts near misses into one batch.
 */
import type { Tokenizer } from "../checkpoint/tokenizer.ts";
import { UserError } from "../errors.ts";
import { sentenceVectors } from "../models/embed.ts";
import type { EncoderDefinition } from "../models/model.ts";
import { paramsOf, weightInputs } from "../nn/params.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { float32Host, type HostTensor, int32Host } from "../tensor/dtype.ts";
import { add, cast, crossEntropy, input, iota, matmul, mul, slice, sum, transpose } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";
import { type Random, randomStream } from "../tensor/random.ts";
import { type Counted, requireStep } from "./batches.ts";
import { createGradients } from "./gradients.ts";
import type { Objective } from "./objective.ts";
import { sharesOf } from "./shares.ts";

/** Two texts that mean the same. */
export type Pair = readonly [left: string, right: string];

/** Endless pairs. */
export interface PairSource {
  /** `count` pairs, a pure function of the numbers drawn; no two of them mean the same. */
  pairs(random: Random, count: number): readonly Pair[];
}

/** N pairs as 2N rows of T tokens: the left ones, then the right ones. T is that of the longest row. */
export interface PairBatch extends Counted {
  readonly ids: Int32Array; // [2N, T]
  readonly mask: Int32Array; // [2N, T]: 1 for tokens, 0 for padding
  /** T. */
  readonly length: number;
}

export interface PairBatchOptions {
  readonly tokenizer: Tokenizer;
  readonly sources: Readonly<Record<string, PairSource>>;
  /** Shares of batches by name of the source; each batch is of one source. They are scaled to a sum of 1. */
  readonly shares: Readonly<Record<string, number>>;
  /** N. */
  readonly batchSize: number;
  /** Longer texts are cut. */
  readonly maxTokens: number;
  readonly padId: number;
  readonly seed: number;
}

/** Batches as a pure function of the step. */
export function pairBatches(options: PairBatchOptions): { batchAt(step: number): PairBatch } {
  const { tokenizer, sources, shares, batchSize: N, maxTokens, padId, seed } = options;
  const { names, indexAt } = sharesOf(shares, Object.keys(sources));
  return {
    batchAt(step) {
      requireStep(step);
      const random = randomStream(seed, "pairs", step);
      const pairs = sources[names[indexAt(random.uniform())]].pairs(random, N);
      if (pairs.length !== N) throw new UserError(`pairs: expected ${N} pairs from a source, got ${pairs.length}`);
      const rows = [0, 1].flatMap((side) => pairs.map((pair) => tokenizer.encode(pair[side]).slice(0, maxTokens)));
      const length = Math.max(...rows.map((row) => row.length));
      const ids = new Int32Array(rows.length * length).fill(padId);
      const mask = new Int32Array(rows.length * length);
      for (const [b, row] of rows.entries()) {
        ids.set(row, b * length);
        mask.fill(1, b * length, b * length + row.length);
      }
      return { ids, mask, length, targetCount: N, read: rows.reduce((all, row) => all + row.length, 0) };
    },
  };
}

/**
 * Losses of N pairs in nats: vectors of length 1, left and right [N, C] -> [N]. Of pair i the mean of
 * -log softmax(s_i.)_i and -log softmax(s_.i)_i, where s_ij = left_i . right_j / temperature.
 */
export function infoNce(left: Tensor, right: Tensor, temperature: number): Tensor {
  const scores = mul(matmul(left, transpose(right)), 1 / temperature);
  const own = cast(iota(left.shape[0]), "int32");
  return mul(add(crossEntropy(scores, own), crossEntropy(transpose(scores), own)), 0.5);
}

export interface ContrastiveOptions {
  readonly runtime: Runtime;
  readonly definition: EncoderDefinition;
  readonly config: unknown;
  /** All are trained. */
  readonly weights: Readonly<Record<string, HostTensor>>;
  /** N pairs. */
  readonly batchSize: number;
  readonly temperature: number;
  readonly seed: number;
}

/**
 * InfoNCE over the mean-pooled vectors of a batch of pairs. Micro-batches of one update are negatives only of their
 * own.
 */
export async function createContrastiveObjective(options: ContrastiveOptions): Promise<Objective<PairBatch>> {
  const { runtime, definition, config, weights, batchSize: N, temperature, seed } = options;
  const inputs = weightInputs(Object.fromEntries(Object.entries(weights).map(([name, { shape }]) => [name, shape])));
  const vectors = sentenceVectors({ definition, config }, paramsOf(inputs), {
    ids: input("ids", "int32", [2 * N, "T"]),
    mask: input("mask", "int32", [2 * N, "T"]),
  });
  const losses = infoNce(slice(vectors, { axis: 0, end: N }), slice(vectors, { axis: 0, start: N }), temperature);
  const {
    gradients,
    clear,
    add: addGradients,
    dispose,
  } = await createGradients({
    runtime,
    loss: mul(sum(losses), input("share", "float32", [])),
    inputs,
    weights,
    trainable: Object.keys(weights),
    seed,
  });
  return {
    gradients,
    clear,
    accumulate: ({ ids, mask, length }, total, step) =>
      addGradients(
        {
          ids: int32Host([2 * N, length], ids),
          mask: int32Host([2 * N, length], mask),
          share: float32Host([], [1 / total]),
        },
        step,
      ),
    dispose,
  };
}
