/**
 * Llama 2 and 3, Mistral, SmolLM2 (`model_type` llama, mistral): RMSNorm, rotary positions, grouped queries, SwiGLU
 * (2002.05202, Eq. 6). 2302.13971, 2307.09288, sliding window 2310.06825. Attention biases, when configured, as in the
 * Hugging Face layout.
 */
import { z } from "zod";
import { type KeyValues, mergeHeads, splitHeads } from "../nn/attention.ts";
import { embedding, linearLayer, sublayer } from "../nn/linear.ts";
import type { Params } from "../nn/params.ts";
import { rotaryTables } from "../nn/rope.ts";
import { add, linear, mul, rmsNorm, rotary, silu } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";
import { MOST_LAYERS, parseConfig, tokenIds } from "./config.ts";
import { type Context, contextOf } from "./context.ts";
import {
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
    hidden_size: z.number().int().positive(),
    intermediate_size: z.number().int().positive(),
    num_hidden_layers: z.number().int().positive().max(MOST_LAYERS),
    num_attention_heads: z.number().int().positive(),
    num_key_value_heads: z.number().int().positive().nullish(),
    head_dim: z.number().int().positive().nullish(),
    max_position_embeddings: z.number().int().positive().default(2048),
    rms_norm_eps: z.number().positive().default(1e-6),
    rope_theta: z.number().positive().nullish(),
    rope_scaling: z.record(z.string(), z.unknown()).nullish(),
    /** Where newer files keep both of the above. */
    rope_parameters: z.looseObject({ rope_theta: z.number().positive().optional() }).nullish(),
    sliding_window: z.number().int().positive().nullish(),
    use_sliding_window: z.boolean().default(false),
    max_window_layers: z.number().int().nonnegative().default(28),
    layer_types: z.array(z.enum(["full_attention", "sliding_attention"])).nullish(),
    tie_word_embeddings: z.boolean().default(false),
    attention_bias: z.boolean().default(false),
    mlp_bias: z.boolean().default(false),
    hidden_act: z.literal("silu").default("silu"),
    memory: memoryField,
  })
  .transform((c) => ({
    ...c,
    num_key_value_heads: c.num_key_value_heads ?? c.num_attention_heads,
    head_dim: c.head_dim ?? c.hidden_size / c.num_attention_heads,
    rope_theta: c.rope_theta ?? c.rope_parameters?.rope_theta ?? 10000,
    rope_scaling: c.rope_scaling ?? c.rope_parameters,
  }))
  .refine((c) => c.head_dim % 2 === 0, { path: ["num_attention_heads"], error: "heads must be of an even whole size" })
  .refine((c) => c.num_attention_heads % c.num_key_value_heads === 0, {
    path: ["num_key_value_heads"],
    error: "it must divide num_attention_heads",
  })
  .refine((c) => memoryFits(c.memory, c.num_hidden_layers), memoryProblem);

export type LlamaConfig = z.output<typeof schema>;

/** What differs in the relatives of Llama (Qwen): biases and norms on the way to queries and keys. */
export interface LlamaVariant {
  /** Fields that config.json may leave out, where the defaults are not Llama's. */
  readonly defaults?: Readonly<Record<string, unknown>>;
  readonly qkvBias: (config: LlamaConfig) => boolean;
  readonly outputBias: (config: LlamaConfig) => boolean;
  /** RMSNorm over each head of queries and keys. */
  readonly headNorm: boolean;
  readonly window: (config: LlamaConfig, layer: number) => number | undefined;
}

const MLP = ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"];

function layerShapes(c: LlamaConfig, variant: LlamaVariant, layer: number): Record<string, readonly number[]> {
  const { hidden_size: C, intermediate_size: F, head_dim: D } = c;
  const [q, kv] = [c.num_attention_heads * D, c.num_key_value_heads * D];
  const shapes: Record<string, readonly number[]> = {
    "input_layernorm.weight": [C],
    "self_attn.q_proj.weight": [q, C],
    "self_attn.k_proj.weight": [kv, C],
    "self_attn.v_proj.weight": [kv, C],
    "self_attn.o_proj.weight": [C, q],
    "post_attention_layernorm.weight": [C],
  };
  const { dense, shapes: memoryShapes } = blockMemory(c.memory, layer, C);
  if (dense) {
    Object.assign(shapes, {
      "mlp.gate_proj.weight": [F, C],
      "mlp.up_proj.weight": [F, C],
      "mlp.down_proj.weight": [C, F],
    });
    if (c.mlp_bias)
      Object.assign(shapes, { "mlp.gate_proj.bias": [F], "mlp.up_proj.bias": [F], "mlp.down_proj.bias": [C] });
  }
  if (variant.qkvBias(c)) {
    Object.assign(shapes, {
      "self_attn.q_proj.bias": [q],
      "self_attn.k_proj.bias": [kv],
      "self_attn.v_proj.bias": [kv],
    });
  }
  if (variant.outputBias(c)) shapes["self_attn.o_proj.bias"] = [C];
  if (variant.headNorm) Object.assign(shapes, { "self_attn.q_norm.weight": [D], "self_attn.k_norm.weight": [D] });
  return { ...shapes, ...memoryShapes };
}

function selfAttention(
  p: Params,
  c: LlamaConfig,
  variant: LlamaVariant,
  x: Tensor,
  layer: number,
  context: Context,
  rope: Rope,
) {
  const normed = (heads: Tensor, name: string): Tensor =>
    variant.headNorm ? rmsNorm(heads, p.at(name).get("weight"), { eps: c.rms_norm_eps }) : heads;
  const asking = context.asked(layer, x);
  const q = normed(splitHeads(linearLayer(asking, p.at("q_proj")), c.num_attention_heads), "q_norm");
  const k = normed(splitHeads(linearLayer(x, p.at("k_proj")), c.num_key_value_heads), "k_norm");
  const value = splitHeads(linearLayer(x, p.at("v_proj")), c.num_key_value_heads);
  const present: KeyValues = { key: rotary(k, rope.cos, rope.sin), value };
  const [cos, sin] = [rope.cos, rope.sin].map((table) => context.asked(layer, table, table.rank - 2));
  const { output, weights } = context.attend(layer, rotary(q, cos, sin), present);
  return { y: linearLayer(mergeHeads(output), p.at("o_proj")), weights, present };
}

interface Rope {
  readonly cos: Tensor;
  readonly sin: Tensor;
}

const ropeOf = (c: LlamaConfig, positions: Tensor): Rope =>
  rotaryTables(positions, { headDim: c.head_dim, theta: c.rope_theta, scaling: c.rope_scaling });

function forward(p: Params, c: LlamaConfig, variant: LlamaVariant, inputs: ForwardInputs): ForwardOutputs {
  const root = p.at("model");
  const layers = c.num_hidden_layers;
  const windows = [...Array(layers).keys()].map((layer) => variant.window(c, layer));
  const contexts = new Map([...new Set(windows)].map((window) => [window, contextOf(inputs, { layers, window })]));
  const contextFor = (layer: number): Context => contexts.get(windows[layer]) as Context;
  const rope = ropeOf(c, contextFor(0).positions);
  const norm = (x: Tensor, weight: Params): Tensor => rmsNorm(x, weight.get("weight"), { eps: c.rms_norm_eps });
  const words = embedding(inputs.ids, root.at("embed_tokens"));
  let x = inputs.added ? add(words, inputs.added) : words;
  const hidden = [x];
  const attentions: Tensor[] = [];
  const present: KeyValues[] = [];
  const memory = memoryBlocks(c.memory, root);
  for (let layer = 0; layer < layers; layer++) {
    const asked = (all: Tensor): Tensor => contextFor(layer).asked(layer, all);
    const block = root.at(`layers.${layer}`);
    const normed = norm(x, block.at("input_layernorm"));
    const attended = selfAttention(block.at("self_attn"), c, variant, normed, layer, contextFor(layer), rope);
    x = add(asked(x), sublayer(asked(normed), attended.y, block.at("self_attn")));
    const inner = norm(x, block.at("post_attention_layernorm"));
    x = add(
      x,
      memory.feedForward(layer, inner, block, (mlp) => swiglu(inner, mlp)),
    );
    hidden.push(x);
    attentions.push(attended.weights);
    present.push(attended.present);
  }
  return { final: norm(x, root.at("norm")), hidden, attentions, present, reads: memory.reads };
}

const swiglu = (x: Tensor, mlp: Params): Tensor =>
  linearLayer(mul(silu(linearLayer(x, mlp.at("gate_proj"))), linearLayer(x, mlp.at("up_proj"))), mlp.at("down_proj"));

/** A definition in the Llama family. */
export function llamaFamily(modelType: string, variant: LlamaVariant): ModelDefinition<LlamaConfig> {
  return {
    modelType,
    kind: "causal",
    parseConfig: (json) => parseConfig(modelType, schema, json, variant.defaults),
    geometry: (c) => ({
      layers: c.num_hidden_layers,
      width: c.hidden_size,
      vocabulary: c.vocab_size,
      context: c.max_position_embeddings,
      heads: c.num_attention_heads,
      kvHeads: c.num_key_value_heads,
      headDim: c.head_dim,
    }),
    shapes(c) {
      const shapes: Record<string, readonly number[]> = { "model.embed_tokens.weight": [c.vocab_size, c.hidden_size] };
      for (let layer = 0; layer < c.num_hidden_layers; layer++) {
        for (const [name, shape] of Object.entries(layerShapes(c, variant, layer)))
          shapes[`model.layers.${layer}.${name}`] = shape;
      }
      shapes["model.norm.weight"] = [c.hidden_size];
      Object.assign(shapes, poolShapes(c.memory, "model"));
      if (!c.tie_word_embeddings) shapes["lm_head.weight"] = [c.vocab_size, c.hidden_size];
      return shapes;
    },
    // Old files carry the rotary frequencies; tied ones may carry the head a second time; headless ones lack "model."
    canonicalName(name, c) {
      if (name.endsWith("rotary_emb.inv_freq") || (c.tie_word_embeddings && name === "lm_head.weight"))
        return undefined;
      return /^(embed_tokens|layers|norm|memory)\./.test(name) ? `model.${name}` : name;
    },
    linearInputFirst: false,
    linearPaths: (c) =>
      [...Array(c.num_hidden_layers).keys()].flatMap((layer) =>
        [
          "self_attn.q_proj",
          "self_attn.k_proj",
          "self_attn.v_proj",
          "self_attn.o_proj",
          ...blockMemory(c.memory, layer, c.hidden_size).linears(MLP),
        ].map((name) => `model.layers.${layer}.${name}`),
      ),
    sublayerPaths: (c) =>
      [...Array(c.num_hidden_layers).keys()].flatMap((layer) =>
        ["self_attn", blockMemory(c.memory, layer, c.hidden_size).path].map((name) => `model.layers.${layer}.${name}`),
      ),
    tables: (c) => memoryTables(c.memory, "model"),
    forward: (p, c, inputs) => forward(p, c, variant, inputs),
    rotated(c, keys, positions) {
      const { cos, sin } = ropeOf(c, positions);
      return rotary(keys, cos, sin);
    },
    logits: (p, c, hidden) =>
      linear(hidden, p.get(c.tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight")),
  };
}

const plain: LlamaVariant = {
  qkvBias: (c) => c.attention_bias,
  outputBias: (c) => c.attention_bias,
  headNorm: false,
  window: () => undefined,
};

export const llama = llamaFamily("llama", plain);
export const mistral = llamaFamily("mistral", {
  ...plain,
  defaults: { sliding_window: 4096 },
  window: (c) => c.sliding_window ?? undefined,
});
