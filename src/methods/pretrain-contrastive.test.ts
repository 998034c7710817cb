/** Pretraining of an encoder from a recipe: a checkpoint that tells its texts apart; stopped, resumed, refused. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digest, drive, lossesOf } from "../../tests/support/training.ts";
import { createRuntime } from "../runtime/runtime.ts";
import type { PairSource } from "./contrastive.ts";
import { parseRecipe, pretrain, type Pretrained } from "./pretrain.ts";

const stage = {
  maxTokens: 24,
  batchSize: 6,
  steps: 24,
  mixture: { colours: 0.7, texts: 0.3 },
  temperature: 0.1,
  learningRate: 0.01,
  warmupSteps: 2,
};
const json = {
  name: "small-encoder",
  seed: 3,
  objective: "contrastive",
  vocabulary: { size: 300, specialTokens: ["<pad>"], examples: 4 },
  model: {
    model_type: "bert",
    hidden_size: 16,
    intermediate_size: 32,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    max_position_embeddings: 32,
    type_vocab_size: 1,
  },
  stages: [stage],
};

const things = "boat door lamp cup hat kite bell gate harp oar reed sail".split(" ");
const colours: PairSource = {
  pairs: (random, count) =>
    Array.from(random.permutation(things.length).subarray(0, count), (i) => [
      `Where is the ${things[i]}?`,
      `The ${things[i]} stands there.`,
    ]),
};
const paragraph = (p: number): string =>
  [1, 2, 3, 4, 5, 6].map((s) => `In chapter ${p} the sailor counts to ${s * p}, and goes.`).join(" ");

const runtime = createRuntime({ threads: 1 });
let root: string;
let file: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "mneme-contrastive-"));
  file = join(root, "story.txt");
  await writeFile(file, Array.from({ length: 30 }, (_, p) => paragraph(p + 1)).join("\n\n"));
});
afterAll(async () => {
  await runtime.dispose();
  await rm(root, { recursive: true });
});

async function run(folder: string, stopAt?: number) {
  const controller = new AbortController();
  const options = { runtime, recipe: parseRecipe(json), files: [file], sources: { pairs: { colours } } };
  return drive(pretrain({ ...options, folder: join(root, folder), signal: controller.signal }), (event) => {
    if (event.type === "step" && event.step === stopAt) controller.abort();
  });
}

const digests = ({ weights }: Pretrained): string[] => Object.values(weights).map(({ data }) => digest(data));

describe("contrastive pretraining", () => {
  it("learns; stopped and resumed it gives the same weights and losses", async () => {
    const whole = await run("whole");
    const losses = lossesOf(whole.events);
    expect(losses).toHaveLength(stage.steps);
    expect(losses[0][1]).toBeGreaterThan(0.5);
    const last = losses.slice(-6).reduce((sum, [, loss]) => sum + loss / 6, 0);
    expect(last).toBeLessThan(0.6 * losses[0][1]);
    expect(whole.result.definition.kind).toBe("encoder");
    expect(whole.result.config).toEqual({ ...json.model, vocab_size: 300, pad_token_id: 0 });
    const first = await run("halved", 9);
    expect(first.result.result.stopped).toBe("interrupted");
    const second = await run("halved");
    expect([...lossesOf(first.events), ...lossesOf(second.events)]).toEqual(losses);
    expect(digests(second.result)).toEqual(digests(whole.result));
  });

  it("refuses recipes that do not fit", async () => {
    expect(() => parseRecipe({ ...json, objective: "telepathy" })).toThrow(
      'recipe: expected an objective among language, contrastive, got "telepathy"; correct the file',
    );
    expect(() => parseRecipe({ ...json, stages: [{ ...stage, tokens: 5 }] })).toThrow(
      "recipe: expected a valid stages.0",
    );
    const begin = (changed: object) =>
      drive(
        pretrain({
          runtime,
          recipe: parseRecipe({ ...json, ...changed }),
          files: [file],
          sources: { pairs: { colours } },
          folder: join(root, "refused"),
        }),
      );
    await expect(begin({ model: { ...json.model, model_type: "llama" } })).rejects.toThrow(
      "recipe: expected an encoder for the contrastive objective, got llama; set model.model_type to bert",
    );
    await expect(begin({ stages: [{ ...stage, maxTokens: 40 }] })).rejects.toThrow(
      "recipe: expected maxTokens of at most 32 (the model's context), got 40; shorten the stage",
    );
    await expect(begin({ stages: [{ ...stage, mixture: { sounds: 1 } }] })).rejects.toThrow(
      "mixture: expected sources among colours, texts, got sounds; correct the recipe",
    );
  });
});
