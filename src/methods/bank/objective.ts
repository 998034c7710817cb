/**
 * What a fit of bank compression minimises: the answers' tokens, decoded after their questions from the prefix that was
 * aggregated from the documents' slots, plus λ times the quantisation loss (https://arxiv.org/abs/2601.00756, section 3;
 * MAC, https://arxiv.org/abs/2403.04317, back-propagation dropout). Letters as in shape.ts; G episodes of K documents
 * and Q questions; N, R, U, A: tokens of documents, of questions as they are encoded, of prompt with answer, scored.
 */
import { residualQuantize } from "../../memory/residual-quantizer.ts";
import { vectorQuantize } from "../../memory/vector-quantizer.ts";
import { memoryPrefix } from "../../models/condition.ts";
import { type Modification, paramsOf, weightInputs } from "../../nn/params.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { float32Host, type HostTensor, int32Host } from "../../tensor/dtype.ts";
import {
  add,
  concat,
  crossEntropy,
  gather,
  input,
  mul,
  reshape,
  rows,
  slice,
  stopGradient,
  sub,
  sum,
} from "../../tensor/functions.ts";
import type { Tensor } from "../../tensor/graph.ts";
import { type Dim, multiplyDims } from "../../tensor/shape.ts";
import type { Counted } from "../batches.ts";
import { createGradients } from "../gradients.ts";
import type { Objective } from "../objective.ts";
import { shardCount } from "../shards.ts";
import { aggregated } from "./aggregator.ts";
import { codebookNames } from "./module.ts";
import { type PrefixBase, prefixOf } from "./prefix.ts";
import type { BankShape } from "./shape.ts";
import type { SlotEncoder, TextInputs } from "./slot-encoder.ts";

export interface EpisodeBatch extends Counted {
  /** N, R, U and A. */
  readonly lengths: {
    readonly documents: number;
    readonly asked: number;
    readonly read: number;
    readonly scored: number;
  };
  readonly documentIds: Int32Array; // [G K, N]
  readonly documentMask: Int32Array; // [G K, N]
  readonly askedIds: Int32Array; // [G Q, R]
  readonly askedMask: Int32Array; // [G Q, R]
  /** Bias of each document of its episode, [G Q, K]. */
  readonly bias: Float32Array;
  readonly ids: Int32Array; // [G Q, U]
  /** Places of `ids` after which a token is scored: [G Q, A]. */
  readonly places: Int32Array;
  readonly targets: Int32Array; // [G Q, A]
  readonly weights: Float32Array; // [G Q, A]
  /** Of each episode: residual codes, one code for a slot; neither for full precision. [G, 2]. */
  readonly gates: Float32Array;
  /** Which depths of the residual codes count, [R]. */
  readonly depths: Float32Array;
  /** Does the quantisation loss count yet? 1 or 0. */
  readonly quantizes: number;
}

export interface FitObjectiveOptions extends PrefixBase {
  readonly runtime: Runtime;
  readonly shape: BankShape;
  readonly encoder: SlotEncoder;
  readonly weights: Readonly<Record<string, HostTensor>>;
  readonly trainable: readonly string[];
  readonly modification?: Modification;
  readonly groups: number;
  readonly perGroup: number;
  readonly questions: number;
  /** Documents of an episode that pass gradients: the first ones; all by default. */
  readonly kept?: number;
  /** λ of the quantisation loss, a mean over depths, and β of its commitment. */
  readonly quantizationLoss: number;
  readonly commitment: number;
  /** Do codebooks learn by gradient? Then they are among `trainable`. */
  readonly learnsCodes?: boolean;
  readonly seed: number;
  readonly workers?: number;
}

const rowsOf = (x: Tensor, start: number, end: number): Tensor => slice(x, { axis: 1, start, end });

function fitGraph(options: FitObjectiveOptions) {
  const { definition, config, geometry, shape, encoder, weights, modification } = options;
  const { groups: G, perGroup: K, questions: Q, kept = K, learnsCodes = true } = options;
  const { slots: T, width: D, places: V } = shape;
  const inputs = weightInputs(Object.fromEntries(Object.entries(weights).map(([name, { shape: own }]) => [name, own])));
  const p = paramsOf(inputs, modification);
  // Texts are encoded by the base as it is
  const bare = paramsOf(inputs);
  const texts: TextInputs = {
    ids: input("documentIds", "int32", [G * K, "N"]),
    mask: input("documentMask", "int32", [G * K, "N"]),
  };
  const slotsOf = (start: number, end: number): Tensor => {
    const part = (x: Tensor): Tensor => {
      const width = x.shape[1];
      const own = start === 0 && end === K ? x : rowsOf(reshape(x, [G, K, width]), start, end);
      return reshape(own, [G * (end - start), width]);
    };
    const made = encoder.documents(bare, { ids: part(texts.ids), mask: part(texts.mask) });
    return reshape(made, [G, end - start, T, D]);
  };
  const encoded = kept === K ? slotsOf(0, K) : concat([slotsOf(0, kept), stopGradient(slotsOf(kept, K))], { axis: 1 }); // [G, K, T, D]
  const [R] = weights[codebookNames.residual].shape;
  const residual = residualQuantize(reshape(encoded, [G, K, T, V, D / V]), inputs[codebookNames.residual], {
    depths: reshape(slice(input("depths", "float32", [G, R]), { axis: 0, start: 0, end: 1 }), [R]),
  });
  const single = vectorQuantize(encoded, inputs[codebookNames.single]);
  const gates = input("gates", "float32", [G, 2]);
  const gated = (which: number, quantized: Tensor): Tensor =>
    mul(sub(reshape(quantized, encoded.shape), encoded), reshape(rowsOf(gates, which, which + 1), [G, 1, 1, 1]));
  const slots = add(encoded, add(gated(0, residual.quantized), gated(1, single.quantized)));
  const asked: TextInputs = {
    ids: input("askedIds", "int32", [G * Q, "R1"]),
    mask: input("askedMask", "int32", [G * Q, "R1"]),
  };
  const questions = reshape(encoder.questions(bare, asked), [G, Q, T, D]);
  const bias = reshape(input("bias", "float32", [G * Q, K]), [G, Q, K]);
  const latents = reshape(aggregated(p, shape, questions, { slots, bias }).latents, [G * Q, T, D]);
  const { final } = definition.forward(p, config, {
    ids: input("ids", "int32", [G * Q, "U"]),
    prefix: memoryPrefix(prefixOf(p, shape, { definition, config, geometry }, latents)),
  });
  const scored: Dim[] = [multiplyDims(G * Q, "A")];
  const states = gather(rows(final), reshape(input("places", "int32", [G * Q, "A"]), scored));
  const losses = crossEntropy(
    definition.logits(p, config, states),
    reshape(input("targets", "int32", [G * Q, "A"]), scored),
  );
  const answers = sum(mul(losses, reshape(input("share", "float32", [G * Q, "A"]), scored)));
  // Drawn to what all codes together say alone: drawn to the first of them, or to one for a slot, all would be alike
  const drawn = mul(residual.leftLoss, options.commitment);
  const learned = add(mul(residual.codebookLoss, 1 / R), single.codebookLoss);
  const quantization = mul(learnsCodes ? add(drawn, learned) : drawn, sum(input("quantizes", "float32", [G])));
  return { inputs, loss: add(answers, quantization) };
}

/** The objective of batches of G episodes, of any lengths. */
export async function createFitObjective(options: FitObjectiveOptions): Promise<Objective<EpisodeBatch>> {
  const { runtime, trainable, groups: G, perGroup: K, questions: Q, seed } = options;
  const weights = { ...options.weights, ...options.encoder.weights };
  // Episodes stay whole; their tokens are guessed, as each batch has lengths of its own
  const workers = shardCount({ ...options, batchSize: G, contextLength: 64 * K });
  const own = G / workers;
  const { loss, inputs } = fitGraph({ ...options, weights, groups: own });
  const {
    gradients,
    clear,
    add: addGradients,
    dispose,
  } = await createGradients({ runtime, loss, inputs, workers, weights, trainable, seed });
  return {
    gradients,
    clear,
    accumulate(batch, total, step) {
      const { documents: N, asked: R, read: U, scored: A } = batch.lengths;
      const B = G * Q;
      const flat = batch.places.map((place, i) => (Math.floor(i / A) % (own * Q)) * U + place);
      const depth = batch.depths.length;
      const depths = new Float32Array(G * depth);
      for (let g = 0; g < G; g++) depths.set(batch.depths, g * depth);
      // A mean over its documents in each shard, and as much of it as the batch is of the update
      const counted = (options.quantizationLoss * batch.quantizes * batch.targetCount) / (total * G);
      return addGradients(
        {
          documentIds: int32Host([G * K, N], batch.documentIds),
          documentMask: int32Host([G * K, N], batch.documentMask),
          askedIds: int32Host([B, R], batch.askedIds),
          askedMask: int32Host([B, R], batch.askedMask),
          bias: float32Host([B, K], batch.bias),
          ids: int32Host([B, U], batch.ids),
          places: int32Host([B, A], flat),
          targets: int32Host([B, A], batch.targets),
          share: float32Host(
            [B, A],
            batch.weights.map((weight) => weight / total),
          ),
          gates: float32Host([G, 2], batch.gates),
          depths: float32Host([G, depth], depths),
          quantizes: float32Host([G], new Float32Array(G).fill(counted)),
        },
        step,
      );
    },
    dispose,
  };
}
