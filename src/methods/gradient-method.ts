/**
 * What methods that learn by gradient share: a copy of some weights to train, the objective, the loop, scoring and
 * generation with the weights as they are now. A method file says which weights train and how they start.
 */
import { z } from "zod";
import { UserError } from "../errors.ts";
import type { Model } from "../models/instance.ts";
import type { LoadedModel } from "../models/load.ts";
import { meanBitsPerByte } from "../models/score.ts";
import { isDecayed } from "../nn/names.ts";
import { adam, adamw, type Optimizer, sgd } from "../nn/optim.ts";
import type { Modification } from "../nn/params.ts";
import { schedules } from "../nn/schedule.ts";
import { float32Host, type HostTensor, sizeOf } from "../tensor/dtype.ts";
import { randomStream } from "../tensor/random.ts";
import { type Batch, type Batches, batchOf, cutRows, joinDocuments, type Rows, serveRows } from "./batches.ts";
import type { MethodDeps } from "./definition.ts";
import { contentsOf, hashOf, receiptId } from "./identity.ts";
import { askedBare, languageFace } from "./language.ts";
import type { Document, Method, MethodEvent, MethodState, ObserveOptions, Receipt } from "./method.ts";
import { flopsOfBatches } from "./flops.ts";
import { createObjective, type Objective } from "./objective.ts";
import type { Gradients, Lesson, Remedy } from "./remedy.ts";
import { train, type TrainOptions, type TrainResult } from "./train.ts";

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
  /** What the method adds to the model's layers. */
  readonly modification?: Modification;
  /** The same while training, where it differs: with noise. */
  readonly whileTraining?: Modification;
  readonly remedy?: Remedy;
  /** What makes the method besides its arrays and training options: part of its state and of every run's identity. */
  readonly settings?: MethodState["json"];
  /** Refuses a state of other options that its arrays do not tell, by a UserError. */
  readonly checkState?: (json: MethodState["json"]) => void;
  readonly learningRate: number;
  readonly training: TrainingOptions;
  readonly deps: MethodDeps;
}

/** Arrays of a method's own for all weights of the base, which stays as it is. */
export const trainableCopy = ({ weights }: LoadedModel): Record<string, HostTensor<"float32">> =>
  Object.fromEntries(
    Object.entries(weights).map(([name, { shape, data }]) => [name, float32Host(shape, data.slice())]),
  );

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

/** The seed of an observation: no other seed has the same numbers at another observation. */
export const observationSeed = (seed: number, observation: number): number =>
  randomStream(seed, "observation", observation).uint32();

/** How an observation trains: updates and rates as the options say, over these batches. */
function courseOf(
  { batchSize, rowCount, rowsPerEpoch = rowCount }: Batches,
  { accumulate, clipNorm, epochs, optimizer, schedule, tokenBudget, warmupSteps, weightDecay }: TrainingOptions,
) {
  const perUpdate = batchSize * accumulate;
  const steps = Math.ceil((epochs * rowsPerEpoch) / perUpdate);
  return {
    optimizer: optimizers[optimizer](weightDecay),
    schedule: schedules[schedule],
    scheduleOptions: { warmupSteps: Math.min(warmupSteps, steps), totalSteps: steps },
    steps,
    accumulate,
    clipNorm,
    tokenBudget,
    updatesPerEpoch: Math.max(1, Math.round(rowsPerEpoch / perUpdate)),
  };
}

/** Trains a lesson with its remedy, whose work counts in the seconds; "interrupted" also when that was aborted. */
async function* trainLesson(
  lesson: Lesson,
  remedy: Remedy | undefined,
  options: Omit<TrainOptions, "objective" | "weights" | "penalty"> & { objective: () => Promise<Objective> },
): AsyncGenerator<MethodEvent, TrainResult> {
  /** Seconds; undefined when aborted. */
  const timed = async (work?: Promise<void>): Promise<number | undefined> => {
    const started = performance.now();
    try {
      await work;
    } catch (error) {
      if (options.signal?.aborted) return undefined;
      throw error;
    }
    return (performance.now() - started) / 1000;
  };
  const before = await timed(remedy?.before?.(lesson));
  const objective = await options.objective();
  const result = yield* train({ ...options, objective, weights: lesson.weights, penalty: remedy?.penalty });
  const after = result.stopped === "interrupted" ? undefined : await timed(remedy?.after?.(lesson));
  return {
    ...result,
    seconds: result.seconds + (before ?? 0) + (after ?? 0),
    stopped: after === undefined ? "interrupted" : result.stopped,
  };
}

export function gradientMethod({
  name,
  base,
  trainable,
  modification,
  whileTraining = modification,
  remedy,
  settings,
  checkState,
  learningRate,
  training,
  deps,
}: GradientMethodOptions): Method {
  const { runtime, seed } = deps;
  const { definition, config, geometry, tokenizer } = base;
  const weights = { ...base.weights, ...trainable };
  const served: Model = { definition, config, geometry, weights, modification };
  const contextLength = Math.min(training.contextLength, geometry.context);
  const arrays = Object.fromEntries(Object.entries(trainable).map(([key, { data }]) => [key, data]));
  /** Of the last batch size only: it holds a compiled graph and every gradient. */
  let latest: { batchSize: number; objective: Objective } | undefined;
  /** For gradients of single rows, where a remedy asks for them. */
  let single: Objective | undefined;
  const face = languageFace({ runtime, model: served, tokenizer, eosIds: base.eosIds });
  let observations = 0;
  /** Names everything learned so far, in order. */
  let history = "";

  const newObjective = (batchSize: number): Promise<Objective> =>
    createObjective({
      runtime,
      definition,
      config,
      weights,
      trainable: Object.keys(trainable),
      modification: whileTraining,
      batchSize,
      contextLength,
      seed,
    });

  const objectiveFor = async (batchSize: number): Promise<Objective> => {
    if (latest?.batchSize === batchSize) return latest.objective;
    await latest?.objective.dispose();
    latest = undefined;
    const objective = await newObjective(batchSize);
    latest = { batchSize, objective };
    return objective;
  };

  const eosOf = (): number => {
    const eosId = base.eosIds[0] ?? tokenizer.eosId;
    if (eosId !== undefined) return eosId;
    throw new UserError(
      `${name}: expected a model with an end-of-text token, got none; add eos_token_id to its config.json`,
    );
  };

  const rowsOf = (texts: readonly string[]): Rows => {
    const ids = texts.map((text) => tokenizer.encode(text, { addSpecialTokens: false }));
    return cutRows(joinDocuments(ids, { eosId: eosOf(), bosId: tokenizer.bosId }), contextLength);
  };

  const flopsAt = flopsOfBatches({ definition, config, geometry, trainable });

  /** `count` is told of every batch of one row. */
  async function* rowGradients(
    rows: Rows,
    order: Iterable<number>,
    count: (batch: Batch) => void,
    signal?: AbortSignal,
  ): AsyncGenerator<Gradients> {
    const objective = latest?.batchSize === 1 ? latest.objective : (single ??= await newObjective(1));
    for (const index of order) {
      signal?.throwIfAborted();
      objective.clear();
      const batch = batchOf([rows.row(index)], { contextLength, eosId: eosOf() });
      await objective.accumulate(batch, 1, 0);
      count(batch);
      yield objective.gradients;
    }
  }

  const identityOf = (documents: readonly Document[]): string =>
    hashOf(
      [name, training, learningRate, settings ?? null, seed, history],
      Object.entries(trainable).map(([key, { shape }]) => [key, shape]),
      contentsOf(documents),
    );

  async function* observe(
    documents: readonly Document[],
    { checkpoint, signal }: ObserveOptions = {},
  ): AsyncGenerator<MethodEvent> {
    const identity = identityOf(documents);
    const { learned, heldOut } = splitForValidation(documents, training.validationShare);
    const rows = rowsOf(learned);
    const serving = { batchSize: training.batchSize, eosId: eosOf(), seed: observationSeed(seed, observations) };
    const batches = remedy?.batches?.(rows, serving) ?? serveRows(rows, serving);
    const { updatesPerEpoch, ...course } = courseOf(batches, training);
    let flops = 0;
    const lesson: Lesson = {
      rows,
      seed: serving.seed,
      weights: arrays,
      rowsOf,
      rowGradients: (of, order) => rowGradients(of, order, (batch) => (flops += flopsAt(batch, 1)), signal),
    };
    const validation = {
      every: updatesPerEpoch,
      patience: training.patience,
      measure: () => meanBitsPerByte(heldOut, (text) => face.score("", text)),
    };
    const result = yield* trainLesson(lesson, remedy, {
      ...course,
      objective: () => objectiveFor(batches.batchSize),
      batches,
      learningRate,
      validation: heldOut.length === 0 ? undefined : validation,
      checkpoint:
        checkpoint === undefined ? undefined : { folder: checkpoint, identity: `${identity} on ${await base.hash()}` },
      signal,
    });
    if (result.stopped !== "interrupted") {
      observations++;
      history = identity;
    }
    // Batches come from their number alone, so those of an earlier sitting are counted too
    for (let i = 0; i < result.steps * training.accumulate; i++) {
      flops += flopsAt(batches.batchAt(i), batches.batchSize);
    }
    const receipt: Receipt = {
      id: receiptId(name, identity),
      documents: documents.map(({ id }) => id),
      ...result,
      flops,
    };
    yield { type: "receipt", receipt };
  }

  return {
    name,
    canForget: false,
    needsFit: false,
    observe,
    ...askedBare(face),
    bytes: () => Object.values(trainable).reduce((total, { shape }) => total + 4 * sizeOf(shape), remedy?.bytes() ?? 0),
    async state(): Promise<MethodState> {
      const copies = Object.entries(trainable).map(([key, { shape, data }]) => [key, float32Host(shape, data.slice())]);
      const kept = remedy?.state();
      return {
        tensors: { ...Object.fromEntries(copies), ...kept?.tensors },
        json: { observations, history, ...settings, ...kept?.json },
      };
    },
    async restore(state) {
      const { tensors, json } = state;
      for (const [key, { data }] of Object.entries(trainable)) {
        const saved = tensors[key];
        if (saved?.dtype !== "float32" || saved.data.length !== data.length) {
          throw new UserError(
            `${name}: expected ${data.length} saved numbers for ${key}, got ${saved?.data.length ?? "none"}; the ` +
              "state is of another model or other options",
          );
        }
      }
      checkState?.(json);
      remedy?.restore(state);
      for (const [key, { data }] of Object.entries(trainable)) data.set(tensors[key].data as Float32Array);
      observations = Number(json.observations ?? 0);
      history = String(json.history ?? "");
    },
    async dispose() {
      await face.dispose();
      await latest?.objective.dispose();
      await single?.dispose();
    },
  };
}
