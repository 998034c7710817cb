/**
 * What a fit of Larimar minimises: the answer decoded after its prompt, from a latent that went through a memory.
 * Larimar, https://arxiv.org/abs/2403.11901, Eq. 1. One graph has its terms, each on rows of its own: reconstruction
 * through the memory and autoencoding (`reading` an episode's least squares, or the identity), and, where the decoder
 * trains too, plain language modelling (`gate` 0: a latent of zeros).
 *
 * We differ: keys are fixed while the gradient is taken, so what is read is a linear map of what was written. The KL
 * term on the weights is left out: latents of one length make it a constant, and the paper itself does better without.
 * Letters: B rows, N rows to an episode, T tokens read by the encoder, U by the decoder, A scored places a row.
 */
import type { Geometry, ModelDefinition } from "../../models/model.ts";
import { slotPrefix } from "../../models/condition.ts";
import { type Modification, paramsOf, weightInputs } from "../../nn/params.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { float32Host, type HostTensor, int32Host } from "../../tensor/dtype.ts";
import type { Tensor } from "../../tensor/graph.ts";
import { type Dim, multiplyDims } from "../../tensor/shape.ts";
import {
  add,
  crossEntropy,
  gather,
  input,
  matmul,
  mul,
  random,
  reshape,
  rows,
  sub,
  sum,
} from "../../tensor/functions.ts";
import type { Counted } from "../batches.ts";
import { createGradients } from "../gradients.ts";
import type { Objective } from "../objective.ts";
import { shardCount } from "../shards.ts";
import { conditionsOf, type LatentShape, latentsOf, rowsAt } from "./nets.ts";

/** Rows in whole episodes, episode by episode. */
export interface EpisodeBatch extends Counted {
  /** T, U and A. */
  readonly lengths: readonly [encoded: number, decoded: number, scored: number];
  readonly encoderIds: Int32Array; // [B, T]
  readonly offsets: Int32Array; // [B, T], as in nets.ts
  readonly encoderMask: Int32Array; // [B, T]
  /** What is read of an episode is this times its latents: [B / N, N, N]. */
  readonly reading: Float32Array;
  readonly gate: Float32Array; // [B]: 1, or 0 for rows without memory
  readonly ids: Int32Array; // [B, U]
  /** Which row of `added` each token gets: [B, U]. */
  readonly kinds: Int32Array;
  /** Places of `ids` after which a token is scored: [B, A]. */
  readonly places: Int32Array;
  readonly targets: Int32Array; // [B, A]
  readonly weights: Float32Array; // [B, A]: 0 for places that only fill up
}

export interface FitObjectiveOptions {
  readonly runtime: Runtime;
  readonly definition: ModelDefinition;
  readonly config: unknown;
  readonly geometry: Geometry;
  readonly shape: LatentShape;
  readonly weights: Readonly<Record<string, HostTensor>>;
  readonly trainable: readonly string[];
  readonly modification?: Modification;
  /** B, and N, which divides it. */
  readonly batchSize: number;
  readonly episode: number;
  /** Standard deviation of what is added to latents when they are written (ξ of Algorithm 1). */
  readonly observationNoise: number;
  readonly seed: number;
  readonly workers?: number;
}

/** Uniform noise of this standard deviation added. */
const noisy = (x: Tensor, deviation: number): Tensor =>
  deviation === 0 ? x : add(x, mul(sub(random(x.shape, "observation"), 0.5), Math.sqrt(12) * deviation));

function fitGraph(options: FitObjectiveOptions) {
  const { definition, config, geometry, shape, weights, modification, batchSize: B, episode: N } = options;
  const inputs = weightInputs(Object.fromEntries(Object.entries(weights).map(([name, { shape: own }]) => [name, own])));
  const p = paramsOf(inputs, modification);
  const encoderIds = input("encoderIds", "int32", [B, "T"]);
  const written = latentsOf(p, shape, {
    words: definition.forward(p, config, { ids: encoderIds }).hidden[0],
    offsets: input("offsets", "int32", [B, "T"]),
    mask: input("encoderMask", "int32", [B, "T"]),
  });
  const episodes = reshape(noisy(written, options.observationNoise), [B / N, N, shape.width]);
  const read = reshape(matmul(input("reading", "float32", [B / N, N, N]), episodes), [B, shape.width]);
  const { slots, added } = conditionsOf(p, shape, geometry, mul(read, input("gate", "float32", [B, 1])));
  const { final } = definition.forward(p, config, {
    ids: input("ids", "int32", [B, "U"]),
    prefix: slotPrefix(slots),
    added: rowsAt(added, input("kinds", "int32", [B, "U"])),
  });
  const scored: Dim[] = [multiplyDims(B, "A")];
  const states = gather(rows(final), reshape(input("places", "int32", [B, "A"]), scored));
  const losses = crossEntropy(
    definition.logits(p, config, states),
    reshape(input("targets", "int32", [B, "A"]), scored),
  );
  return { inputs, loss: sum(mul(losses, reshape(input("share", "float32", [B, "A"]), scored))) };
}

/** The objective of batches of B rows, of any lengths. */
export async function createFitObjective(options: FitObjectiveOptions): Promise<Objective<EpisodeBatch>> {
  const { runtime, weights, trainable, batchSize: B, episode: N, seed } = options;
  // Episodes stay whole; their tokens are guessed, as each batch has lengths of its own
  const workers = shardCount({ ...options, batchSize: B / N, contextLength: 32 * N });
  const rowsPerShard = B / workers;
  const {
    gradients,
    clear,
    add: addGradients,
    dispose,
  } = await createGradients({
    runtime,
    ...fitGraph({ ...options, batchSize: rowsPerShard }),
    workers,
    weights,
    trainable,
    seed,
  });
  return {
    gradients,
    clear,
    accumulate(batch, total, step) {
      const [T, U, A] = batch.lengths;
      const flat = batch.places.map((place, i) => (Math.floor(i / A) % rowsPerShard) * U + place);
      return addGradients(
        {
          encoderIds: int32Host([B, T], batch.encoderIds),
          offsets: int32Host([B, T], batch.offsets),
          encoderMask: int32Host([B, T], batch.encoderMask),
          reading: float32Host([B / N, N, N], batch.reading),
          gate: float32Host([B, 1], batch.gate),
          ids: int32Host([B, U], batch.ids),
          kinds: int32Host([B, U], batch.kinds),
          places: int32Host([B, A], flat),
          targets: int32Host([B, A], batch.targets),
          share: float32Host(
            [B, A],
            batch.weights.map((weight) => weight / total),
          ),
        },
        step,
      );
    },
    dispose,
  };
}
