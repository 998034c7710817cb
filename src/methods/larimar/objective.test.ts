/** The loss of a fit: its gradients against finite differences, its reading against the episodic memory. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { textModel } from "../../../tests/support/text-model.ts";
import { workbench } from "../../../tests/support/workbench.ts";
import { createEpisodicMemory } from "../../memory/episodic.ts";
import { zeros } from "../../memory/matrix.ts";
import { randomStream } from "../../tensor/random.ts";
import type { Document } from "../method.ts";
import { episodeBatches, episodeReading } from "./examples.ts";
import { adaptersOf, decoderModel, freshModule, moduleSchema } from "./module.ts";
import { createFitObjective } from "./objective.ts";

const { runtime, root } = workbench("larimar-objective");

const documents: Document[] = ["Ada", "Bo", "Cy", "Di"].map((name) => ({
  id: name,
  text: `${name} counts gulls.`,
  facts: [{ prompt: { text: `What does ${name} count?` }, target: "gulls" }],
}));

describe("the loss", () => {
  it.each([
    ["llama", "frozen"],
    ["gpt2", "joint"],
    ["qwen2", "frozen"],
  ] as const)("has the gradients of finite differences: %s, %s", async (architecture, variant) => {
    const base = await textModel(join(root, architecture), { architecture, context: 64, width: 16, layers: 2 });
    const config = moduleSchema.parse({
      model_type: "mneme-larimar",
      base: { name: "base", sha256: await base.hash() },
      variant,
      slots: 6,
      rank: 2,
      alpha: 2,
      latent: {
        width: 12,
        blocks: 3,
        encoderWidth: 8,
        encoderLayers: 1,
        encoderHeads: 2,
        encoderInner: 8,
        encoderContext: 40,
      },
    });
    const module = await freshModule(runtime, base, config, 3);
    // Away from the zeros of fresh adapters, beyond which nothing is felt
    for (const [name, { data }] of Object.entries(module.weights))
      if (/lora_B|slots|added/.test(name)) randomStream(5, name).fillNormal(data, 0, 0.2);
    const batches = episodeBatches({
      tokenizer: base.tokenizer,
      documents,
      shares: { facts: 1, strings: 0, passages: 0 },
      longest: 2,
      unmarked: 0.3,
      context: 40,
      batchSize: 4,
      episode: 2,
      memory: { slots: 6, ridge: 0.1, noise: 0.1 },
      memoryShare: 0.5,
      plainShare: variant === "joint" ? 0.3 : 0,
      blocks: 3,
      seed: 1,
    });
    const batch = batches.batchAt(0);
    const trainable = Object.keys(module.weights);
    const objective = await createFitObjective({
      runtime,
      definition: base.definition,
      config: base.config,
      geometry: base.geometry,
      shape: config.latent,
      weights: decoderModel(base, module).weights,
      trainable,
      modification: adaptersOf(config),
      batchSize: 4,
      episode: 2,
      observationNoise: 0,
      seed: 1,
    });
    const loss = async (): Promise<number> => {
      objective.clear();
      return objective.accumulate(batch, batch.targetCount, 0);
    };
    await loss();
    const gradients = Object.fromEntries(trainable.map((name) => [name, objective.gradients[name].slice()]));
    for (const name of trainable) {
      const { data } = module.weights[name];
      const own = gradients[name];
      // Along the gradient itself the loss changes most, so that float32 can tell
      const length = Math.sqrt(own.reduce((sum, value) => sum + value * value, 0));
      if (length < 1e-5) continue;
      const kept = data.slice();
      const step = 0.02 / Math.max(1, length);
      const at = async (sign: number): Promise<number> => {
        for (let i = 0; i < data.length; i++) data[i] = kept[i] + (sign * step * own[i]) / length;
        return loss();
      };
      const slope = ((await at(1)) - (await at(-1))) / (2 * step);
      data.set(kept);
      expect(Math.abs(slope - length), `${name}: ${slope} for ${length}`).toBeLessThan(0.02 * length + 2e-4);
    }
    const felt = trainable.filter((name) => gradients[name].some((value) => value !== 0));
    // Rows of tables that no token of the batch asks for have none, but every tensor has some
    expect(trainable.filter((name) => !felt.includes(name))).toEqual([]);
    await objective.dispose();
  });
});

describe("episodeReading", () => {
  it("is what an episodic memory gives for the same keys", () => {
    const [N, K, C] = [5, 8, 9];
    const rows = episodeReading(randomStream(4, "episode"), N, K, 1e-3, 0);
    // The same draws
    const random = randomStream(4, "episode");
    const keys = zeros(N, K);
    for (let i = 0; i < N; i++) {
      const key = Array.from({ length: K }, () => random.normal());
      const length = Math.hypot(...key);
      keys.data.set(
        key.map((value) => value / length),
        i * K,
      );
    }
    const values = Float64Array.from({ length: N * C }, () => random.normal());
    const memory = createEpisodicMemory({ slots: K, width: C, ridge: 1e-3 });
    memory.write(keys.data, values);
    const read = memory.read(keys.data);
    for (let i = 0; i < N; i++) {
      for (let c = 0; c < C; c++) {
        let sum = 0;
        for (let j = 0; j < N; j++) sum += rows[i * N + j] * values[j * C + c];
        expect(sum).toBeCloseTo(read[i * C + c], 4);
      }
    }
  });
});
