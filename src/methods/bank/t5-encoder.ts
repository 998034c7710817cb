/**
 * T5 as the encoder of memory bank compression (https://arxiv.org/abs/2601.00756 section 3, from MAC,
 * https://arxiv.org/abs/2403.04317): the encoder reads a text in tokens of its own, T learned prompts stand in place of
 * the decoder's embeddings, and its T last states become slots. Letters as in shape.ts; E is the width of the T5.
 *
 * We differ. One T5 serves documents and questions, with prompts and projections for each; the papers have two. A network
 * that is told the slot's number finishes slots (the papers: one for each), and prompts begin as embeddings of tokens,
 * whose size differs between T5s. Padding is masked; the released code attends to it.
 */
import type { LoadedEncoderDecoder, Weights } from "../../models/load.ts";
import { type InitRule, initialize, kaimingUniform } from "../../nn/init.ts";
import { linearLayer } from "../../nn/linear.ts";
import type { Params } from "../../nn/params.ts";
import { float32Host, sizeOf } from "../../tensor/dtype.ts";
import { broadcastTo } from "../../tensor/functions.ts";
import type { Tensor } from "../../tensor/graph.ts";
import { randomStream } from "../../tensor/random.ts";
import { finished } from "./encoder.ts";
import { type BankShape, networkRule, ROOT, slotShapes } from "./shape.ts";
import type { Role, SlotEncoder, TextInputs } from "./slot-encoder.ts";

export const trainedParts = ["none", "decoder", "all"] as const;
/** What a fit trains of a T5, beside prompts and projections; the rest stays as it was loaded. */
export type TrainedPart = (typeof trainedParts)[number];

const isTrained: Readonly<Record<TrainedPart, (name: string) => boolean>> = {
  none: () => false,
  // No gradient passes through the encoder then, so that nothing of it is held
  decoder: (name) => name.startsWith("decoder."),
  all: () => true,
};

const PATH = "t5";

/** There is no straight path that the projections could disturb: they begin at their full size. */
const ruleOf = (shape: BankShape): InitRule => {
  const usual = networkRule(shape);
  return (name, own) => (name.endsWith(".output.weight") ? kaimingUniform() : usual(name, own));
};

/** Its sizes in the shape of a module; a module's context is as long as the T5 was trained with, unless told otherwise. */
export const t5Sizes = ({ geometry: { width, layers, heads, context } }: LoadedEncoderDecoder) => ({
  encoderWidth: width,
  encoderLayers: layers,
  encoderHeads: heads,
  context,
});

export function t5Encoder(t5: LoadedEncoderDecoder, shape: BankShape, part: TrainedPart): SlotEncoder {
  const { definition, config, tokenizer, geometry } = t5;
  const { slots: T, encoderWidth: E, context } = shape;
  const [trained, frozen]: Weights[] = [{}, {}];
  for (const [name, tensor] of Object.entries(t5.weights))
    (isTrained[part](name) ? trained : frozen)[`${ROOT}.${PATH}.${name}`] = tensor;

  /** The embeddings of T tokens, drawn for each role. */
  const promptsOf = (role: Role, seed: number): Float32Array => {
    const random = randomStream(seed, "prompts", role);
    const table = t5.weights["shared.weight"].data;
    const prompts = new Float32Array(T * E);
    for (let t = 0; t < T; t++) {
      const at = random.integer(geometry.vocabulary) * E;
      prompts.set(table.subarray(at, at + E), t * E);
    }
    return prompts;
  };

  const slotsOf = (params: Params, { ids, mask }: TextInputs, role: Role): Tensor => {
    const p = params.at(ROOT);
    const own = p.at(role);
    const states = definition.encode(p.at(PATH), config, { ids, mask }).final;
    const embeddings = broadcastTo(own.at("prompts").get("weight"), [mask.shape[0], T, E]);
    const { final } = definition.decode(p.at(PATH), config, { embeddings, states, mask });
    return finished(p, linearLayer(final, own.at("output")), role);
  };

  return {
    context,
    // With its own token at the end, as it was trained
    documentIds: (text) => tokenizer.encode(text.trim()),
    questionIds: ({ text }) => tokenizer.encode(text.trim()).slice(-context),
    weights: frozen,
    fresh(seed) {
      const weights = initialize(slotShapes(shape), ruleOf(shape), seed);
      for (const role of ["document", "question"] as const)
        weights[`${ROOT}.${role}.prompts.weight`] = float32Host([T, E], promptsOf(role, seed));
      // Copies: a fit writes into them
      for (const [name, { shape: own, data }] of Object.entries(trained))
        weights[name] = float32Host(own, data.slice());
      return weights;
    },
    parameters: Object.entries(t5.weights).reduce(
      (total, [name, tensor]) => total + (name.startsWith("encoder.") ? sizeOf(tensor.shape) : 0),
      0,
    ),
    documents: (p, texts) => slotsOf(p, texts, "document"),
    questions: (p, texts) => slotsOf(p, texts, "question"),
  };
}
