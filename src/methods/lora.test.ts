/** Low-rank adapters: they start as nothing, learn beside a frozen base, and are the same hot, merged and saved. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { expectClose } from "../../tests/support/close.ts";
import { smallTexts, textModel } from "../../tests/support/text-model.ts";
import { documentsOf, learn, lossesOf } from "../../tests/support/training.ts";
import { workbench } from "../../tests/support/workbench.ts";
import { openSafetensors, writeSafetensors } from "../checkpoint/safetensors.ts";
import { UserError } from "../errors.ts";
import { createDecoder, type Model } from "../models/decoder.ts";
import { type LoadedModel, loadModel } from "../models/load.ts";
import { float32Host } from "../tensor/dtype.ts";
import { parseMethodOptions } from "./definition.ts";
import { adapterOf, lora, targetPaths } from "./lora.ts";
import type { Method } from "./method.ts";
import { type Adapter, attachAdapter, loadAdapter, mergeAdapter, saveAdapter } from "./peft.ts";

const architectures = ["llama", "gpt2"] as const;
const { runtime, root, models, natsOf } = workbench("lora");
const bases = await models(architectures);

const quick = { epochs: 8, batchSize: 4, contextLength: 32, learningRate: 2e-2, rank: 4, alpha: 10 };
const optionsOf = (options: Record<string, unknown> = {}): Record<string, unknown> =>
  parseMethodOptions(lora, { ...quick, ...options });
const create = (base: LoadedModel, options: Record<string, unknown> = {}, seed = 3): Promise<Method> =>
  lora.create(base, optionsOf(options), { runtime, seed });
const documents = documentsOf(smallTexts.harbour);

async function logitsOf(model: Model, ids: readonly number[]): Promise<Float32Array> {
  const decoder = await createDecoder(runtime, model);
  const logits = (await decoder.step(decoder.createCache(1), ids)).slice();
  await decoder.dispose();
  return logits;
}

describe.each(architectures)("%s", (architecture) => {
  it("starts as the base, learns, and leaves the base as it is", async () => {
    const base = bases[architecture];
    const before = Object.fromEntries(Object.entries(base.weights).map(([name, { data }]) => [name, data.slice()]));
    const method = await create(base, { epochs: 60 });
    const start = await method.score("", smallTexts.harbour);
    expect(start.nats).toBe(await natsOf(base, base, smallTexts.harbour));
    const { events, receipt } = await learn(method, documents);
    const losses = lossesOf(events);
    expect(losses[losses.length - 1][1]).toBeLessThan(0.7 * losses[0][1]);
    expect((await method.score("", smallTexts.harbour)).nats).toBeLessThan(0.9 * start.nats);
    expect(receipt.stopped).toBe("done");
    for (const [name, { data }] of Object.entries(base.weights)) expect(data, name).toEqual(before[name]);
    await method.dispose();
  });

  it("answers alike hot, merged, read back, and saved as a merged model", async () => {
    const base = bases[architecture];
    const method = await create(base);
    await learn(method, documents);
    const { nats } = await method.score("", smallTexts.oven);
    const adapter = adapterOf(await method.state());
    expect(adapter).toMatchObject({ rank: quick.rank, alpha: quick.alpha, dropout: 0 });
    expect(nats).not.toBeCloseTo(await natsOf(base, base, smallTexts.oven), 1);

    const [folder, whole] = [join(root, `${architecture} adapter`), join(root, `${architecture} merged`)];
    expect(await lora.save(method, base, folder, optionsOf())).toBe(`adapter in PEFT layout: ${folder}`);
    expect(await lora.save(method, base, whole, optionsOf({ merge: true }))).toBe(
      `merged model in Hugging Face layout: ${whole}`,
    );
    const read = await loadAdapter(base, folder);
    expect(read).toEqual(adapter);

    const merged: Model = { ...base, weights: mergeAdapter(base, adapter) };
    const loaded = await loadModel(whole);
    const hot = attachAdapter(base, read);
    for (const [name, tensor] of Object.entries(base.weights)) expect(hot.weights[name]).toBe(tensor);
    const ids = base.tokenizer.encode(smallTexts.oven).slice(0, 20);
    const reference = await logitsOf(hot, ids);
    // One sum in float32 instead of two: nats of some 200 tokens
    expect(await natsOf(hot, base, smallTexts.oven)).toBe(nats);
    for (const model of [merged, loaded]) {
      expect(await natsOf(model, base, smallTexts.oven)).toBeCloseTo(nats, 2);
      expectClose("logits", await logitsOf(model, ids), reference, { absolute: 2e-4, relative: 1e-4 });
    }
    expect(loaded.weights).toEqual(merged.weights);
    await method.dispose();
  });
});

describe("the folder of an adapter", () => {
  const folderOf = async (base: LoadedModel, name: string, options: Record<string, unknown> = {}): Promise<string> => {
    const folder = join(root, name);
    const method = await create(base, options);
    await lora.save(method, base, folder, optionsOf(options));
    await method.dispose();
    return folder;
  };
  const tensorsOf = async (folder: string): Promise<Record<string, readonly number[]>> => {
    const file = await openSafetensors(join(folder, "adapter_model.safetensors"));
    await file.close();
    return Object.fromEntries([...file.tensors].map(([name, { shape }]) => [name, shape]));
  };
  const configOf = async (folder: string): Promise<Record<string, unknown>> =>
    JSON.parse(await readFile(join(folder, "adapter_config.json"), "utf8")) as Record<string, unknown>;

  it("has PEFT's names and shapes for llama", async () => {
    const folder = await folderOf(bases.llama, "names llama", { targets: ["q_proj", "v_proj"], dropout: 0.1 });
    expect((await readdir(folder)).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
    const expected: Record<string, readonly number[]> = {};
    for (const layer of [0, 1]) {
      const at = `base_model.model.model.layers.${layer}.self_attn`;
      expected[`${at}.q_proj.lora_A.weight`] = [4, 32];
      expected[`${at}.q_proj.lora_B.weight`] = [32, 4];
      expected[`${at}.v_proj.lora_A.weight`] = [4, 32];
      expected[`${at}.v_proj.lora_B.weight`] = [16, 4]; // two key/value heads of eight
    }
    expect(await tensorsOf(folder)).toEqual(expected);
    expect(await configOf(folder)).toEqual({
      peft_type: "LORA",
      task_type: "CAUSAL_LM",
      base_model_name_or_path: join(root, "llama"),
      r: 4,
      lora_alpha: 10,
      lora_dropout: 0.1,
      target_modules: ["q_proj", "v_proj"],
      fan_in_fan_out: false,
      bias: "none",
      inference_mode: true,
      mneme_base_sha256: await bases.llama.hash(),
    });
  });

  it("has PEFT's names and shapes for gpt2, whose weights are stored [in, out]", async () => {
    const folder = await folderOf(bases.gpt2, "names gpt2");
    const expected: Record<string, readonly number[]> = {};
    for (const layer of [0, 1]) {
      for (const [name, inputs, outputs] of [
        ["attn.c_attn", 32, 96],
        ["attn.c_proj", 32, 32],
        ["mlp.c_fc", 32, 128],
        ["mlp.c_proj", 128, 32],
      ] as const) {
        expected[`base_model.model.transformer.h.${layer}.${name}.lora_A.weight`] = [4, inputs];
        expected[`base_model.model.transformer.h.${layer}.${name}.lora_B.weight`] = [outputs, 4];
      }
    }
    expect(await tensorsOf(folder)).toEqual(expected);
    expect(await configOf(folder)).toMatchObject({
      fan_in_fan_out: true,
      target_modules: ["c_attn", "c_proj", "c_fc"],
    });
  });

  it("names whole paths where a last part would select other layers too", async () => {
    const folder = await folderOf(bases.gpt2, "names part", { targets: ["mlp.c_proj", "c_attn"] });
    expect((await configOf(folder)).target_modules).toEqual(
      [0, 1].flatMap((i) => [`transformer.h.${i}.attn.c_attn`, `transformer.h.${i}.mlp.c_proj`]),
    );
  });

  it("written by PEFT is read: extra fields, names with the adapter's name", async () => {
    const folder = await folderOf(bases.llama, "foreign", { targets: ["o_proj"] });
    const { mneme_base_sha256: _, ...config } = await configOf(folder);
    const foreign = {
      ...config,
      peft_version: "0.13.2",
      rank_pattern: {},
      alpha_pattern: {},
      modules_to_save: null,
      use_rslora: false,
      layers_to_transform: null,
    };
    await writeFile(join(folder, "adapter_config.json"), JSON.stringify(foreign));
    const own = await loadAdapter(bases.llama, folder);
    const renamed = Object.fromEntries(
      Object.entries(own.tensors).map(([name, tensor]) => [
        `base_model.model.${name.replace(".weight", ".default.weight")}`,
        tensor,
      ]),
    );
    await writeSafetensors(join(folder, "adapter_model.safetensors"), renamed);
    expect(await loadAdapter(bases.llama, folder)).toEqual(own);
  });

  it.each([
    ["of another kind", { peft_type: "IA3" }, /expected a plain LoRA adapter in .* got a wrong or missing peft_type: /],
    ["with a rank of some layers' own", { rank_pattern: { q_proj: 2 } }, /got a wrong or missing rank_pattern: /],
    ["with a scale of some layers' own", { alpha_pattern: { q_proj: 2 } }, /got a wrong or missing alpha_pattern: /],
    ["with rank-stabilised scale", { use_rslora: true }, /got a wrong or missing use_rslora: /],
    ["decomposed", { use_dora: true }, /got a wrong or missing use_dora: /],
    [
      "of another rank than it says",
      { r: 5 },
      /expected .*lora_A\.weight of shape \[5,32\], got \[4,32\]; is it made for another model\?/,
    ],
    [
      "of other weights",
      { mneme_base_sha256: "0123456789abcdef" },
      /expected an adapter of the model in .*llama, got one of another with SHA-256 0123456789ab/,
    ],
  ])("is refused in one line: %s", async (name, change, message) => {
    const folder = await folderOf(bases.llama, `refused ${name}`, { targets: ["q_proj"] });
    await writeFile(join(folder, "adapter_config.json"), JSON.stringify({ ...(await configOf(folder)), ...change }));
    const loading = loadAdapter(bases.llama, folder);
    await expect(loading).rejects.toThrow(message);
    await expect(loading).rejects.toThrow(/^loadAdapter: expected [^\n]*$/);
    await expect(loading).rejects.toBeInstanceOf(UserError);
  });

  it("of another model is refused: other weights, other widths, other names, halves, nothing", async () => {
    const folder = await folderOf(bases.llama, "one", { targets: ["q_proj"] });
    const twin = await textModel(join(root, "twin"), { seed: 9 });
    await expect(loadAdapter(twin, folder)).rejects.toThrow(
      /expected an adapter of the model in .*twin, got one of another/,
    );
    const config = { ...(await configOf(folder)), mneme_base_sha256: undefined };
    await writeFile(join(folder, "adapter_config.json"), JSON.stringify(config));
    expect((await loadAdapter(twin, folder)).rank).toBe(4); // nothing tells them apart now
    const wide = await textModel(join(root, "wide"), { width: 48 });
    await expect(loadAdapter(wide, folder)).rejects.toThrow(
      /lora_A\.weight of shape \[4,48\], got \[4,32\]; is it made for another model\?/,
    );
    await expect(loadAdapter(bases.gpt2, folder)).rejects.toThrow(
      /expected adapters of the model's linear layers, got base_model.model.model.layers.0.self_attn.q_proj.lora_[AB].weight; is it/,
    );

    const { tensors } = await loadAdapter(bases.llama, folder);
    const half = Object.fromEntries(Object.entries(tensors).filter(([name]) => name.includes("lora_B")));
    await writeSafetensors(join(folder, "adapter_model.safetensors"), half);
    await expect(loadAdapter(bases.llama, folder)).rejects.toThrow(/lora_A\.weight of shape \[4,32\], got none/);
    await writeSafetensors(join(folder, "adapter_model.safetensors"), {});
    await expect(loadAdapter(bases.llama, folder)).rejects.toThrow(/^loadAdapter: expected adapters in .*, got none/);
    await expect(loadAdapter(bases.llama, join(root, "nowhere"))).rejects.toBeInstanceOf(UserError);
  });
});

describe("targets", () => {
  it("are all linear layers of the blocks, or those named by last part or path", () => {
    expect(targetPaths(bases.llama, [])).toHaveLength(2 * 7);
    expect(targetPaths(bases.gpt2, [])).toHaveLength(2 * 4);
    expect(targetPaths(bases.llama, ["v_proj"])).toEqual([
      "model.layers.0.self_attn.v_proj",
      "model.layers.1.self_attn.v_proj",
    ]);
    expect(targetPaths(bases.gpt2, ["mlp.c_proj"])).toEqual([
      "transformer.h.0.mlp.c_proj",
      "transformer.h.1.mlp.c_proj",
    ]);
    expect(targetPaths(bases.llama, ["model.layers.1.mlp.up_proj"])).toEqual(["model.layers.1.mlp.up_proj"]);
  });

  it("that a model lacks are refused with those it has", async () => {
    const line =
      "lora: expected targets among q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, got c_attn";
    await expect(create(bases.llama, { targets: ["q_proj", "c_attn"] })).rejects.toThrow(line);
    await expect(create(bases.llama, { targets: ["proj"] })).rejects.toBeInstanceOf(UserError);
  });

  it("decide what is trained, and how much", async () => {
    const method = await create(bases.llama, { targets: ["q_proj", "k_proj"], rank: 3 });
    const { tensors } = await method.state();
    expect(Object.keys(tensors)).toHaveLength(2 * 2 * 2);
    expect(method.bytes()).toBe(4 * 2 * 3 * (32 + 32 + 32 + 16));
    await method.dispose();
  });
});

describe("A and B", () => {
  it("begin uniform within 1 / sqrt(in) and zero, by the seed alone", async () => {
    const [one, again, other] = [
      await create(bases.llama),
      await create(bases.llama, { targets: ["q_proj"] }),
      await create(bases.llama, {}, 4),
    ];
    const tensors = await Promise.all([one, again, other].map(async (method) => (await method.state()).tensors));
    const name = "model.layers.1.self_attn.q_proj.lora_A.weight";
    expect(tensors[1][name].data).toEqual(tensors[0][name].data);
    expect(tensors[2][name].data).not.toEqual(tensors[0][name].data);
    const a = tensors[0][name].data as Float32Array;
    const bound = 1 / Math.sqrt(32);
    expect(Math.max(...a)).toBeLessThan(bound);
    expect(Math.max(...a)).toBeGreaterThan(0.8 * bound);
    expect(Math.min(...a)).toBeLessThan(-0.8 * bound);
    expect(Math.min(...a)).toBeGreaterThanOrEqual(Math.fround(-bound));
    for (const [key, { data }] of Object.entries(tensors[0]))
      if (key.includes("lora_B"))
        expect(
          data.every((x) => x === 0),
          key,
        ).toBe(true);
    for (const method of [one, again, other]) await method.dispose();
  });

  it("merge as W + (alpha / r) B A, by hand, in both layouts", () => {
    const adapter: Adapter = {
      // A = [[1, 2, 3], [0, 1, 0]], B = [[1, 1], [2, 0]], alpha / r = 3 / 2: (alpha / r) B A = [[1.5, 4.5, 4.5], [3, 6, 9]]
      tensors: {
        "l.lora_A.weight": float32Host([2, 3], [1, 2, 3, 0, 1, 0]),
        "l.lora_B.weight": float32Host([2, 2], [1, 1, 2, 0]),
      },
      rank: 2,
      alpha: 3,
      dropout: 0,
    };
    const mergedFrom = (shape: readonly number[], weight: readonly number[], linearInputFirst: boolean): number[] => {
      const weights = { "l.weight": float32Host(shape, weight), other: float32Host([1], [7]) };
      const base = { ...bases.llama, definition: { ...bases.llama.definition, linearInputFirst }, weights };
      const merged = mergeAdapter(base, adapter);
      expect([...weights["l.weight"].data]).toEqual(weight);
      expect(merged.other).toBe(weights.other);
      return [...merged["l.weight"].data];
    };
    expect(mergedFrom([2, 3], [10, 20, 30, 40, 50, 60], false)).toEqual([11.5, 24.5, 34.5, 43, 56, 69]);
    expect(mergedFrom([3, 2], [10, 40, 20, 50, 30, 60], true)).toEqual([11.5, 43, 24.5, 56, 34.5, 69]);
  });

  it("count in proportion to alpha / rank while training too", async () => {
    // (2 alpha, B) and (alpha, 2 B) are one model
    const method = await create(bases.llama, { alpha: 8 });
    await learn(method, documents);
    const state = await method.state();
    const { tensors, rank, alpha, dropout } = adapterOf(state);
    expect([rank, alpha]).toEqual([4, 8]);
    const halved = Object.fromEntries(
      Object.entries(tensors).map(([name, { shape, data }]) => [
        name,
        float32Host(shape, name.includes("lora_B") ? data.map((x) => x / 2) : data),
      ]),
    );
    const twice = attachAdapter(bases.llama, { tensors: halved, rank, alpha: 16, dropout });
    expect(await natsOf(twice, bases.llama, smallTexts.oven)).toBeCloseTo(
      (await method.score("", smallTexts.oven)).nats,
      3,
    );
    const other = await create(bases.llama, { alpha: 16 });
    await expect(other.restore(state)).rejects.toThrow(
      "lora: expected a state of scale alpha / rank = 4, got 2; use the alpha it was trained with",
    );
    await method.dispose();
    await other.dispose();
  });

  it("of another rank are not restored", async () => {
    const [four, two] = [await create(bases.llama), await create(bases.llama, { rank: 2 })];
    await expect(two.restore(await four.state())).rejects.toThrow(
      /^lora: expected 64 saved numbers for .*lora_A.weight, got 128; the state is of another model or other options$/,
    );
    await four.dispose();
    await two.dispose();
  });
});

describe("saveAdapter", () => {
  it("to a place that cannot be written says so in one line", async () => {
    const method = await create(bases.llama);
    const file = join(root, "llama", "config.json");
    await expect(saveAdapter(bases.llama, adapterOf(await method.state()), file)).rejects.toThrow(
      `save: expected a folder at ${file}, got a file`,
    );
    await method.dispose();
  });
});
