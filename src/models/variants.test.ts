/** What the fixtures do not reach: other options of config.json, other spellings in files, and wrong configurations. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { expectClose, type Tolerance } from "../../tests/support/close.ts";
import {
  type Checkpoint, decoderGraph, decoderOf, encoderOf, type Fixture, nextLogits, readCheckpoint, readFixture,
  repositoryFile, runFixture,
} from "../../tests/support/model-fixture.ts";
import { openSafetensors, requireTensors, writeSafetensors } from "../checkpoint/safetensors.ts";
import { UserError } from "../errors.ts";
import { activationNames, activations } from "../nn/activation.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { float32Host, type HostTensor } from "../tensor/dtype.ts";
import { input } from "../tensor/functions.ts";
import { createEmbedder } from "./embed.ts";
import { definitionFor, definitions } from "./index.ts";
import type { ModelDefinition } from "./model.ts";

const runtime = createRuntime({ threads: 1 });
const scratch = mkdtempSync(join(tmpdir(), "mneme-models-"));
afterAll(async () => {
  rmSync(scratch, { recursive: true });
  await runtime.dispose();
});

/** Two ways to the same number, both in float32. */
const SAME: Tolerance = { absolute: 2e-5, relative: 1e-5 };

const IDS = [3, 17, 8, 41, 5, 22, 30];
type Decoder = Fixture<ModelDefinition>;

/** The same checkpoint with other fields in config.json. */
function changed(fixture: Decoder, fields: Record<string, unknown>): Decoder {
  return { ...fixture, config: fixture.definition.parseConfig({ ...(fixture.config as object), ...fields }) };
}

const logitsOf = async (model: Checkpoint<ModelDefinition>): Promise<Float32Array> => (await (await nextLogits(runtime, model))(IDS)).all;

const scaled = ({ shape, data }: HostTensor, factor: (i: number) => number): HostTensor =>
  float32Host(shape, Float32Array.from(data as Float32Array, (x, i) => x * factor(i)));

const errorOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(UserError);
    return (error as Error).message;
  }
  return expect.fail("no error");
};

describe("the catalogue", () => {
  test("every key is the model_type of its definition", () => {
    for (const [type, definition] of Object.entries(definitions)) expect(definition.modelType).toBe(type);
    expect(definitionFor({ model_type: "qwen3" })).toBe(definitions.qwen3);
  });

  test.each([[{ model_type: "mamba" }, '"mamba"'], [{ model_type: "constructor" }, '"constructor"'], [{}, "none"], [null, "none"]])(
    "%j is refused with the list of known types",
    (config, got) => {
      const message = errorOf(() => definitionFor(config));
      expect(message).toContain(`one of bert, gpt2, llama, mistral, qwen2, qwen3, xlm-roberta, got ${got}`);
      expect(message).not.toContain("\n");
    },
  );

  test.each([
    ["gpt2", { n_embd: 24, n_head: 5, n_layer: 1, vocab_size: 9 }, "n_head"],
    ["gpt2", { n_embd: 24, n_head: 4, n_layer: 1, vocab_size: 9, activation_function: "mish" }, "activation_function"],
    ["gpt2", { n_embd: 24, n_head: 4, n_layer: 1 }, "vocab_size"],
    ["llama", { hidden_size: 24, intermediate_size: 8, num_hidden_layers: 1, num_attention_heads: 5, vocab_size: 9 }, "num_attention_heads"],
    [
      "llama",
      { hidden_size: 24, intermediate_size: 8, num_hidden_layers: 1, num_attention_heads: 4, num_key_value_heads: 3, vocab_size: 9 },
      "num_key_value_heads",
    ],
    ["bert", { hidden_size: "24" }, "hidden_size"],
    ["bert", null, "the file"],
  ])("%s with %j is refused, %s named", (type, config, field) => {
    const definition = definitionFor({ model_type: type });
    const message = errorOf(() => definition.parseConfig(config));
    expect(message).toContain(`config.json (${type}): expected a valid ${field === "hidden_size" ? "vocab_size" : field}`);
    expect(message).not.toContain("\n");
  });
});

describe("names in files", () => {
  const name = (type: keyof typeof definitions, from: string, fields: Record<string, unknown> = {}): string | undefined =>
    definitions[type].canonicalName(from, fields as never);

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

  test("linear paths are matrices of the model", () => {
    for (const fixture of ["gpt2", "llama", "qwen3", "bert"]) {
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
  return { model_type: name, ...sizes, num_hidden_layers: 2, num_attention_heads: 2, head_dim: 4 };
}

describe("checkpoints", () => {
  const rewritten = async (change: (tensors: Record<string, HostTensor>) => void): Promise<string> => {
    const { definition, config, weights } = await readCheckpoint(repositoryFile("tests/fixtures/llama"));
    const tensors = { ...weights };
    change(tensors);
    const path = join(scratch, "model.safetensors");
    writeFileSync(join(scratch, "config.json"), "{}");
    await writeSafetensors(path, tensors);
    const file = await openSafetensors(path);
    try {
      return errorOf(() => requireTensors(file, definition.shapes(config)));
    } finally {
      await file.close();
    }
  };

  test("a missing tensor is named, with its shape and what is expected", async () => {
    const message = await rewritten((tensors) => delete tensors["model.layers.1.mlp.up_proj.weight"]);
    expect(message).toContain('expected tensor "model.layers.1.mlp.up_proj.weight" of shape [40, 24], got none');
    expect(message).toContain("expected are model.embed_tokens.weight [56, 24]");
  });

  test("a tensor of wrong shape is named, with both shapes", async () => {
    const message = await rewritten((tensors) => {
      tensors["model.norm.weight"] = float32Host([23], new Float32Array(23));
    });
    expect(message).toContain('expected tensor "model.norm.weight" of shape [24], got [23]');
  });
});

describe("options of gpt2", () => {
  test("an untied head is its own matrix", async () => {
    const tied = decoderOf(await readFixture("gpt2"));
    const untied = changed(tied, { tie_word_embeddings: false });
    expect(untied.definition.shapes(untied.config)["lm_head.weight"]).toEqual([56, 24]);
    const weights = { ...tied.weights, "lm_head.weight": scaled(tied.weights["transformer.wte.weight"], () => -2) };
    const want = (await logitsOf(tied)).map((x) => -2 * x);
    expectClose("logits", await logitsOf({ ...untied, weights }), want, SAME);
  });

  // Scores scale with queries, so a scale left out equals queries that carry it
  test.each([
    [{ scale_attn_weights: false }, () => 1 / Math.sqrt(6)],
    [{ scale_attn_by_inverse_layer_idx: true }, (layer: number) => layer + 1],
  ])("%j", async (fields, factor) => {
    const fixture = decoderOf(await readFixture("gpt2"));
    const weights = { ...fixture.weights };
    for (const layer of [0, 1]) {
      for (const part of ["weight", "bias"]) {
        const name = `transformer.h.${layer}.attn.c_attn.${part}`;
        weights[name] = scaled(weights[name], (i) => (i % 72 < 24 ? factor(layer) : 1));
      }
    }
    const got = await logitsOf({ ...changed(fixture, fields), weights });
    expectClose("logits", got, await logitsOf(fixture), SAME);
  });

  test("n_inner sets the width of the MLP", () => {
    const { gpt2 } = definitions;
    const config = gpt2.parseConfig({ vocab_size: 9, n_embd: 8, n_head: 2, n_layer: 1, n_inner: 20 });
    expect(gpt2.shapes(config)["transformer.h.0.mlp.c_fc.weight"]).toEqual([8, 20]);
  });

  test("rows padded on the left read as without padding", async () => {
    const { definition, config, weights } = decoderOf(await readFixture("gpt2"));
    const plain = await logitsOf({ definition, config, weights });
    const { p } = { p: await import("../nn/params.ts").then(({ paramsOf, weightInputs }) => paramsOf(weightInputs(shapesOf(weights)))) };
    const ids = input("ids", "int32", [1, 10]);
    const { final } = definition.forward(p, config, { ids, positions: input("positions", "int32", [1, 10]) });
    const program = await runtime.compile({ logits: definition.logits(p, config, final) }, weights);
    const { logits } = await program.run({
      ids: { dtype: "int32", shape: [1, 10], data: Int32Array.from([0, 0, 0, ...IDS]) },
      positions: { dtype: "int32", shape: [1, 10], data: Int32Array.from([-1, -1, -1, 0, 1, 2, 3, 4, 5, 6]) },
    });
    expectClose("logits", (logits.data as Float32Array).subarray(3 * 56), plain, SAME);
  });
});

const shapesOf = (weights: Readonly<Record<string, HostTensor>>): Record<string, readonly number[]> =>
  Object.fromEntries(Object.entries(weights).map(([name, { shape }]) => [name, shape]));

describe("sliding windows of qwen2", () => {
  /** Which of the 9 x 9 weights of a head are not 0, per layer, as [farthest distance seen]. */
  async function reach(fields: Record<string, unknown>): Promise<number[]> {
    const fixture = changed(decoderOf(await readFixture("qwen2")), fields);
    const outputs = decoderGraph(fixture, [2, 9]);
    const got = await runFixture(runtime, { a: outputs["attention.0"], b: outputs["attention.1"] }, fixture);
    return [got.a, got.b].map(({ data }) => {
      const distances = Array.from(data as Float32Array, (weight, i) => (weight > 0 ? (Math.floor(i / 9) % 9) - (i % 9) : 0));
      return Math.max(...distances);
    });
  }

  test.each([
    [{}, [8, 8]],
    [{ use_sliding_window: true }, [8, 8]], // max_window_layers is 2: no layer is above it
    [{ use_sliding_window: true, max_window_layers: 1 }, [8, 3]],
    [{ use_sliding_window: true, max_window_layers: 0 }, [3, 3]],
    [{ use_sliding_window: true, layer_types: ["sliding_attention", "full_attention"] }, [3, 8]],
    [{ use_sliding_window: false, max_window_layers: 0 }, [8, 8]],
  ])("%j reaches back %j", async (fields, farthest) => expect(await reach(fields)).toEqual(farthest));
});

describe("rotary settings", () => {
  test("rope_parameters, where newer files keep them, mean the same", async () => {
    const fixture = decoderOf(await readFixture("llama-scaled"));
    const { rope_scaling, rope_theta } = fixture.config as Record<string, object>;
    const moved = changed(fixture, { rope_theta: null, rope_scaling: null, rope_parameters: { ...rope_scaling, rope_theta } });
    expectClose("logits", await logitsOf(moved), await logitsOf(fixture), { absolute: 0, relative: 0 });
    const unscaled = await logitsOf(changed(fixture, { rope_scaling: null, rope_parameters: null }));
    expect(Math.max(...unscaled.map((x, i) => Math.abs(x - fixtureLogit(fixture, i))))).toBeGreaterThan(1e-2);
  });

  test("an unknown kind is refused", async () => {
    const fixture = changed(decoderOf(await readFixture("llama")), { rope_scaling: { rope_type: "yarn", factor: 2 } });
    expect(errorOf(() => decoderGraph(fixture, [2, 9]))).toContain("got yarn");
  });
});

const fixtureLogit = (fixture: Fixture, i: number): number => Number(fixture.reference.get("logits")?.data[i]);

describe("activations", () => {
  const phi = (x: number): number => x / (1 + Math.exp(-1.702 * x));
  const tanhGelu = (x: number): number => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
  // x Phi(x) from a table of the normal distribution: Phi(1) = 0.8413447461, Phi(2) = 0.9772498681
  const exactGelu = (x: number): number => x * ({ 1: 0.8413447461, 2: 0.9772498681, 0: 0.5, [-1]: 0.1586552539 }[x] ?? Number.NaN);
  const silu = (x: number): number => x / (1 + Math.exp(-x));
  const oracle: Record<(typeof activationNames)[number], (x: number) => number> = {
    gelu: exactGelu,
    gelu_python: exactGelu,
    gelu_new: tanhGelu,
    gelu_fast: tanhGelu,
    gelu_pytorch_tanh: tanhGelu,
    quick_gelu: phi,
    relu: (x) => Math.max(0, x),
    silu,
    swish: silu,
    tanh: Math.tanh,
  };

  test.each(activationNames)("%s", async (name) => {
    const points = [-1, 0, 1, 2];
    const program = await runtime.compile({ y: activations[name](input("x", "float32", [4])) });
    const { y } = await program.run({ x: float32Host([4], points) });
    expectClose(name, y.data, points.map(oracle[name]), { absolute: 1e-6, relative: 1e-6 });
  });
});

describe("sentence embeddings", () => {
  const lengths = [5, 2, 7, 1, 3];
  const texts = lengths.map((n, i) => Array.from({ length: n }, (_, t) => 4 + ((7 * i + 5 * t) % 50)));

  test.each(["mean", "cls"] as const)("%s: padding and order of batches change nothing", async (pooling) => {
    const fixture = encoderOf(await readFixture("bert"));
    const alone = await createEmbedder(runtime, fixture, { pooling, batchSize: 1 });
    const together = await createEmbedder(runtime, fixture, { pooling, batchSize: 3 });
    const vectors = await together.embed(texts);
    expect(together.width).toBe(24);
    expect(vectors.length).toBe(5 * 24);
    expectClose("vectors", vectors, await alone.embed(texts), { absolute: 1e-6, relative: 1e-5 });
    for (let i = 0; i < 5; i++) expect(Math.hypot(...vectors.subarray(i * 24, (i + 1) * 24))).toBeCloseTo(1, 6);
    expect(await together.embed([])).toEqual(new Float32Array(0));
  });

  test("pooling differs: mean of one token is that token", async () => {
    const fixture = encoderOf(await readFixture("bert"));
    const [mean, cls] = [await createEmbedder(runtime, fixture), await createEmbedder(runtime, fixture, { pooling: "cls" })];
    expectClose("one token", await mean.embed([[9]]), await cls.embed([[9]]), { absolute: 1e-6, relative: 1e-6 });
    const [a, b] = [await mean.embed([texts[0]]), await cls.embed([texts[0]])];
    expect(Math.max(...a.map((x, i) => Math.abs(x - b[i])))).toBeGreaterThan(0.01);
  });

  test("too long, empty or foreign rows are refused; truncation keeps the last token", async () => {
    const fixture = encoderOf(await readFixture("xlm-roberta"));
    const embedder = await createEmbedder(runtime, fixture, { maxTokens: 4 });
    await expect(embedder.embed([[5, 6, 7, 8, 9]])).rejects.toThrow("embed: expected at most 4 tokens, got 5 in text 0");
    await expect(embedder.embed([[5], []])).rejects.toThrow("got none in text 1");
    await expect(embedder.embed([[56]])).rejects.toThrow("expected token ids from 0 to 55, got 56 in text 0");
    const cutting = await createEmbedder(runtime, fixture, { maxTokens: 4, truncate: true });
    expect(await cutting.embed([[5, 6, 7, 8, 9]])).toEqual(await embedder.embed([[5, 6, 7, 9]]));
    // 26 rows of positions, of which padding_idx + 1 = 2 are never a token's
    const whole = await createEmbedder(runtime, fixture);
    expect((await whole.embed([new Array(24).fill(5)])).length).toBe(24);
    await expect(whole.embed([new Array(25).fill(5)])).rejects.toThrow("expected at most 24 tokens, got 25");
  });

  test("an encoder without a pooler lacks nothing until it is asked to pool", async () => {
    const { definition, config, weights } = encoderOf(await readFixture("bert"));
    const bare = Object.fromEntries(Object.entries(weights).filter(([name]) => !name.startsWith("pooler.")));
    expect(Object.keys(bare).sort()).toEqual(Object.keys(definition.shapes(config)).sort());
    expect(Object.keys(definition.optionalShapes(config))).toEqual(["pooler.dense.weight", "pooler.dense.bias"]);
    const embedder = await createEmbedder(runtime, { definition, config, weights: bare });
    expect((await embedder.embed([[5, 6]])).length).toBe(24);
  });
});
