/**
 * The fit of Larimar: encoder, conditioning and adapters learn that what was encoded is what is answered.
 * Larimar, https://arxiv.org/abs/2403.11901, section 2 and Eq. 1. Default variant: the base stays frozen, adapters carry
 * what the decoder must learn, and out of scope they are off, so that the base answers as itself (the paper trains all
 * weights, "joint" here, and answers out of scope from a latent of zeros).
 */
import { z } from "zod";
import { UserError } from "../../errors.ts";
import { isDecayed } from "../../nn/names.ts";
import { adamw } from "../../nn/optim.ts";
import { schedules } from "../../nn/schedule.ts";
import { defineFit } from "../definition.ts";
import { contentsOf, hashOf } from "../identity.ts";
import type { Document } from "../method.ts";
import { train } from "../train.ts";
import { episodeBatches, exampleKinds, type ExampleKind } from "./examples.ts";
import { measureModule } from "./measure.ts";
import { adaptersOf, decoderModel, freshModule, moduleSchema, saveModule } from "./module.ts";
import { divided } from "./held-out.ts";
import { createFitObjective } from "./objective.ts";

const share = (preset: number) => z.number().min(0).default(preset);

const options = z.object({
  variant: z
    .enum(["frozen", "joint"])
    .default("frozen")
    .describe("the base frozen beside adapters, or all its weights trained"),
  slots: z.int().positive().default(512).describe("K: independent facts that a memory can hold"),
  width: z.int().positive().default(768).describe("C: numbers in a latent, at least K"),
  blocks: z.int().positive().default(16).describe("parts of a latent, each bound to a token of the answer"),
  encoderWidth: z.int().positive().default(256).describe("width of the encoder"),
  encoderLayers: z.int().nonnegative().default(2).describe("layers of the encoder"),
  encoderHeads: z.int().positive().default(4).describe("attention heads of the encoder"),
  encoderInner: z.int().positive().default(512).describe("width of the encoder's feed-forward layers"),
  encoderContext: z.int().min(8).default(96).describe("most tokens of a fact"),
  rank: z.int().nonnegative().default(16).describe("r, the width of the adapters; 0 for none"),
  alpha: z.number().positive().default(32).describe("adapters are scaled by alpha / rank"),
  steps: z.int().positive().default(12_000).describe("updates"),
  batchSize: z.int().positive().default(64).describe("rows per update, a multiple of the episode"),
  episode: z.int().positive().default(16).describe("facts written into one memory"),
  learningRate: z.number().positive().default(2e-3).describe("peak learning rate"),
  warmupSteps: z.int().nonnegative().default(100).describe("steps that rise to the peak rate"),
  weightDecay: z.number().nonnegative().default(0.01).describe("decoupled weight decay"),
  clipNorm: z.number().nonnegative().default(1).describe("largest gradient norm; 0 for none"),
  facts: share(0.5).describe("share of batches of facts, asked otherwise than they were written"),
  strings: share(0.4).describe("share of batches whose answers are random tokens"),
  passages: share(0.1).describe("share of batches that continue texts"),
  longest: z.int().positive().default(10).describe("most tokens of a random answer"),
  unmarked: share(0.1).describe("share of facts that are encoded as sentences, their answer unmarked"),
  observationNoise: z.number().nonnegative().default(1e-6).describe("noise on latents when they are written"),
  keyNoise: z.number().nonnegative().default(0.05).describe("noise on keys when a memory is read"),
  ridge: z.number().positive().default(1e-4).describe("ridge of the memory"),
  memoryShare: z.number().min(0).max(1).default(0.5).describe("share of episodes that go through a memory"),
  plainShare: z
    .number()
    .min(0)
    .max(0.9)
    .optional()
    .describe("share of rows without memory (default: 0.3 of joint, 0 of frozen)"),
});

async function collected(documents: AsyncIterable<Document>): Promise<Document[]> {
  const all: Document[] = [];
  for await (const document of documents) all.push(document);
  return all;
}

export const larimarFit = defineFit("larimar", {
  options,
  async *run(base, given, { runtime, seed, documents: source, checkpoint, signal }) {
    const { variant, slots, rank, alpha, batchSize, episode, steps, ridge, keyNoise } = given;
    const { width, blocks, encoderWidth, encoderLayers, encoderHeads, encoderInner, encoderContext } = given;
    if (batchSize % episode !== 0)
      throw new UserError(
        `fit: expected a batchSize of whole episodes of ${episode}, got ${batchSize}; try ${8 * episode}`,
      );
    const documents = await collected(source);
    const { learned, kept } = divided(documents);
    const hash = await base.hash();
    const parsed = moduleSchema.safeParse({
      model_type: "mneme-larimar",
      base: { name: base.folder.split(/[\\/]/).at(-1), sha256: hash },
      variant,
      slots,
      rank,
      alpha,
      latent: { width, blocks, encoderWidth, encoderLayers, encoderHeads, encoderInner, encoderContext },
    });
    if (!parsed.success) {
      const [{ path, message }] = parsed.error.issues;
      throw new UserError(`fit: expected sizes that fit each other, got ${path.join(".")}: ${message}`);
    }
    const config = parsed.data;
    const module = await freshModule(runtime, base, config, seed);
    const model = decoderModel(base, module);
    const trainable = Object.keys(module.weights);
    const shares = Object.fromEntries(exampleKinds.map((kind) => [kind, given[kind]])) as Record<ExampleKind, number>;
    const batches = episodeBatches({
      tokenizer: base.tokenizer,
      documents: learned,
      shares,
      longest: given.longest,
      unmarked: given.unmarked,
      context: Math.min(encoderContext, base.geometry.context),
      batchSize,
      episode,
      memory: { slots, ridge, noise: keyNoise },
      memoryShare: given.memoryShare,
      plainShare: given.plainShare ?? (variant === "joint" ? 0.3 : 0),
      blocks,
      seed,
    });
    const parameters = Object.values(module.weights).reduce((sum, { data }) => sum + data.length, 0);
    yield { type: "note", message: `${learned.length} documents, ${parameters} parameters` };
    const objective = await createFitObjective({
      runtime,
      definition: base.definition,
      config: base.config,
      geometry: base.geometry,
      shape: config.latent,
      weights: model.weights,
      trainable,
      modification: adaptersOf(config),
      batchSize,
      episode,
      observationNoise: given.observationNoise,
      seed,
    });
    try {
      const result = yield* train({
        objective,
        batches,
        weights: Object.fromEntries(trainable.map((name) => [name, module.weights[name].data])),
        optimizer: adamw({ b2: 0.98, weightDecay: given.weightDecay, decayFilter: isDecayed }),
        learningRate: given.learningRate,
        schedule: schedules.cosine,
        scheduleOptions: { warmupSteps: Math.min(given.warmupSteps, steps), totalSteps: steps },
        steps,
        clipNorm: given.clipNorm,
        checkpoint:
          checkpoint === undefined
            ? undefined
            : {
                folder: checkpoint,
                everySeconds: 120,
                identity: hashOf([
                  given,
                  seed,
                  hash,
                  contentsOf(documents),
                  documents.map(({ facts }) => facts ?? null),
                ]),
              },
        signal,
      });
      const measured =
        result.stopped === "interrupted"
          ? {}
          : await measureModule({ runtime, base, module, documents: kept, seed, signal });
      return {
        result,
        measured,
        async save(folder) {
          const fit = { options: given, seed, documents: documents.length, ...result, measured };
          await saveModule({ ...module, config: { ...config, fit } }, folder);
          return `module of larimar for ${config.base.name}: ${folder}`;
        },
      };
    } finally {
      await objective.dispose();
    }
  },
});
