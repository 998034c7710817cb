/**
 * Sentence embeddings: one vector of length 1 per text, from an encoder's last layer (Sentence-BERT, 1908.10084).
 * Rows of similar length share a batch, so little time goes into padding.
 */
import { UserError } from "../errors.ts";
import { type Params, paramsOf, weightInputs } from "../nn/params.ts";
import type { ProgramOptions, Runtime } from "../runtime/runtime.ts";
import { type HostTensor, int32Host } from "../tensor/dtype.ts";
import { cast, div, input, maximum, mul, reshape, slice, sqrt, square, sum } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";
import { requireIds } from "./ids.ts";
import { type CompileOptions, fitsGraph, liveWeights } from "./instance.ts";
import type { EncoderDefinition, EncoderInputs } from "./model.ts";

/** An encoder with its numbers, by canonical name. */
export interface Encoder {
  readonly definition: EncoderDefinition;
  readonly config: unknown;
  readonly weights: Readonly<Record<string, HostTensor>>;
}

export interface EmbedOptions extends CompileOptions, ProgramOptions {
  /** "mean" of all tokens but padding (MiniLM, E5), or the first token, "cls" (BGE). */
  readonly pooling?: keyof typeof poolings;
  /** Rows in one run. */
  readonly batchSize?: number;
  /** Longest row in tokens; default: the model's context. */
  readonly maxTokens?: number;
  /** Cut longer rows, keeping the last token (the separator), instead of refusing them. */
  readonly truncate?: boolean;
}

export interface Embedder {
  /** C. */
  readonly width: number;
  /** N rows of token ids -> [N, C], each row of length 1, in the order given. */
  embed(rows: readonly ArrayLike<number>[]): Promise<Float32Array>;
  dispose(): Promise<void>;
}

/** last [B, T, C], mask [B, T] -> [B, C]. */
const poolings = {
  mean(last: Tensor, mask: Tensor): Tensor {
    const weights = cast(reshape(mask, [...mask.shape, 1]), "float32");
    return div(sum(mul(last, weights), { axes: [1] }), maximum(sum(weights, { axes: [1] }), 1e-9));
  },
  cls: (last: Tensor): Tensor => reshape(slice(last, { axis: 1, end: 1 }), [last.shape[0], last.shape[2]]),
};

const unitLength = (x: Tensor): Tensor => div(x, maximum(sqrt(sum(square(x), { axes: [-1], keepDims: true })), 1e-12));

/** Vectors of sentences as a graph: ids, mask (int32 [B, T]) -> [B, C], each of length 1. */
export function sentenceVectors(
  { definition, config }: Pick<Encoder, "definition" | "config">,
  p: Params,
  inputs: EncoderInputs,
  pooling: keyof typeof poolings = "mean",
): Tensor {
  const { hidden } = definition.forward(p, config, inputs);
  return unitLength(poolings[pooling](hidden[hidden.length - 1], inputs.mask));
}

/** The graph of embeddings of all weights. */
function embeddingGraph(encoder: Encoder, pooling?: keyof typeof poolings): Tensor {
  const shapes = Object.fromEntries(Object.entries(encoder.weights).map(([name, { shape }]) => [name, shape]));
  const inputs = { ids: input("ids", "int32", ["B", "T"]), mask: input("mask", "int32", ["B", "T"]) };
  return sentenceVectors(encoder, paramsOf(weightInputs(shapes)), inputs, pooling);
}

/** Compile an encoder for embedding. */
export async function createEmbedder(
  runtime: Runtime,
  encoder: Encoder,
  {
    pooling = "mean",
    batchSize = 32,
    maxTokens,
    truncate = false,
    frozen = fitsGraph(encoder),
    spin,
  }: EmbedOptions = {},
): Promise<Embedder> {
  const { definition, config, weights } = encoder;
  const { width: C, context, vocabulary } = definition.geometry(config);
  const limit = Math.min(maxTokens ?? context, context);
  const pad = definition.padId(config);
  const graph = { embedding: embeddingGraph(encoder, pooling) };
  const program = await runtime.compile(graph, frozen ? weights : undefined, { spin });
  const live = liveWeights(program, encoder);

  const checked = (row: ArrayLike<number>, index: number): ArrayLike<number> => {
    if (row.length === 0)
      throw new UserError(`embed: expected 1 or more tokens in every text, got none in text ${index}; leave it out`);
    requireIds("embed", row, vocabulary, ` in text ${index}`);
    if (row.length <= limit) return row;
    if (!truncate) {
      throw new UserError(
        `embed: expected at most ${limit} tokens, got ${row.length} in text ${index}; split the text or set truncate`,
      );
    }
    return [...Array.from(row).slice(0, limit - 1), row[row.length - 1]];
  };

  const runBatch = async (batch: readonly ArrayLike<number>[]): Promise<Float32Array> => {
    const T = Math.max(...batch.map((row) => row.length));
    const ids = new Int32Array(batch.length * T).fill(pad);
    const mask = new Int32Array(batch.length * T);
    for (const [b, row] of batch.entries()) {
      ids.set(row, b * T);
      mask.fill(1, b * T, b * T + row.length);
    }
    const shape = [batch.length, T];
    const { embedding } = await program.run({ ...live, ids: int32Host(shape, ids), mask: int32Host(shape, mask) });
    return embedding.data as Float32Array;
  };

  return {
    width: C,
    async embed(rows) {
      const texts = rows.map(checked);
      const order = [...texts.keys()].sort((a, b) => texts[a].length - texts[b].length);
      const vectors = new Float32Array(texts.length * C);
      for (let start = 0; start < order.length; start += batchSize) {
        const part = order.slice(start, start + batchSize);
        const found = await runBatch(part.map((i) => texts[i]));
        for (const [k, i] of part.entries()) vectors.set(found.subarray(k * C, (k + 1) * C), i * C);
      }
      return vectors;
    },
    dispose: () => program.release(),
  };
}
