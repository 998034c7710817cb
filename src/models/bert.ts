/**
 * BERT (1810.04805) and its relatives, among them the sentence encoders MiniLM and BGE: an encoder that reads both
 * ways, LayerNorm after each block. The pooler and the heads of pretraining may be missing from a checkpoint.
 */
import { z } from "zod";
import { activationNames, activations } from "../nn/activation.ts";
import { attention, defaultPositions, mergeHeads, paddingBias, splitHeads } from "../nn/attention.ts";
import { embedding, linearLayer } from "../nn/linear.ts";
import type { Params } from "../nn/params.ts";
import { add, layerNorm, reshape, slice, tanh } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";
import { MOST_LAYERS, parseConfig, tokenIds } from "./config.ts";
import type { EncoderDefinition, EncoderInputs, EncoderOutputs } from "./model.ts";

const schema = z
  .looseObject({
    ...tokenIds,
    vocab_size: z.number().int().positive(),
    hidden_size: z.number().int().positive(),
    intermediate_size: z.number().int().positive(),
    num_hidden_layers: z.number().int().positive().max(MOST_LAYERS),
    num_attention_heads: z.number().int().positive(),
    max_position_embeddings: z.number().int().positive().default(512),
    type_vocab_size: z.number().int().positive().default(2),
    layer_norm_eps: z.number().positive().default(1e-12),
    hidden_act: z.enum(activationNames).default("gelu"),
    position_embedding_type: z.literal("absolute").default("absolute"),
    is_decoder: z.literal(false).default(false),
  })
  .refine((c) => c.hidden_size % c.num_attention_heads === 0, {
    path: ["num_attention_heads"],
    error: "it must divide hidden_size",
  });

type BertConfig = z.output<typeof schema>;

/** What differs in the relatives of BERT. */
interface BertVariant {
  readonly defaults?: Readonly<Record<string, unknown>>;
  /** Rows of the position table, int32 [T] or [B, T]. */
  readonly positions: (config: BertConfig, inputs: EncoderInputs) => Tensor;
  /** Longest sequence in tokens. */
  readonly context: (config: BertConfig) => number;
  /** What files with a head on top put before the names. */
  readonly prefix: string;
}

const LINEAR = [
  "attention.self.query",
  "attention.self.key",
  "attention.self.value",
  "attention.output.dense",
  "intermediate.dense",
  "output.dense",
];

function layerShapes({ hidden_size: C, intermediate_size: F }: BertConfig): Record<string, readonly number[]> {
  const shapes: Record<string, readonly number[]> = {};
  for (const name of LINEAR) {
    const [O, I] = name === "intermediate.dense" ? [F, C] : [C, name === "output.dense" ? F : C];
    Object.assign(shapes, { [`${name}.weight`]: [O, I], [`${name}.bias`]: [O] });
  }
  for (const name of ["attention.output.LayerNorm", "output.LayerNorm"]) {
    Object.assign(shapes, { [`${name}.weight`]: [C], [`${name}.bias`]: [C] });
  }
  return shapes;
}

/** LayerNorm(x + dense(y)): how both blocks end. */
function residual(p: Params, c: BertConfig, x: Tensor, y: Tensor): Tensor {
  return norm(p.at("LayerNorm"), c, add(x, linearLayer(y, p.at("dense"))));
}

const norm = (p: Params, c: BertConfig, x: Tensor): Tensor =>
  layerNorm(x, p.get("weight"), p.get("bias"), { eps: c.layer_norm_eps });

function embed(p: Params, c: BertConfig, inputs: EncoderInputs, positions: Tensor): Tensor {
  const types = p.at("token_type_embeddings");
  const type = inputs.tokenTypes
    ? embedding(inputs.tokenTypes, types)
    : slice(types.get("weight"), { axis: 0, end: 1 });
  const words = embedding(inputs.ids, p.at("word_embeddings"));
  return norm(p.at("LayerNorm"), c, add(add(words, embedding(positions, p.at("position_embeddings"))), type));
}

function forward(p: Params, c: BertConfig, inputs: EncoderInputs, positions: Tensor): EncoderOutputs {
  const bias = paddingBias(inputs.mask);
  const activate = activations[c.hidden_act];
  let x = embed(p.at("embeddings"), c, inputs, positions);
  const hidden = [x];
  const attentions: Tensor[] = [];
  for (let layer = 0; layer < c.num_hidden_layers; layer++) {
    const block = p.at(`encoder.layer.${layer}`);
    const self = block.at("attention.self");
    const heads = (name: string): Tensor => splitHeads(linearLayer(x, self.at(name)), c.num_attention_heads);
    const { output, weights } = attention(heads("query"), [{ key: heads("key"), value: heads("value") }], { bias });
    x = residual(block.at("attention.output"), c, x, mergeHeads(output));
    x = residual(block.at("output"), c, x, activate(linearLayer(x, block.at("intermediate.dense"))));
    hidden.push(x);
    attentions.push(weights);
  }
  return { hidden, attentions };
}

const layersOf = (c: BertConfig): string[] =>
  Array.from({ length: c.num_hidden_layers }, (_, i) => `encoder.layer.${i}`);

/** A definition in the BERT family. */
export function bertFamily(modelType: string, variant: BertVariant): EncoderDefinition<BertConfig> {
  return {
    modelType,
    kind: "encoder",
    parseConfig: (json) => parseConfig(modelType, schema, json, variant.defaults),
    geometry: (c) => ({
      layers: c.num_hidden_layers,
      width: c.hidden_size,
      vocabulary: c.vocab_size,
      context: variant.context(c),
      heads: c.num_attention_heads,
      kvHeads: c.num_attention_heads,
      headDim: c.hidden_size / c.num_attention_heads,
    }),
    shapes(c) {
      const shapes: Record<string, readonly number[]> = {
        "embeddings.word_embeddings.weight": [c.vocab_size, c.hidden_size],
        "embeddings.position_embeddings.weight": [c.max_position_embeddings, c.hidden_size],
        "embeddings.token_type_embeddings.weight": [c.type_vocab_size, c.hidden_size],
        "embeddings.LayerNorm.weight": [c.hidden_size],
        "embeddings.LayerNorm.bias": [c.hidden_size],
      };
      for (const path of layersOf(c)) {
        for (const [name, shape] of Object.entries(layerShapes(c))) shapes[`${path}.${name}`] = shape;
      }
      return shapes;
    },
    optionalShapes: (c) => ({
      "pooler.dense.weight": [c.hidden_size, c.hidden_size],
      "pooler.dense.bias": [c.hidden_size],
    }),
    padId: (c) => c.pad_token_id ?? 0,
    // Heads are ignored, and so is the buffer of positions; the first checkpoints name LayerNorm's tensors gamma and beta
    canonicalName(name) {
      const bare = name.startsWith(`${variant.prefix}.`) ? name.slice(variant.prefix.length + 1) : name;
      if (!/^(embeddings|encoder|pooler)\./.test(bare) || /^embeddings\.(position|token_type)_ids$/.test(bare))
        return undefined;
      return bare.replace(/LayerNorm\.gamma$/, "LayerNorm.weight").replace(/LayerNorm\.beta$/, "LayerNorm.bias");
    },
    linearInputFirst: false,
    linearPaths: (c) => layersOf(c).flatMap((path) => LINEAR.map((name) => `${path}.${name}`)),
    forward: (p, c, inputs) => forward(p, c, inputs, variant.positions(c, inputs)),
    pooled(p, _, last) {
      const [B, , C] = last.shape;
      const first = reshape(slice(last, { axis: 1, end: 1 }), [B, C]);
      return tanh(linearLayer(first, p.at("pooler.dense")));
    },
  };
}

export const bert = bertFamily("bert", {
  positions: (_, { ids }) => defaultPositions(ids.shape[1]),
  context: (c) => c.max_position_embeddings,
  prefix: "bert",
});
