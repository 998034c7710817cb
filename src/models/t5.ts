/**
 * T5 (1910.10683), versions 1.0 (ReLU), 1.1 and FLAN (gated GELU, 2002.05202): an encoder-decoder with norms before
 * each sub-layer, relative positions in the scores, no biases, and scores that are not scaled. The decoder reads given
 * embeddings and gives states; nobody here decodes tokens, so the head is passed over.
 */
import { z } from "zod";
import { internal } from "../errors.ts";
import { activationNames, activations } from "../nn/activation.ts";
import { attention, causalBias, defaultPositions, mergeHeads, paddingBias, splitHeads } from "../nn/attention.ts";
import { embedding, linearLayer, sublayer } from "../nn/linear.ts";
import type { Params } from "../nn/params.ts";
import { relativeBias } from "../nn/relative-bias.ts";
import { add, mul, rmsNorm } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";
import { MOST_LAYERS, parseConfig, tokenIds } from "./config.ts";
import type { Decoded, EncoderDecoderDefinition } from "./model.ts";

const size = z.number().int().positive();

const schema = z
  .looseObject({
    ...tokenIds,
    vocab_size: size,
    d_model: size,
    d_kv: size.default(64),
    d_ff: size,
    num_layers: size.max(MOST_LAYERS),
    num_decoder_layers: size.max(MOST_LAYERS).nullish(),
    num_heads: size,
    relative_attention_num_buckets: size.min(4).default(32),
    relative_attention_max_distance: size.max(2 ** 16).default(128),
    layer_norm_epsilon: z.number().positive().default(1e-6),
    feed_forward_proj: z
      .enum([...activationNames, ...activationNames.map((name) => `gated-${name}` as const)])
      .default("relu"),
    n_positions: size.default(512),
    is_encoder_decoder: z.literal(true).default(true),
  })
  .transform((c) => ({ ...c, num_decoder_layers: c.num_decoder_layers ?? c.num_layers }))
  .refine((c) => c.relative_attention_max_distance > c.relative_attention_num_buckets / 2, {
    path: ["relative_attention_max_distance"],
    error: "it must be above half of relative_attention_num_buckets",
  });

type T5Config = z.output<typeof schema>;

/** What a layer adds to its input, in order. Files of all versions call the feed-forward so, whatever its activation. */
const STEPS = {
  encoder: ["SelfAttention", "DenseReluDense"],
  decoder: ["SelfAttention", "EncDecAttention", "DenseReluDense"],
} as const;

type Side = keyof typeof STEPS;
type Step = (typeof STEPS)[Side][number];

const isGated = (c: T5Config): boolean => c.feed_forward_proj.startsWith("gated-");

function activationOf({ feed_forward_proj: name }: T5Config): (x: Tensor) => Tensor {
  // By this name the published checkpoints mean the tanh approximation
  if (name === "gated-gelu") return activations.gelu_new;
  return activations[name.replace("gated-", "") as keyof typeof activations];
}

/** The matrices of a step, [out, in]. */
function matrices(c: T5Config, step: Step): Record<string, readonly [number, number]> {
  const { d_model: C, d_ff: F } = c;
  const A = c.num_heads * c.d_kv;
  if (step !== "DenseReluDense") return { q: [A, C], k: [A, C], v: [A, C], o: [C, A] };
  return isGated(c) ? { wi_0: [F, C], wi_1: [F, C], wo: [C, F] } : { wi: [F, C], wo: [C, F] };
}

const layersOf = (c: T5Config, side: Side): number => (side === "encoder" ? c.num_layers : c.num_decoder_layers);

/** Every step of every layer, with the path above it and its norm. */
function stepsOf(c: T5Config): { layer: string; step: Step }[] {
  return (["encoder", "decoder"] as const).flatMap((side) =>
    Array.from({ length: layersOf(c, side) }, (_, block) =>
      STEPS[side].map((step, index) => ({ layer: `${side}.block.${block}.layer.${index}`, step })),
    ).flat(),
  );
}

const TABLE = "block.0.layer.0.SelfAttention.relative_attention_bias";

function shapes(c: T5Config): Record<string, readonly number[]> {
  const { d_model: C } = c;
  const table = [c.relative_attention_num_buckets, c.num_heads];
  const found: Record<string, readonly number[]> = {
    "shared.weight": [c.vocab_size, C],
    [`encoder.${TABLE}.weight`]: table,
    "encoder.final_layer_norm.weight": [C],
    [`decoder.${TABLE}.weight`]: table,
    "decoder.final_layer_norm.weight": [C],
  };
  for (const { layer, step } of stepsOf(c)) {
    for (const [name, shape] of Object.entries(matrices(c, step))) found[`${layer}.${step}.${name}.weight`] = shape;
    found[`${layer}.layer_norm.weight`] = [C];
  }
  return found;
}

const norm = (p: Params, c: T5Config, x: Tensor): Tensor => rmsNorm(x, p.get("weight"), { eps: c.layer_norm_epsilon });

/** x [B, T, C] looks at states [B, S, C]. */
function attend(p: Params, c: T5Config, x: Tensor, states: Tensor, bias: Tensor): { y: Tensor; weights: Tensor } {
  const heads = (from: Tensor, name: string): Tensor => splitHeads(linearLayer(from, p.at(name)), c.num_heads);
  const seen = { key: heads(states, "k"), value: heads(states, "v") };
  const { output, weights } = attention(heads(x, "q"), [seen], { bias, scale: 1 });
  return { y: linearLayer(mergeHeads(output), p.at("o")), weights };
}

function feedForward(p: Params, c: T5Config, x: Tensor): Tensor {
  const activate = activationOf(c);
  const inner = isGated(c)
    ? mul(activate(linearLayer(x, p.at("wi_0"))), linearLayer(x, p.at("wi_1")))
    : activate(linearLayer(x, p.at("wi")));
  return linearLayer(inner, p.at("wo"));
}

/** What a decoder reads beside its own embeddings. */
interface Read {
  readonly states: Tensor;
  /** [B, 1, 1, T]. */
  readonly bias: Tensor;
}

/** The layers of one side and its final norm over x [B, T, C]; `hiding` broadcasts to [B, 1, T, T]. */
function stack(root: Params, c: T5Config, side: Side, embeddings: Tensor, hiding: Tensor, read?: Read): Decoded {
  const p = root.at(side);
  const positions = relativeBias(p.at(TABLE).get("weight"), embeddings.shape[1], {
    bidirectional: side === "encoder",
    maxDistance: c.relative_attention_max_distance,
  });
  const bias = add(positions, hiding);
  const attentions: Tensor[] = [];
  const crossAttentions: Tensor[] = [];
  const steps: Record<Step, (own: Params, inner: Tensor) => Tensor> = {
    SelfAttention(own, inner) {
      const { y, weights } = attend(own, c, inner, inner, bias);
      attentions.push(weights);
      return y;
    },
    EncDecAttention(own, inner) {
      if (!read) internal("t5: cross-attention without states");
      const { y, weights } = attend(own, c, inner, read.states, read.bias);
      crossAttentions.push(weights);
      return y;
    },
    DenseReluDense: (own, inner) => feedForward(own, c, inner),
  };
  let x = embeddings;
  const hidden = [x];
  for (let block = 0; block < layersOf(c, side); block++) {
    for (const [index, step] of STEPS[side].entries()) {
      const layer = p.at(`block.${block}.layer.${index}`);
      const own = layer.at(step);
      const inner = norm(layer.at("layer_norm"), c, x);
      x = add(x, sublayer(inner, steps[step](own, inner), own));
    }
    hidden.push(x);
  }
  return { final: norm(p.at("final_layer_norm"), c, x), hidden, attentions, crossAttentions };
}

/** Tied embeddings are stored under one of these names or under several; all others of a file are copies. */
const EMBEDDINGS = ["shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"];

export const t5: EncoderDecoderDefinition<T5Config> = {
  modelType: "t5",
  kind: "encoder-decoder",
  parseConfig: (json) => parseConfig("t5", schema, json),
  geometry: (c) => ({
    layers: c.num_layers,
    decoderLayers: c.num_decoder_layers,
    width: c.d_model,
    vocabulary: c.vocab_size,
    // As trained; nothing in the model ends there
    context: c.n_positions,
    heads: c.num_heads,
    kvHeads: c.num_heads,
    headDim: c.d_kv,
  }),
  shapes,
  // The head is passed over, and so is a table that the first files carry and nothing reads
  canonicalName(name, _, file) {
    if (EMBEDDINGS.includes(name)) {
      const stored = EMBEDDINGS.find((other) => file?.has(other)) ?? "shared.weight";
      return name === stored ? "shared.weight" : undefined;
    }
    return /^(encoder|decoder)\./.test(name) && !name.includes("EncDecAttention.relative_attention_bias")
      ? name
      : undefined;
  },
  linearInputFirst: false,
  linearPaths: (c) =>
    stepsOf(c).flatMap(({ layer, step }) => Object.keys(matrices(c, step)).map((name) => `${layer}.${step}.${name}`)),
  padId: (c) => c.pad_token_id ?? 0,
  encode(p, c, { ids, mask }) {
    return stack(p, c, "encoder", embedding(ids, p.at("shared")), paddingBias(mask));
  },
  decode(p, c, { embeddings, states, mask }) {
    const positions = defaultPositions(embeddings.shape[1]);
    return stack(p, c, "decoder", embeddings, causalBias(positions, positions), { states, bias: paddingBias(mask) });
  },
};
