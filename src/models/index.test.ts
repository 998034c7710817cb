/** The catalogue, what configurations it refuses, and the names that tensors may have in files. */
import { describe, expect, test } from "vitest";
import { UserError } from "../errors.ts";
import { definitionFor, definitions } from "./index.ts";

const errorOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(UserError);
    return (error as Error).message;
  }
  return expect.fail("no error");
};

const T5 = { vocab_size: 9, d_model: 8, d_ff: 16, num_layers: 1, num_heads: 2 };

describe("the catalogue", () => {
  test("every key is the model_type of its definition", () => {
    for (const [type, definition] of Object.entries(definitions)) expect(definition.modelType).toBe(type);
    expect(definitionFor({ model_type: "qwen3" })).toBe(definitions.qwen3);
  });

  test.each([
    [{ model_type: "mamba" }, '"mamba"'],
    [{ model_type: "constructor" }, '"constructor"'],
    [{}, "none"],
    [null, "none"],
  ])("%j is refused with the list of known types", (config, got) => {
    const message = errorOf(() => definitionFor(config));
    expect(message).toContain(`one of ${Object.keys(definitions).join(", ")}, got ${got}`);
    expect(message).not.toContain("\n");
  });

  test.each([
    ["gpt2", { n_embd: 24, n_head: 5, n_layer: 1, vocab_size: 9 }, "n_head"],
    ["gpt2", { n_embd: 24, n_head: 4, n_layer: 1, vocab_size: 9, activation_function: "mish" }, "activation_function"],
    ["gpt2", { n_embd: 24, n_head: 4, n_layer: 1 }, "vocab_size"],
    [
      "llama",
      { hidden_size: 24, intermediate_size: 8, num_hidden_layers: 1, num_attention_heads: 5, vocab_size: 9 },
      "num_attention_heads",
    ],
    [
      "llama",
      {
        hidden_size: 24,
        intermediate_size: 8,
        num_hidden_layers: 1,
        num_attention_heads: 4,
        num_key_value_heads: 3,
        vocab_size: 9,
      },
      "num_key_value_heads",
    ],
    ["bert", { hidden_size: "24" }, "hidden_size"],
    ["bert", null, "the file"],
    ["t5", { ...T5, num_heads: 0 }, "num_heads"],
    ["t5", { ...T5, feed_forward_proj: "gated-mish" }, "feed_forward_proj"],
    ["t5", { ...T5, relative_attention_max_distance: 16 }, "relative_attention_max_distance"],
    ["t5", { ...T5, is_encoder_decoder: false }, "is_encoder_decoder"],
  ])("%s with %j is refused, %s named", (type, config, field) => {
    const definition = definitionFor({ model_type: type });
    const message = errorOf(() => definition.parseConfig(config));
    expect(message).toContain(
      `config.json (${type}): expected a valid ${field === "hidden_size" ? "vocab_size" : field}`,
    );
    expect(message).not.toContain("\n");
  });
});

describe("names in files", () => {
  const name = (
    type: keyof typeof definitions,
    from: string,
    fields: Record<string, unknown> = {},
  ): string | undefined => definitions[type].canonicalName(from, fields as never);

  test.each([
    ["wte.weight", {}, "transformer.wte.weight"],
    ["transformer.h.0.ln_1.bias", {}, "transformer.h.0.ln_1.bias"],
    ["h.11.attn.bias", {}, undefined],
    ["transformer.h.11.attn.masked_bias", {}, undefined],
    ["h.1.attn.c_attn.bias", {}, "transformer.h.1.attn.c_attn.bias"],
    ["lm_head.weight", { tie_word_embeddings: true }, undefined],
    ["lm_head.weight", { tie_word_embeddings: false }, "lm_head.weight"],
  ])("gpt2: %s", (from, fields, to) => expect(name("gpt2", from, fields)).toBe(to));

  test.each([
    ["model.layers.0.self_attn.rotary_emb.inv_freq", {}, undefined],
    ["layers.0.input_layernorm.weight", {}, "model.layers.0.input_layernorm.weight"],
    ["lm_head.weight", { tie_word_embeddings: true }, undefined],
    ["lm_head.weight", { tie_word_embeddings: false }, "lm_head.weight"],
  ])("llama: %s", (from, fields, to) => expect(name("llama", from, fields)).toBe(to));

  test.each([
    ["bert.embeddings.LayerNorm.gamma", "embeddings.LayerNorm.weight"],
    ["bert.encoder.layer.3.output.LayerNorm.beta", "encoder.layer.3.output.LayerNorm.bias"],
    ["encoder.layer.3.output.dense.bias", "encoder.layer.3.output.dense.bias"],
    ["bert.pooler.dense.weight", "pooler.dense.weight"],
    ["embeddings.position_ids", undefined],
    ["cls.predictions.transform.LayerNorm.gamma", undefined],
  ])("bert: %s", (from, to) => expect(name("bert", from)).toBe(to));

  test("xlm-roberta: its prefix is roberta", () => {
    expect(name("xlm-roberta", "roberta.embeddings.LayerNorm.weight")).toBe("embeddings.LayerNorm.weight");
    expect(name("xlm-roberta", "lm_head.dense.weight")).toBeUndefined();
  });

  const tied = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"];
  test.each([
    ["shared.weight", ["shared.weight", ...tied], "shared.weight"],
    [tied[0], ["shared.weight", ...tied], undefined],
    [tied[1], ["shared.weight", ...tied], undefined],
    [tied[0], tied, "shared.weight"],
    [tied[1], tied, undefined],
    [tied[1], [tied[1]], "shared.weight"],
    ["lm_head.weight", [], undefined],
    ["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight", [], undefined],
    ["decoder.final_layer_norm.weight", [], "decoder.final_layer_norm.weight"],
  ])("t5: %s in a file with %j", (from, names, to) =>
    expect(definitions.t5.canonicalName(from, {} as never, new Set(names))).toBe(to),
  );

  test("linear paths are matrices of the model", () => {
    for (const fixture of ["gpt2", "llama", "qwen3", "bert", "t5"]) {
      const json = { model_type: fixture };
      const definition = definitionFor(json);
      const config = definition.parseConfig(fixtureConfig(fixture));
      const shapes = definition.shapes(config);
      const paths = definition.linearPaths(config);
      expect(new Set(paths).size).toBe(paths.length);
      for (const path of paths) expect(shapes[`${path}.weight`], path).toHaveLength(2);
    }
  });
});

function fixtureConfig(name: string): unknown {
  const sizes = { vocab_size: 9, n_embd: 8, n_head: 2, n_layer: 2, hidden_size: 8, intermediate_size: 16 };
  return { model_type: name, ...T5, ...sizes, num_hidden_layers: 2, num_attention_heads: 2, head_dim: 4 };
}
