/**
 * GPT-2 (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners") and DistilGPT2: LayerNorm before
 * each block, learned positions, queries, keys and values from one matrix, weights stored [in, out] ("Conv1D").
 */
import { z } from "zod";
import { activationNames, activations } from "../nn/activation.ts";
import { type KeyValues, mergeHeads, splitHeads } from "../nn/attention.ts";
import { embedding, linearLayer, sublayer } from "../nn/linear.ts";
import type { Params } from "../nn/params.ts";
import { add, integer, layerNorm, linear, maximum, split } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";
import { MOST_LAYERS, parseConfig, tokenIds } from "./config.ts";
import { type Context, contextOf } from "./context.ts";
import {
  type BlockMemory,
  blockMemory,
  memoryBlocks,
  memoryField,
  memoryFits,
  memoryProblem,
  memoryTables,
  poolShapes,
} from "./memory-blocks.ts";
import type { ForwardInputs, ForwardOutputs, ModelDefinition } from "./model.ts";

const schema = z
  .looseObject({
    ...tokenIds,
    vocab_size: z.number().int().positive(),
    n_positions: z.number().int().positive().default(1024),
    n_embd: z.number().int().positive(),
    n_layer: z.number().int().positive().max(MOST_LAYERS),
    n_head: z.number().int().positive(),
    n_inner: z.number().int().positive().nullish(),
    activation_function: z.enum(activationNames).default("gelu_new"),
    layer_norm_epsilon: z.number().positive().default(1e-5),
    scale_attn_weights: z.boolean().default(true),
    scale_attn_by_inverse_layer_idx: z.boolean().default(false),
    tie_word_embeddings: z.boolean().default(true),
    add_cross_attention: z.literal(false).default(false),
    memory: memoryField,
  })
  .transform((c) => ({ ...c, n_inner: c.n_inner ?? 4 * c.n_embd }))
  .refine((c) => c.n_embd % c.n_head === 0, { path: ["n_head"], error: "it must divide n_embd" })
  .refine((c) => memoryFits(c.memory, c.n_layer), memoryProblem);

export type Gpt2Config = z.output<typeof schema>;

const PREFIX = "transformer.";
const ATTENTION = ["attn.c_attn", "attn.c_proj"];
const MLP = ["mlp.c_fc", "mlp.c_proj"];
/** All matrices are stored [in, out], those of a memory too. */
const LAYOUT = { inputFirst: true };

const memoryOf = (c: Gpt2Config, layer: number): BlockMemory => blockMemory(c.memory, layer, c.n_embd, LAYOUT);

function layerShapes(c: Gpt2Config, layer: number): Record<string, readonly number[]> {
  const { n_embd: C, n_inner: F } = c;
  const { dense, shapes } = memoryOf(c, layer);
  const mlp = {
    "mlp.c_fc.weight": [C, F],
    "mlp.c_fc.bias": [F],
    "mlp.c_proj.weight": [F, C],
    "mlp.c_proj.bias": [C],
  };
  return {
    "ln_1.weight": [C],
    "ln_1.bias": [C],
    "attn.c_attn.weight": [C, 3 * C],
    "attn.c_attn.bias": [3 * C],
    "attn.c_proj.weight": [C, C],
    "attn.c_proj.bias": [C],
    "ln_2.weight": [C],
    "ln_2.bias": [C],
    ...(dense ? mlp : {}),
    ...shapes,
  };
}

const conv1d = (x: Tensor, p: Params): Tensor => linearLayer(x, p, LAYOUT);

/** 1 / sqrt(D), or 1; divided by the layer's number when the config asks for it. */
function attentionScale(c: Gpt2Config, layer: number): number {
  const scale = c.scale_attn_weights ? 1 / Math.sqrt(c.n_embd / c.n_head) : 1;
  return c.scale_attn_by_inverse_layer_idx ? scale / (layer + 1) : scale;
}

function selfAttention(p: Params, c: Gpt2Config, x: Tensor, layer: number, context: Context) {
  const fused = conv1d(x, p.at("c_attn")); // [B, T, 3C]
  const [query, key, value] = split(fused, [c.n_embd, c.n_embd, c.n_embd]).map((x) => splitHeads(x, c.n_head));
  const present: KeyValues = { key, value };
  const asking = context.asked(layer, query, 2);
  const { output, weights } = context.attend(layer, asking, present, { scale: attentionScale(c, layer) });
  return { y: conv1d(mergeHeads(output), p.at("c_proj")), weights, present };
}

function forward(p: Params, c: Gpt2Config, inputs: ForwardInputs): ForwardOutputs {
  const root = p.at("transformer");
  const context = contextOf(inputs, { layers: c.n_layer });
  const activate = activations[c.activation_function];
  const norm = (x: Tensor, n: Params): Tensor =>
    layerNorm(x, n.get("weight"), n.get("bias"), { eps: c.layer_norm_epsilon });
  // Padding has negative positions: any row will do, nothing sees it
  const places = inputs.positions ? maximum(context.positions, integer(0)) : context.positions;
  const words = add(embedding(inputs.ids, root.at("wte")), embedding(places, root.at("wpe")));
  let x = inputs.added ? add(words, inputs.added) : words;
  const hidden = [x];
  const attentions: Tensor[] = [];
  const present: KeyValues[] = [];
  const memory = memoryBlocks(c.memory, root, LAYOUT);
  for (let layer = 0; layer < c.n_layer; layer++) {
    const block = root.at(`h.${layer}`);
    const normed = norm(x, block.at("ln_1"));
    const attended = selfAttention(block.at("attn"), c, normed, layer, context);
    const asked = (all: Tensor): Tensor => context.asked(layer, all);
    x = add(asked(x), sublayer(asked(normed), attended.y, block.at("attn")));
    const inner = norm(x, block.at("ln_2"));
    const dense = (mlp: Params): Tensor => conv1d(activate(conv1d(inner, mlp.at("c_fc"))), mlp.at("c_proj"));
    x = add(x, memory.feedForward(layer, inner, block, dense));
    hidden.push(x);
    attentions.push(attended.weights);
    present.push(attended.present);
  }
  return { final: norm(x, root.at("ln_f")), hidden, attentions, present, reads: memory.reads };
}

/** Names that each layer has, as paths from the root. */
const inLayers = (c: Gpt2Config, names: (layer: number) => readonly string[]): string[] =>
  Array.from({ length: c.n_layer }, (_, i) => names(i).map((name) => `${PREFIX}h.${i}.${name}`)).flat();

export const gpt2: ModelDefinition<Gpt2Config> = {
  modelType: "gpt2",
  kind: "causal",
  parseConfig: (json) => parseConfig("gpt2", schema, json),
  geometry: (c) => ({
    layers: c.n_layer,
    width: c.n_embd,
    vocabulary: c.vocab_size,
    context: c.n_positions,
    heads: c.n_head,
    kvHeads: c.n_head,
    headDim: c.n_embd / c.n_head,
  }),
  shapes(c) {
    const shapes: Record<string, readonly number[]> = {
      "transformer.wte.weight": [c.vocab_size, c.n_embd],
      "transformer.wpe.weight": [c.n_positions, c.n_embd],
    };
    for (let layer = 0; layer < c.n_layer; layer++) {
      for (const [name, shape] of Object.entries(layerShapes(c, layer))) shapes[`${PREFIX}h.${layer}.${name}`] = shape;
    }
    shapes["transformer.ln_f.weight"] = [c.n_embd];
    shapes["transformer.ln_f.bias"] = [c.n_embd];
    Object.assign(shapes, poolShapes(c.memory, "transformer"));
    if (!c.tie_word_embeddings) shapes["lm_head.weight"] = [c.vocab_size, c.n_embd];
    return shapes;
  },
  // The published file lacks the prefix; old files carry the causal mask as a buffer, some the tied head a second time
  canonicalName(name, c) {
    if (/\.attn\.(masked_)?bias$/.test(name)) return undefined;
    if (name.startsWith("lm_head.")) return c.tie_word_embeddings ? undefined : name;
    return name.startsWith(PREFIX) ? name : PREFIX + name;
  },
  linearInputFirst: true,
  linearPaths: (c) => inLayers(c, (layer) => [...ATTENTION, ...memoryOf(c, layer).linears(MLP)]),
  sublayerPaths: (c) => inLayers(c, (layer) => ["attn", memoryOf(c, layer).path]),
  tables: (c) => memoryTables(c.memory, "transformer"),
  forward,
  logits: (p, c, hidden) => linear(hidden, p.get(c.tie_word_embeddings ? "transformer.wte.weight" : "lm_head.weight")),
};
