/**
 * Small random models of several architectures with a byte-level tokenizer, as checkpoint folders, and texts that they
 * learn within some dozen steps. (The fixtures under tests/fixtures have exact outputs but no tokenizer.)
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { trainBpe } from "../../src/checkpoint/bpe.ts";
import { writeSafetensors } from "../../src/checkpoint/safetensors.ts";
import { causalDefinitionFor } from "../../src/models/index.ts";
import { type LoadedModel, loadModel } from "../../src/models/load.ts";
import { gpt2Rule, initialize } from "../../src/nn/init.ts";

/** Two texts with few words in common. */
export const smallTexts = {
  harbour: [
    "The harbour wakes before the gulls. Ropes creak, nets dry on the wall, and the old ferry turns its bow to the sea.",
    "Mara counts the boats: seven blue, two green, one that nobody owns. She writes the number on the door with chalk.",
    "When the wind is from the north the boats stay in. When it is from the west they leave before the gulls wake.",
  ].join("\n\n"),
  oven: [
    "Heat milk until it steams, melt butter in it, and stir flour through a sieve. Knead ten minutes; add salt last.",
    "A good crust cracks under your thumb. If dough sticks, dust flour; if flour flies, wet your hands and knead again.",
    "Bake at two hundred degrees for forty minutes, then knock underneath: a hollow sound means bread is done.",
  ].join("\n\n"),
} as const;

export interface TextModelOptions {
  architecture?: "llama" | "gpt2" | "qwen2";
  seed?: number;
  /** Longest sequence in tokens. */
  context?: number;
  width?: number;
  layers?: number;
  /** One table for input and output; gpt2 always has one. */
  tied?: boolean;
  /** A memory layer, as config.json says it. */
  memory?: Readonly<Record<string, unknown>>;
  /** Tokens in all, 258 or more: two special tokens, 256 bytes, merges. */
  vocabulary?: number;
}

function configOf({ architecture = "llama", context = 64, width = 32, layers = 2, tied = false }: TextModelOptions) {
  if (architecture === "gpt2") {
    return {
      model_type: "gpt2",
      architectures: ["GPT2LMHeadModel"],
      n_embd: width,
      n_layer: layers,
      n_head: 4,
      n_positions: context,
    };
  }
  return {
    model_type: architecture,
    architectures: [architecture === "llama" ? "LlamaForCausalLM" : "Qwen2ForCausalLM"],
    hidden_size: width,
    intermediate_size: 2 * width,
    num_hidden_layers: layers,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    max_position_embeddings: context,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    tie_word_embeddings: tied,
    hidden_act: "silu",
  };
}

const begin = { SpecialToken: { id: "<begin>", type_id: 0 } };
const startToken = {
  type: "TemplateProcessing",
  single: [begin, { Sequence: { id: "A", type_id: 0 } }],
  pair: [begin, { Sequence: { id: "A", type_id: 0 } }, begin, { Sequence: { id: "B", type_id: 1 } }],
  special_tokens: { "<begin>": { id: "<begin>", ids: [1], tokens: ["<begin>"] } },
};

/** Write the folder; equal options give equal bytes. */
async function writeTextModel(folder: string, options: TextModelOptions = {}): Promise<string> {
  const { architecture = "llama", seed = 1, vocabulary = 300 } = options;
  await mkdir(folder, { recursive: true });
  const json = (name: string, value: unknown): Promise<void> => writeFile(join(folder, name), JSON.stringify(value));
  const tokenizer = await trainBpe(Object.values(smallTexts), {
    vocabSize: vocabulary,
    specialTokens: ["<end>", "<begin>"],
  });
  // As in their families: llama puts a start token before a text, gpt2 has one but does not, qwen2 has none
  const bos = { llama: { bos_token: "<begin>" }, gpt2: { bos_token: "<end>" }, qwen2: {} }[architecture];
  await json("tokenizer.json", architecture === "llama" ? { ...tokenizer, post_processor: startToken } : tokenizer);
  await json("tokenizer_config.json", { tokenizer_class: "PreTrainedTokenizerFast", eos_token: "<end>", ...bos });
  const config = {
    ...configOf(options),
    ...(options.memory && { memory: options.memory }),
    vocab_size: Object.keys(tokenizer.model.vocab).length,
    bos_token_id: null,
    eos_token_id: 0,
  };
  await json("config.json", config);
  const definition = causalDefinitionFor(config);
  const parsed = definition.parseConfig(config);
  const rule = gpt2Rule({ layers: definition.geometry(parsed).layers, std: 0.1 });
  await writeSafetensors(join(folder, "model.safetensors"), initialize(definition.shapes(parsed), rule, seed), {
    metadata: { format: "pt" },
  });
  return folder;
}

export async function textModel(folder: string, options: TextModelOptions = {}): Promise<LoadedModel> {
  return loadModel(await writeTextModel(folder, options));
}
