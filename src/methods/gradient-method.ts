/**
 * What methods that learn by gradient share: a copy of some weights to train, the objective, the loop, scoring and
 * generation with the weights as they are now. A method file says which weights train and how they start.
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import { UserError } from "../errors.ts";
import type { Model } from "../models/decoder.ts";
import { createDecoder } from "../models/decoder.ts";
import { generateText } from "../models/generate.ts";
import type { LoadedModel } from "../models/load.ts";
import { bitsPerByte, createScorer } from "../models/score.ts";
import { isDecayed } from "../nn/names.ts";
import { adam, adamw, type Optimizer, sgd } from "../nn/optim.ts";
import type { LowRank } from "../nn/params.ts";
import { schedules } from "../nn/schedule.ts";
import { float32Host, type HostTensor, sizeOf } from "../tensor/dtype.ts";
import { type Batches, packDocuments } from "./batches.ts";
import type { MethodDeps } from "./definition.ts";
import type { Document, Method, MethodEvent, MethodState, ObserveOptions, Receipt } from "./method.ts";
import { createObjective, type Objective } from "./objective.ts";
import { train } from "./train.ts";

/** Options of every method that trains. */
export const trainingOptions = {
  epochs: z.number().positive().default(4).describe("passes over the documents of one observation"),
  batchSize: z.int().positive().default(2).describe("rows per step"),
  accumulate: z.int().positive().default(1).describe("batches per update"),
  contextLength: z.int().min(8).default(256).describe("tokens per row, at most the model's context"),
  optimizer: z.enum(["sgd", "adam", "adamw"]).default("adamw").describe("update rule"),
  schedule: z.enum(["constant", "cosine", "linear"]).default("cosine").describe("course of the learning rate"),
  warmupSteps: z.int().nonnegative().default(4).describe("steps that rise to the peak rate"),
  weightDecay: z.number().nonnegative().default(0.01).describe("decoupled weight decay (adamw)"),
  clipNorm: z.number().nonnegative().default(1).describe("largest gradient norm; 0 for none"),
  tokenBudget: z.number().positive().optional().describe("stop after this many tokens"),
  validationShare: z
    .number()
    .min(0)
    .max(0.5)
    .default(0)
    .describe("share of the documents kept for early stopping; 0 for none"),
  patience: z.int().positive().default(2).describe("validations without gain before stopping early"),
};

type TrainingOptions = z.output<z.ZodObject<typeof trainingOptions>>;

const optimizers: { [K in TrainingOptions["optimizer"]]: (weightDecay: number) => Optimizer } = {
  sgd: () => sgd(),
  adam: () => adam(),
  adamw: (weightDecay) => adamw({ weightDecay, decayFilter: isDecayed }),
};

export interface GradientMethodOptions {
  readonly name: string;
  readonly base: LoadedModel;
  /** Arrays of the method's own: updated in place, saved as its state. Those named like base weights replace them. */
  readonly trainable: Readonly<Record<string, HostTensor<"float32">>>;
  readonly lowRank?: LowRank;
  /** Refuses a state of other options that its arrays do not tell, by a UserError. */
  readonly checkState?: (json: MethodState["json"]) => void;
  readonly learningRate: number;
  readonly training: TrainingOptions;
  readonly deps: MethodDeps;
}

/** Text that is only for early stopping: the end of each document. */
function splitForValidation(documents: readonly Document[], share: number): { learned: string[]; heldOut: string[] } {
  if (share === 0) return { learned: documents.map(({ text }) => text), heldOut: [] };
  const cut = documents.map(({ text }) => {
    const at = Math.floor(text.length * (1 - share));
    // Not within a surrogate pair
    return (text.charCodeAt(at) & 0xfc00) === 0xdc00 ? at + 1 : at;
  });
  return {
    learned: documents.map(({ text }, i) => text.slice(0, cut[i])),
    heldOut: documents.map(({ text }, i) => text.slice(cut[i])).filter((text) => text.trim() !== ""),
  };
}

export function gradientMethod({
  name,
  base,
  trainable,
  lowRank,
  checkState,
  learningRate,
  training,
  deps,
}: GradientMethodOptions): Method {
  const { runtime, seed } = deps;
  const { definition, config, geometry, tokenizer } = base;
  const weights = { ...base.weights, ...trainable };
  const served: Model = { definition, config, geometry, weights, lowRank: lowRank && { ...lowRank, dropout: 0 } };
  const contextLength = Math.min(training.contextLength, geometry.context);
  /** Of the last batch size only: it holds a compiled graph and every gradient. */
  let latest: { batchSize: number; objective: Objective } | undefined;
  const scorer = lazy(() => createScorer(runtime, served, tokenizer));
  const decoder = lazy(() => createDecoder(runtime, served, { frozen: false }));
  let observations = 0;
  /** Names everything learned so far, in order. */
  let history = "";

  const objectiveFor = async (batchSize: number): Promise<Objective> => {
    if (latest?.batchSize === batchSize) return latest.objective;
    await latest?.objective.dispose();
    latest = undefined;
    const objective = await createObjective({
      runtime,
      definition,
      config,
      weights,
      trainable: Object.keys(trainable),
      lowRank,
      batchSize,
      contextLength,
      seed,
    });
    latest = { batchSize, objective };
    return objective;
  };

  const batchesOf = (texts: readonly string[]): Batches => {
    const eosId = base.eosIds[0] ?? tokenizer.eosId;
    if (eosId === undefined)
      throw new UserError(
        `${name}: expected a model with an end-of-text token, got none; add eos_token_id to its config.json`,
      );
    const ids = texts.map((text) => tokenizer.encode(text, { addSpecialTokens: false }));
    return packDocuments(ids, {
      contextLength,
      batchSize: training.batchSize,
      eosId,
      bosId: tokenizer.bosId,
      seed: seed + observations,
    });
  };

  const identityOf = (documents: readonly Document[]): string =>
    createHash("sha256")
      .update(JSON.stringify([name, training, learningRate, lowRank ?? null, seed, history]))
      .update(JSON.stringify(Object.entries(trainable).map(([key, { shape }]) => [key, shape])))
      .update(JSON.stringify(documents.map(({ id, text }) => [id, text])))
      .digest("hex");

  async function* observe(
    documents: readonly Document[],
    { checkpoint, signal }: ObserveOptions = {},
  ): AsyncGenerator<MethodEvent> {
    const identity = identityOf(documents);
    const { learned, heldOut } = splitForValidation(documents, training.validationShare);
    const batches = batchesOf(learned);
    const updates = Math.ceil((training.epochs * batches.rowCount) / (batches.batchSize * training.accumulate));
    const arrays = Object.fromEntries(Object.entries(trainable).map(([key, { data }]) => [key, data]));
    const everyEpoch = Math.max(1, Math.round(batches.rowCount / (batches.batchSize * training.accumulate)));
    const result = yield* train({
      objective: await objectiveFor(batches.batchSize),
      batches,
      weights: arrays,
      optimizer: optimizers[training.optimizer](training.weightDecay),
      learningRate,
      schedule: schedules[training.schedule],
      scheduleOptions: { warmupSteps: Math.min(training.warmupSteps, updates), totalSteps: updates },
      steps: updates,
      accumulate: training.accumulate,
      clipNorm: training.clipNorm,
      tokenBudget: training.tokenBudget,
      validation:
        heldOut.length === 0
          ? undefined
          : { every: everyEpoch, patience: training.patience, measure: () => heldOutBits(heldOut) },
      checkpoint:
        checkpoint === undefined ? undefined : { folder: checkpoint, identity: `${identity} on ${await base.hash()}` },
      signal,
    });
    if (result.stopped !== "interrupted") {
      observations++;
      history = identity;
    }
    const receipt: Receipt = {
      id: `${name}-${identity.slice(0, 12)}`,
      documents: documents.map(({ id }) => id),
      ...result,
    };
    yield { type: "receipt", receipt };
  }

  const heldOutBits = async (texts: readonly string[]): Promise<number> => {
    let [nats, bytes] = [0, 0];
    for (const text of texts) {
      const score = await (await scorer.get()).scoreText("", text);
      nats += score.nats;
      bytes += score.bytes;
    }
    return bitsPerByte({ nats, bytes });
  };

  return {
    name,
    canForget: false,
    needsFit: false,
    observe,
    score: async (prompt, continuation) => (await scorer.get()).scoreText(prompt, continuation),
    async *generate(prompt, options) {
      yield* generateText(await decoder.get(), tokenizer, prompt, { ...options, eosIds: base.eosIds });
    },
    bytes: () => Object.values(trainable).reduce((total, { shape }) => total + 4 * sizeOf(shape), 0),
    state: async (): Promise<MethodState> => ({
      tensors: Object.fromEntries(
        Object.entries(trainable).map(([key, { shape, data }]) => [key, float32Host(shape, data.slice())]),
      ),
      json: { observations, history, ...(lowRank && { lowRank: { ...lowRank } }) },
    }),
    async restore({ tensors, json }) {
      for (const [key, { data }] of Object.entries(trainable)) {
        const saved = tensors[key];
        if (saved?.dtype !== "float32" || saved.data.length !== data.length) {
          throw new UserError(
            `${name}: expected ${data.length} saved numbers for ${key}, got ${saved?.data.length ?? "none"}; the state is of another model or other options`,
          );
        }
      }
      checkState?.(json);
      for (const [key, { data }] of Object.entries(trainable)) data.set(tensors[key].data as Float32Array);
      observations = Number(json.observations ?? 0);
      history = String(json.history ?? "");
    },
    async dispose() {
      await decoder.made?.then((made) => made.dispose());
      await scorer.made?.then((made) => made.dispose());
      await latest?.objective.dispose();
    },
  };
}

interface Lazy<T> {
  get(): Promise<T>;
  /** Set once `get` was called. */
  made?: Promise<T>;
}

/** Compile on first use: a method that only learns needs no decoder. */
function lazy<T>(make: () => Promise<T>): Lazy<T> {
  const holder: Lazy<T> = { get: () => (holder.made ??= make()) };
  return holder;
}
