/** Counts of operations against those worked out by hand for small models. */
import { describe, expect, it } from "vitest";
import { bert } from "../models/bert.ts";
import { gpt2 } from "../models/gpt2.ts";
import { llama } from "../models/llama.ts";
import type { EncoderDefinition, ModelDefinition } from "../models/model.ts";
import { zerosHost } from "../tensor/dtype.ts";
import { productParameters, readingFlops, trainingFlopsPerPosition } from "./flops.ts";

const sizes = { vocab_size: 50, hidden_size: 8, intermediate_size: 12, num_hidden_layers: 2, num_attention_heads: 4 };
const llamaConfig = llama.parseConfig({ ...sizes, num_key_value_heads: 2, head_dim: 4, tie_word_embeddings: false });
const tiedConfig = llama.parseConfig({ ...sizes, num_key_value_heads: 2, head_dim: 4, tie_word_embeddings: true });
const gptConfig = gpt2.parseConfig({ vocab_size: 50, n_embd: 8, n_layer: 2, n_head: 2, n_positions: 16 });
/** q [16,8], k and v [8,8], o [8,16], three of [12,8]; per layer. */
const llamaLayer = 16 * 8 + 2 * 8 * 8 + 8 * 16 + 3 * 12 * 8;

function allOf<C>(definition: ModelDefinition<C>, config: C) {
  const trainable = Object.fromEntries(
    Object.entries(definition.shapes(config)).map(([name, shape]) => [name, zerosHost("float32", shape)]),
  );
  const geometry = definition.geometry(config);
  return { definition: definition as ModelDefinition, config, geometry, trainable, contextLength: 10 };
}

describe("full training", () => {
  it("of llama: 6 N and attention over heads of their own size", () => {
    const all = allOf(llama, llamaConfig);
    const N = 2 * llamaLayer + 50 * 8;
    expect(productParameters(all)).toEqual({ all: N, training: N });
    expect(trainingFlopsPerPosition(all)).toBe(6 * N + 2 * 12 * 16 * 10);
    expect(trainingFlopsPerPosition(allOf(llama, tiedConfig))).toBe(6 * N + 2 * 12 * 16 * 10);
  });

  it("of gpt2: its table is its head", () => {
    const N = 2 * (8 * 24 + 8 * 8 + 2 * 8 * 32) + 50 * 8;
    expect(trainingFlopsPerPosition(allOf(gpt2, gptConfig))).toBe(6 * N + 2 * 12 * 8 * 10);
  });
});

it("reading costs 2 N and attention forward, without a head", () => {
  const config = bert.parseConfig({ ...sizes, max_position_embeddings: 16 });
  const N = 2 * (4 * 8 * 8 + 2 * 8 * 12);
  const definition = bert as EncoderDefinition;
  expect(readingFlops({ definition, config, geometry: bert.geometry(config) }, 10)).toBe(10 * (2 * N + 2 * 4 * 8 * 10));
});

describe("a frozen base", () => {
  it("costs 4 N, and what trains 2 more, itself included", () => {
    const adapters = {
      "model.layers.0.mlp.adapter_down.weight": zerosHost("float32", [3, 8]),
      "model.layers.0.mlp.adapter_down.bias": zerosHost("float32", [3]),
      "model.layers.0.mlp.adapter_up.weight": zerosHost("float32", [8, 3]),
    };
    const all = { ...allOf(llama, llamaConfig), trainable: adapters };
    const N = 2 * llamaLayer + 50 * 8 + 48;
    expect(productParameters(all)).toEqual({ all: N, training: 48 });
    expect(trainingFlopsPerPosition(all)).toBe(4 * N + 2 * 48 + 2 * 12 * 16 * 10);
  });

  it("with one weight of the model's own that trains", () => {
    const trainable = { "model.layers.1.mlp.up_proj.weight": zerosHost("float32", [12, 8]) };
    const all = { ...allOf(llama, llamaConfig), trainable };
    expect(productParameters(all)).toEqual({ all: 2 * llamaLayer + 50 * 8, training: 96 });
  });
});
