/** Options of config.json that the fixtures do not reach. */
import { afterAll, describe, expect, test } from "vitest";
import { expectClose, type Tolerance } from "../../tests/support/close.ts";
import {
  type Checkpoint,
  decoderGraph,
  decoderOf,
  type Fixture,
  nextLogits,
  readFixture,
  runFixture,
  weightGraph,
} from "../../tests/support/model-fixture.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { float32Host, type HostTensor } from "../tensor/dtype.ts";
import { input } from "../tensor/functions.ts";
import { definitions } from "./index.ts";
import type { ModelDefinition } from "./model.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());

/** Two ways to the same number, both in float32. */
const SAME: Tolerance = { absolute: 2e-5, relative: 1e-5 };

const IDS = [3, 17, 8, 41, 5, 22, 30];
type Decoder = Fixture<ModelDefinition>;

/** The same checkpoint with other fields in config.json. */
function changed(fixture: Decoder, fields: Record<string, unknown>): Decoder {
  return { ...fixture, config: fixture.definition.parseConfig({ ...(fixture.config as object), ...fields }) };
}

const logitsOf = async (model: Checkpoint<ModelDefinition>): Promise<Float32Array> =>
  (await (await nextLogits(runtime, model))(IDS)).all;

const scaled = ({ shape, data }: HostTensor, factor: (i: number) => number): HostTensor<"float32"> =>
  float32Host(
    shape,
    Float32Array.from(data as Float32Array, (x, i) => x * factor(i)),
  );

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
    const { p } = weightGraph(weights);
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

describe("sliding windows of qwen2", () => {
  /** How many tokens back the farthest visible key lies, per layer; attention weights are [B, H, 9, 9]. */
  async function reach(fields: Record<string, unknown>): Promise<number[]> {
    const fixture = changed(decoderOf(await readFixture("qwen2")), fields);
    const { attention } = decoderGraph(fixture, [2, 9]);
    const got = await runFixture(runtime, attention, fixture);
    return Object.keys(attention).map((name) => {
      const weights = got[name].data as Float32Array;
      return weights.reduce(
        (far, weight, i) => (weight > 0 ? Math.max(far, (Math.floor(i / 9) % 9) - (i % 9)) : far),
        0,
      );
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
    const moved = changed(fixture, {
      rope_theta: null,
      rope_scaling: null,
      rope_parameters: { ...rope_scaling, rope_theta },
    });
    expectClose("logits", await logitsOf(moved), await logitsOf(fixture), { absolute: 0, relative: 0 });
    const unscaled = await logitsOf(changed(fixture, { rope_scaling: null, rope_parameters: null }));
    const want = await logitsOf(fixture);
    expect(Math.max(...unscaled.map((x, i) => Math.abs(x - want[i])))).toBeGreaterThan(1e-2);
  });

  test("an unknown kind is refused", async () => {
    const fixture = changed(decoderOf(await readFixture("llama")), { rope_scaling: { rope_type: "yarn", factor: 2 } });
    expect(() => decoderGraph(fixture, [2, 9])).toThrow(
      "expected rope_scaling of type default, linear or llama3, got yarn",
    );
  });
});

describe("memories in config.json", () => {
  const { llama } = definitions;
  const base = { vocab_size: 9, hidden_size: 8, intermediate_size: 12, num_attention_heads: 2, num_hidden_layers: 2 };
  const memory = { layers: [1], slots: 25, heads: 2, knn: 3, keyWidth: 4, valueWidth: 6 };

  test.each([
    [{ slots: 24 }, "memory.slots, got a wrong one: 24 slots are no square number"],
    [{ knn: 6 }, "memory.knn, got a wrong one: it must be at most the square root of slots"],
    [{ keyWidth: 5 }, "memory.keyWidth, got a wrong one: it must be even"],
    [{ layers: [2] }, "memory.layers, got a wrong one: they must be layers of the model"],
    [{ layers: [1, 1] }, "memory.layers, got a wrong one: each may stand once"],
    [{ width: 6 }, "memory, got a wrong one"],
  ])("%j is refused", (fields, message) =>
    expect(() => llama.parseConfig({ ...base, memory: { ...memory, ...fields } })).toThrow(message),
  );

  test.each([
    ["replace", ["memory.query", "memory.gate_proj", "memory.down_proj"], "memory"],
    [
      "add",
      ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj", "memory.query", "memory.gate_proj", "memory.down_proj"],
      "mlp",
    ],
  ])("%s: what adapters find in the block, and the table that is not frozen", (form, linears, path) => {
    const config = llama.parseConfig({ ...base, memory: { ...memory, form } });
    const inBlock = llama.linearPaths(config).filter((name) => name.startsWith("model.layers.1.m"));
    expect(inBlock).toEqual(linears.map((name) => `model.layers.1.${name}`));
    expect(llama.sublayerPaths(config).at(-1)).toBe(`model.layers.1.${path}`);
    expect(llama.tables(config)).toEqual(["model.memory.values"]);
    expect(Object.keys(llama.shapes(config)).some((name) => name.startsWith("model.layers.1.mlp."))).toBe(
      form === "add",
    );
  });
});
