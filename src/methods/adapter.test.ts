/** Bottleneck adapters: the numbers of PyTorch, nothing at the start, learning beside a frozen base, folders. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { expectClose } from "../../tests/support/close.ts";
import { decoderOf, readFixture, readTensors, repositoryFile } from "../../tests/support/model-fixture.ts";
import { smallTexts } from "../../tests/support/text-model.ts";
import { documentsOf, learn, lossesOf } from "../../tests/support/training.ts";
import { workbench } from "../../tests/support/workbench.ts";
import { UserError } from "../errors.ts";
import { createDecoder, type Model } from "../models/decoder.ts";
import type { LoadedModel } from "../models/load.ts";
import { bottleneckAdapters } from "../nn/bottleneck.ts";
import type { HostTensor } from "../tensor/dtype.ts";
import { adapter, bottleneckSize } from "./adapter.ts";
import { withAdapter } from "./adapters.ts";
import { loadBottleneck } from "./bottleneck-folder.ts";
import { finetune } from "./finetune.ts";
import type { Method } from "./method.ts";
import { createObjective } from "./objective.ts";
import { loadAdapter } from "./peft.ts";

const architectures = ["llama", "gpt2", "qwen2"] as const;
const { runtime, root, models, natsOf } = workbench("adapter");
const bases = await models(architectures);

const quick = { epochs: 8, batchSize: 4, contextLength: 32, learningRate: 2e-2, size: 4 };
const create = (base: LoadedModel, options: Record<string, unknown> = {}, seed = 3): Promise<Method> =>
  adapter.create(base, { ...quick, ...options }, { runtime, seed });
const documents = documentsOf(smallTexts.harbour);

/** Scores of the token after a short text. */
async function logitsOf(model: Model): Promise<Float32Array> {
  const decoder = await createDecoder(runtime, model);
  const logits = (await decoder.step(decoder.createCache(1), bases.llama.tokenizer.encode("The boats"))).slice();
  await decoder.dispose();
  return logits;
}

describe("loss and gradients of every adapter as in PyTorch", () => {
  it.each(architectures)("%s", async (name) => {
    const model = decoderOf(await readFixture(name));
    const reference = await readTensors(repositoryFile(`tests/fixtures/adapters/${name}.safetensors`));
    const of = (key: string): HostTensor => reference.get(key) as HostTensor;
    const own = Object.fromEntries([...reference].filter(([key]) => /^[^g].*\.adapter_/.test(key)));
    expect(Object.keys(own)).toHaveLength(4 * model.definition.sublayerPaths(model.config).length);
    const [B, T] = of("input_ids").shape;
    const columns = (key: string, from: number, to: number): number[] =>
      Array.from({ length: B }, (_, b) =>
        Array.from(of(key).data.subarray(b * T + from, b * T + to) as Float32Array),
      ).flat();
    const objective = await createObjective({
      runtime,
      ...model,
      weights: { ...model.weights, ...own },
      trainable: Object.keys(own),
      modification: bottleneckAdapters("gelu"),
      batchSize: B,
      contextLength: T - 1,
      seed: 1,
    });
    objective.clear();
    const mask = Float32Array.from(columns("loss_mask", 1, T));
    const targetCount = mask.reduce((a, b) => a + b, 0);
    const ids = Int32Array.from(columns("input_ids", 0, T - 1));
    const targets = Int32Array.from(columns("input_ids", 1, T));
    const loss = await objective.accumulate({ ids, targets, mask, targetCount }, targetCount, 0);
    expectClose("loss", [loss], of("loss").data, { absolute: 1e-6, relative: 2e-6 });
    for (const [key, values] of Object.entries(objective.gradients))
      expectClose(key, values, of(`grad.${key}`).data, { absolute: 2e-6, relative: 2e-5 });
    await objective.dispose();
  });
});

describe.each(architectures)("%s", (architecture) => {
  it("starts as the base, learns, and leaves the base as it is", async () => {
    const base = bases[architecture];
    const before = Object.fromEntries(Object.entries(base.weights).map(([name, { data }]) => [name, data.slice()]));
    const method = await create(base, { epochs: 80, size: 12 });
    const start = await method.score("", smallTexts.harbour);
    expect(start.nats).toBe(await natsOf(base, base, smallTexts.harbour));
    const losses = lossesOf((await learn(method, documents)).events);
    expect(losses[losses.length - 1][1]).toBeLessThan(0.8 * losses[0][1]);
    expect((await method.score("", smallTexts.harbour)).nats).toBeLessThan(0.9 * start.nats);
    for (const [name, { data }] of Object.entries(base.weights)) expect(data, name).toEqual(before[name]);
    await method.dispose();
  });

  it("answers alike from its state and from its folder", async () => {
    const base = bases[architecture];
    const method = await create(base, { activation: "relu" });
    await learn(method, documents);
    const { nats } = await method.score("", smallTexts.oven);
    expect(nats).not.toBeCloseTo(await natsOf(base, base, smallTexts.oven), 1);
    const folder = join(root, `${architecture} folder`);
    expect(await adapter.save(method, base, folder, { ...quick, activation: "relu" })).toBe(`adapter: ${folder}`);
    expect((await readdir(folder)).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
    const read = await withAdapter(base, folder);
    expect(await natsOf(read, base, smallTexts.oven)).toBe(nats);
    const { tensors } = await method.state();
    const live = { ...base, weights: { ...base.weights, ...tensors }, modification: bottleneckAdapters("relu") };
    expect(await logitsOf(read)).toEqual(await logitsOf(live));
    expect(await logitsOf(read)).not.toEqual(await logitsOf(base));
    const other = await create(base, { activation: "relu" }, 4);
    await other.restore(await method.state());
    expect((await other.score("", smallTexts.oven)).nats).toBe(nats);
    await method.dispose();
    await other.dispose();
  });
});

describe("size", () => {
  it("is what comes closest to the share of parameters (by hand)", async () => {
    const base = bases.llama;
    const parameters = Object.values(base.weights).reduce((sum, { data }) => sum + data.length, 0);
    // Four sub-layers of width 32: (2 * 32 * m + 32 + m) each
    const wanted = 4 * (2 * 32 * 5 + 32 + 5);
    expect(bottleneckSize(base, wanted / parameters)).toBe(5);
    expect(bottleneckSize(base, 1e-9)).toBe(1);
    const method = await create(base, { size: undefined, share: wanted / parameters });
    expect(method.bytes()).toBe(4 * wanted);
    await method.dispose();
  });

  it("is 0.5 to 2% of a model of usual shape by default", () => {
    const [C, layers, V] = [256, 8, 4096];
    const paths = Array.from({ length: 2 * layers }, (_, i) => `layer.${i}`);
    const base = {
      definition: { sublayerPaths: () => paths },
      geometry: { width: C },
      weights: { table: { shape: [V, C] }, blocks: { shape: [12 * layers, C, C] } },
    } as unknown as LoadedModel;
    const m = bottleneckSize(base, 0.01);
    const share = (2 * layers * (2 * m * C + C + m)) / (V * C + 12 * layers * C * C);
    expect(share).toBeGreaterThan(0.009);
    expect(share).toBeLessThan(0.011);
  });
});

describe("refusals", () => {
  it("states and folders of other kinds and sizes, in one line", async () => {
    const base = bases.llama;
    const method = await create(base);
    const folder = join(root, "refused");
    await adapter.save(method, base, folder, quick);
    await expect(loadBottleneck(bases.gpt2, folder)).rejects.toThrow(
      /^loadBottleneck: expected an adapter of the model/,
    );
    await expect(loadAdapter(base, folder)).rejects.toBeInstanceOf(UserError);
    const config = JSON.parse(await readFile(join(folder, "adapter_config.json"), "utf8")) as Record<string, unknown>;
    await writeFile(join(folder, "adapter_config.json"), JSON.stringify({ ...config, bottleneck_size: 5 }));
    await expect(loadBottleneck(base, folder)).rejects.toThrow(/of shape \[5,32\], got \[4,32\]/);
    await writeFile(join(folder, "adapter_config.json"), JSON.stringify({ ...config, peft_type: "LORA" }));
    await expect(loadBottleneck(base, folder)).rejects.toThrow(/got a wrong or missing peft_type: /);
    await writeFile(join(folder, "adapter_config.json"), JSON.stringify({ ...config, peft_type: "IA3" }));
    await expect(withAdapter(base, folder)).rejects.toThrow(/peft_type: .*"LORA"\|"BOTTLENECK"/);
    const [tanh, wide] = [await create(base, { activation: "tanh" }), await create(base, { size: 5 })];
    const state = await method.state();
    await expect(tanh.restore(state)).rejects.toThrow("expected a state of activation tanh, got gelu");
    await expect(wide.restore(state)).rejects.toThrow(/^adapter: expected 160 saved numbers for .*, got 128/);
    const plain = await finetune.create(base, {}, { runtime, seed: 1 });
    await expect(adapter.save(plain, base, folder, quick)).rejects.toThrow("expected the state of an adapter method");
    for (const each of [method, tanh, wide, plain]) await each.dispose();
  });
});
