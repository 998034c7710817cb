/**
 * The fit of bank compression: encoders, aggregator, prefix, adapters and codebooks learn to answer questions about
 * documents that went through the bank (https://arxiv.org/abs/2601.00756, section 3). The base stays frozen.
 */
import { basename, resolve } from "node:path";
import { z } from "zod";
import { UserError } from "../../errors.ts";
import { isDecayed } from "../../nn/names.ts";
import { adamw, type Optimizer, type OptimizerState, withRates } from "../../nn/optim.ts";
import { schedules } from "../../nn/schedule.ts";
import { defineFit } from "../definition.ts";
import { moduleFolder } from "../folders.ts";
import { contentsOf, hashOf } from "../identity.ts";
import type { Document, MethodEvent } from "../method.ts";
import { train } from "../train.ts";
import { type Book, type CareOptions, codebookStarts, settle, usesOf, withCare } from "./codebooks.ts";
import { chooseEncoder } from "./encoders.ts";
import { createEpisodes } from "./episodes.ts";
import { figuresOfLook } from "./figures.ts";
import { measureModule } from "./measure.ts";
import {
  adaptedModel,
  adaptersOf,
  type BankModule,
  codebookNames,
  emptyModule,
  loadModule,
  type ModuleConfig,
  moduleSchema,
  saveModule,
} from "./module.ts";
import { createFitObjective } from "./objective.ts";
import { createNearest } from "./nearest.ts";
import { createReader } from "./reader.ts";
import { isEncoder, usual } from "./shape.ts";
import { straighten } from "./start.ts";
import { trainedParts } from "./t5-encoder.ts";

const share = (preset: number) => z.number().min(0).default(preset);

const options = z.object({
  from: z
    .string()
    .min(1)
    .optional()
    .describe("fitted module of the same sizes to go on from: a folder, or one that comes along; codebooks begin anew"),
  slots: z.int().positive().default(usual.slots).describe("T: slots that a document becomes"),
  width: z.int().positive().optional().describe("D: numbers in a slot (default: the width of the base)"),
  places: z
    .int()
    .positive()
    .default(usual.places)
    .describe("V: places before the text that a slot becomes in every layer"),
  encoder: z
    .string()
    .min(1)
    .optional()
    .describe("folder or hub id of a T5 as encoder (default: our own, which reads the base)"),
  trainEncoder: z.enum(trainedParts).default("decoder").describe("what of a T5 is trained beside its prompts"),
  encoderWidth: z.int().positive().default(usual.encoderWidth).describe("width of our own encoder"),
  encoderLayers: z.int().nonnegative().default(usual.encoderLayers).describe("its layers that read both ways"),
  encoderHeads: z.int().positive().default(usual.encoderHeads).describe("its attention heads"),
  inner: z.int().positive().default(usual.inner).describe("width of the feed-forward layers of encoder and slots"),
  blocks: z.int().positive().default(usual.blocks).describe("cross-attention blocks of the aggregator"),
  blockHeads: z.int().positive().default(usual.blockHeads).describe("heads of the aggregator"),
  blockInner: z.int().positive().default(usual.blockInner).describe("width of the aggregator's feed-forward layers"),
  context: z
    .int()
    .min(8)
    .optional()
    .describe("most tokens of a document (default: one for each place, or the context of the T5)"),
  codes: z.int().min(2).max(65536).default(usual.codes).describe("codes of each codebook"),
  depth: z.int().positive().default(usual.depth).describe("R: residual codes for each place of a slot"),
  rank: z.int().nonnegative().default(usual.rank).describe("r, the width of the adapters; 0 for none"),
  alpha: z.number().positive().default(usual.alpha).describe("adapters are scaled by alpha / rank"),
  adaptedLayers: z.int().nonnegative().optional().describe("last layers of the base with adapters (default: all)"),
  beside: z.enum(["kv", "qkv"]).default("kv").describe("adapters on keys and values, or on queries too"),
  learns: z
    .enum(["all", "reading"])
    .default("all")
    .describe("what learns: all, or what reads the bank, while encoders stay and codebooks are made once"),
  steps: z.int().positive().default(3000).describe("updates"),
  groups: z.int().positive().default(4).describe("G: episodes per update"),
  perGroup: z.int().min(2).default(4).describe("K: documents of an episode"),
  questions: z.int().positive().default(8).describe("Q: questions to an episode"),
  keep: z.number().gt(0).max(1).default(1).describe("share of the documents that pass gradients"),
  accumulate: z.int().positive().default(1).describe("batches per update"),
  learningRate: z.number().positive().default(1.5e-4).describe("peak learning rate"),
  warmupSteps: z.int().nonnegative().default(100).describe("steps that rise to the peak rate"),
  weightDecay: z.number().nonnegative().default(0.01).describe("decoupled weight decay"),
  clipNorm: z.number().nonnegative().default(1).describe("largest gradient norm; 0 for none"),
  retrieved: z.number().min(0).max(1).default(0.75).describe("share of questions that see a few documents"),
  mostRetrieved: z.int().positive().default(3).describe("most documents that those see"),
  bias: z.number().nonnegative().default(8).describe("largest bias that sets an unlikely document back"),
  unanswerable: z.number().min(0).max(0.5).default(0.05).describe("share of questions whose document is not there"),
  quantizeFrom: z.number().min(0).max(1).default(0.4).describe("part of the steps after which there are codebooks"),
  full: share(0.25).describe("share of episodes in full precision, from then on"),
  residual: share(0.65).describe("share of episodes with residual codes"),
  single: share(0.1).describe("share of episodes with one code for a slot"),
  quantizationLoss: z.number().nonnegative().default(1).describe("lambda of the quantisation loss"),
  commitment: z.number().nonnegative().default(1).describe("beta: how much slots are drawn to their codes"),
  codebook: z.enum(["gradient", "average"]).default("average").describe("how codebooks learn"),
  codebookRate: z.number().positive().default(10).describe("rate of codebooks by gradient, in learning rates"),
  decay: z.number().min(0).lt(1).default(0.9).describe("weight of the past where they learn by moving averages"),
  codebookStart: z
    .enum(codebookStarts)
    .default("data")
    .describe("codebooks begin as k-means of slots, or at random as published"),
  reset: z.boolean().default(true).describe("put codes that nothing chooses where the data is"),
  careSteps: z.int().positive().default(10).describe("steps between two looks at the codebooks"),
});

async function collected(documents: AsyncIterable<Document>): Promise<Document[]> {
  const all: Document[] = [];
  for await (const document of documents) all.push(document);
  return all;
}

/** Documents kept from the fit, to measure it by; and those that a start and codebooks are made from. */
const HELD_OUT = 128;
const STARTING = 384;

/** Takes on the weights of a module of the same sizes; codebooks of other sizes are made anew. */
function goOnFrom({ config, weights }: BankModule, from: BankModule): void {
  const sizesOf = ({ shape, adapters, encoder }: ModuleConfig): string =>
    JSON.stringify({ ...shape, ...adapters, encoder: encoder?.sha256, trained: encoder?.trained });
  const [wanted, got] = [sizesOf(config), sizesOf(from.config)];
  if (wanted !== got)
    throw new UserError(`fit: expected a module of the sizes asked for, ${wanted}, got one of ${got}; give its sizes`);
  for (const [name, { data, shape }] of Object.entries(weights))
    if (shape.join() === from.weights[name].shape.join()) (data as Float32Array).set(from.weights[name].data);
}

/** Events of a training, each with the looks that it took. */
async function* withLooks<R>(training: AsyncGenerator<MethodEvent, R>, looks: MethodEvent[]) {
  let next = await training.next();
  for (; !next.done; next = await training.next()) {
    yield next.value;
    yield* looks.splice(0);
  }
  return next.value;
}

/** Codebooks of which fewer codes are in use have collapsed. */
const COLLAPSED = 0.5;

export const bankFit = defineFit("bank-compression", {
  practises: "documents",
  options,
  async *run(base, given, { runtime, seed, documents: source, checkpoint, signal }) {
    const { slots, places, groups, perGroup, questions, steps, codes, depth } = given;
    if (given.full + given.residual + given.single === 0) {
      throw new UserError(
        "fit: expected a precision with a share above 0, got none; give full, residual or single one",
      );
    }
    const documents = await collected(source);
    const count = Math.min(HELD_OUT, Math.floor(documents.length / 8));
    const kept = count === 0 ? [] : documents.slice(-count);
    const learned = documents.slice(0, documents.length - count);
    const hash = await base.hash();
    const choice = await chooseEncoder(base, given);
    const parsed = moduleSchema.safeParse({
      model_type: "mneme-bank-compression",
      base: { name: base.folder.split(/[\\/]/).at(-1), sha256: hash },
      encoder: choice.config,
      shape: {
        slots,
        width: given.width ?? base.geometry.width,
        places,
        ...choice.sizes,
        inner: given.inner,
        blocks: given.blocks,
        blockHeads: given.blockHeads,
        blockInner: given.blockInner,
      },
      codes,
      depth,
      adapters: {
        rank: given.rank,
        alpha: given.alpha,
        layers: given.adaptedLayers ?? base.geometry.layers,
        beside: given.beside,
      },
    });
    if (!parsed.success) {
      const [{ path, message }] = parsed.error.issues;
      throw new UserError(`fit: expected sizes that fit each other, got ${path.join(".")}: ${message}`);
    }
    const config = parsed.data;
    const { shape } = config;
    const module = emptyModule(base, config, seed, choice.encoderOf(shape));
    const { weights } = module;
    const quantizedFrom = Math.round(given.quantizeFrom * steps);
    const episodes = createEpisodes({
      tokenizer: base.tokenizer,
      encoder: module.encoder,
      documents: learned,
      depth,
      groups,
      perGroup,
      questions,
      retrieved: given.retrieved,
      mostRetrieved: Math.min(given.mostRetrieved, perGroup),
      bias: given.bias,
      unanswerable: given.unanswerable,
      precisions: { full: given.full, residual: given.residual, single: given.single },
      quantizedFrom,
      seed,
    });
    const books: readonly string[] = Object.values(codebookNames);
    // Encoders that stay need codebooks that stay
    const learnsCodes = given.codebook === "gradient" && given.learns === "all";
    const trainable = Object.keys(weights).filter((name) =>
      books.includes(name) ? learnsCodes : given.learns === "all" || !isEncoder(name),
    );
    const parameters = Object.values(weights).reduce((sum, { data }) => sum + data.length, 0);
    yield { type: "note", message: `${episodes.count} documents, ${parameters} parameters` };
    let options: Readonly<Record<string, unknown>> = given;
    if (given.from !== undefined) {
      const folder = await moduleFolder("bank-compression", given.from);
      const from = await loadModule(base, folder, { encoder: given.encoder });
      goOnFrom(module, from);
      // Where it lies on this machine makes no other fit
      options = { ...given, from: { name: basename(resolve(folder)), sha256: from.sha256 } };
    } else if (!(await straighten(runtime, base, weights, shape, episodes.texts(STARTING, -1), seed)))
      yield {
        type: "note",
        message: "no start by regression for this base, these slots and this encoder: random numbers",
      };
    const model = adaptedModel(base, module);
    const objective = await createFitObjective({
      runtime,
      definition: base.definition,
      config: base.config,
      geometry: base.geometry,
      shape,
      encoder: module.encoder,
      weights: model.weights,
      trainable,
      modification: adaptersOf(config),
      groups,
      perGroup,
      questions,
      kept: Math.max(1, Math.round(given.keep * perGroup)),
      quantizationLoss: given.quantizationLoss,
      commitment: given.commitment,
      learnsCodes,
      seed,
    });
    const reader = createReader({ runtime, base, module, frozen: false });
    const nearest = createNearest(runtime);
    // Slots move on while codebooks learn: these must be faster than what they follow
    const adam = withRates(adamw({ b2: 0.98, weightDecay: given.weightDecay, decayFilter: isDecayed }), (name) =>
      books.includes(name) ? given.codebookRate : 1,
    );
    let moments: OptimizerState | undefined;
    const optimizer: Optimizer = { ...adam, init: (params) => (moments = adam.init(params)) };
    const counts = new Float32Array((1 + depth) * codes);
    const bookOf = (name: string, width: number, at: number, book = 0): Book => {
      const own = (data: Float32Array): Float32Array => data.subarray(book * codes * width, (book + 1) * codes * width);
      return {
        codes: own(weights[name].data as Float32Array),
        width,
        counts: counts.subarray((at + book) * codes, (at + book + 1) * codes),
        moments: () =>
          ["exp_avg", "exp_avg_sq"].flatMap((part) => {
            const data = learnsCodes ? moments?.tensors[`${name}.${part}`] : undefined;
            return data ? [own(data)] : [];
          }),
      };
    };
    const looks: MethodEvent[] = [];
    const care: CareOptions = {
      nearest: nearest.nearest,
      slotsOf: (count, draw) => reader.slots(episodes.texts(count, draw)),
      single: bookOf(codebookNames.single, shape.width, 0),
      residual: Array.from({ length: depth }, (_, r) => bookOf(codebookNames.residual, shape.width / places, 1, r)),
      from: quantizedFrom,
      every: given.learns === "all" ? given.careSteps : Number.POSITIVE_INFINITY,
      start: given.codebookStart,
      reset: given.reset,
      decay: given.decay,
      learnsByAverage: !learnsCodes,
      seed,
      onLook: (step, looked) => looks.push({ type: "figures", step: step + 1, figures: figuresOfLook(looked) }),
    };
    try {
      const training = train({
        objective: withCare(objective, care),
        batches: episodes,
        // Codebooks without gradients too, and their counts: they are part of what a stopped fit goes on with
        weights: {
          ...Object.fromEntries(Object.entries(weights).map(([name, { data }]) => [name, data as Float32Array])),
          counts,
        },
        optimizer,
        learningRate: given.learningRate,
        schedule: schedules.cosine,
        scheduleOptions: { warmupSteps: Math.min(given.warmupSteps, steps), totalSteps: steps },
        steps,
        accumulate: given.accumulate,
        clipNorm: given.clipNorm,
        checkpoint:
          checkpoint === undefined
            ? undefined
            : {
                folder: checkpoint,
                everySeconds: 120,
                identity: hashOf([
                  options,
                  seed,
                  hash,
                  contentsOf(documents),
                  documents.map(({ facts }) => facts ?? null),
                  ...(choice.config ? [choice.config.sha256] : []),
                ]),
              },
        signal,
      });
      const result = yield* withLooks(training, looks);
      let measured: Record<string, number> = {};
      if (result.stopped !== "interrupted") {
        // Minutes with many documents, behind the last step that a stop could wait for
        const ending: CareOptions = {
          ...care,
          slotsOf: (count, draw) => reader.slots(episodes.texts(count, draw), { signal }),
          nearest: (...asked) => {
            signal?.throwIfAborted();
            return nearest.nearest(...asked);
          },
        };
        if (!learnsCodes && quantizedFrom < steps) {
          yield { type: "note", message: "the steps are done; codebooks settle, then the module is measured" };
          await settle(ending);
        }
        measured = await measureModule({ runtime, base, module, documents: kept, seed, signal });
        if (quantizedFrom < steps) {
          const uses = await usesOf(ending, -2);
          const all = [uses.single, ...uses.residual];
          const used = Math.min(...all.map(({ dead }) => 1 - dead / codes));
          measured["least codes used"] = used;
          measured["quantisation loss"] = uses.residual[depth - 1].error;
          measured["least perplexity"] = Math.min(...all.map((use) => use.perplexity));
          if (used < COLLAPSED) {
            yield {
              type: "note",
              message: `a codebook collapsed: ${(100 * used).toFixed(1)}% of its codes are in use; leave reset on, or use fewer codes`,
            };
          }
        }
      }
      return {
        result,
        measured,
        async save(folder) {
          const fit = { options, seed, documents: documents.length, ...result, measured };
          await saveModule({ ...module, config: { ...config, fit } }, folder);
          return `module of bank-compression for ${config.base.name}: ${folder}`;
        },
      };
    } finally {
      await nearest.dispose();
      await reader.dispose();
      await objective.dispose();
    }
  },
});
