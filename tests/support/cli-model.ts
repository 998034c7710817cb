/** A random model of a few thousand weights with its own byte-level tokenizer: what the command line is tested on. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { trainBpe } from "../../src/checkpoint/bpe.ts";
import { writeSafetensors } from "../../src/checkpoint/safetensors.ts";
import { causalDefinitionFor } from "../../src/models/index.ts";
import { gpt2Rule, initialize } from "../../src/nn/init.ts";
import { sampleTexts } from "./fake-method.ts";

/** Architecture without the sizes that the vocabulary decides. */
export const tinyArchitecture = {
  model_type: "llama",
  hidden_size: 16,
  intermediate_size: 32,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  tie_word_embeddings: true,
  hidden_act: "silu",
};

/** Writes the model into `folder`. */
export async function writeTinyModel(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const json = (name: string, value: unknown) => writeFile(join(folder, name), JSON.stringify(value));
  const end = "<|endoftext|>";
  const texts = sampleTexts().map(({ text }) => text);
  const tokenizer = await trainBpe(texts, { vocabSize: 320, specialTokens: [end] });
  const vocab_size = Object.keys(tokenizer.model.vocab).length;
  const config = { ...tinyArchitecture, vocab_size, bos_token_id: null, eos_token_id: 0 };
  const definition = causalDefinitionFor(config);
  const parsed = definition.parseConfig(config);
  const weights = initialize(definition.shapes(parsed), gpt2Rule({ layers: 2 }), 7);
  await json("config.json", config);
  await json("tokenizer.json", tokenizer);
  await json("tokenizer_config.json", {
    tokenizer_class: "PreTrainedTokenizerFast",
    eos_token: end,
    chat_template: "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant]",
  });
  await writeSafetensors(join(folder, "model.safetensors"), weights);
}

/** Writes three texts that can be split, and returns their paths. */
export async function writeSampleTexts(folder: string, paragraphs = 12): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  return Promise.all(
    sampleTexts(paragraphs).map(async ({ path, text }) => {
      const file = join(folder, path.split("/").at(-1) as string);
      await writeFile(file, text);
      return file;
    }),
  );
}
