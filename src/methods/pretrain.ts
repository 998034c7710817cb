/**
 * Pretraining from nothing: a vocabulary from the texts, fresh weights, the one training loop, a checkpoint folder in
 * Hugging Face layout with a model card. A recipe file says all of it, so a later variant of a model reuses it.
 */
import { stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { z } from "zod";
import { trainBpe } from "../checkpoint/bpe.ts";
import { exists, isObject, readChecked, sha256File, writeFileAtomic } from "../checkpoint/files.ts";
import { copyTokenizer, loadTokenizer, type Tokenizer } from "../checkpoint/tokenizer.ts";
import { internal, UserError } from "../errors.ts";
import type { LoadedModel } from "../models/load.ts";
import type { Definition } from "../models/model.ts";
import { type InitRule, initialize } from "../nn/init.ts";
import { isDecayed, isMemory } from "../nn/names.ts";
import { adamw } from "../nn/optim.ts";
import { schedules } from "../nn/schedule.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { HostTensor } from "../tensor/dtype.ts";
import { makeFolder } from "./folders.ts";
import { hashOf } from "./identity.ts";
import type { MethodEvent } from "./method.ts";
import { contrastive } from "./pretrain-contrastive.ts";
import { language } from "./pretrain-language.ts";
import type { Corpus, PretrainObjective, Sources } from "./pretrain-objective.ts";
import { type ObjectiveName, objectiveOf, type Recipe, startOf } from "./pretrain-recipe.ts";
import { train, type TrainResult } from "./train.ts";

export { parseRecipe, type Recipe, startOf } from "./pretrain-recipe.ts";

/** What a model can learn from, by the name that recipes use. */
const objectives: Readonly<Record<ObjectiveName, PretrainObjective<never>>> = { language, contrastive };

const objectiveFor = (recipe: Recipe): PretrainObjective<Recipe> =>
  objectives[objectiveOf(recipe)] as PretrainObjective<Recipe>;

export interface PretrainOptions {
  readonly runtime: Runtime;
  readonly recipe: Recipe;
  /** The model that the recipe starts from (`startOf`). */
  readonly base?: PretrainBase;
  /** Text files, in any order: they are sorted by name. */
  readonly files: readonly string[];
  /** What the recipe's mixtures name beside the texts. */
  readonly sources?: Sources;
  /** Work folder: vocabulary, tokens and the resumable state of the run. */
  readonly folder: string;
  readonly signal?: AbortSignal;
}

export type PretrainBase = Pick<LoadedModel, "folder" | "weights" | "tokenizer" | "hash">;

/** The trained model, not yet written. */
export interface Pretrained {
  readonly result: TrainResult;
  readonly weights: Record<string, HostTensor<"float32">>;
  readonly config: Record<string, unknown>;
  readonly tokenizerFolder: string;
  readonly definition: Definition;
  readonly corpus: { readonly files: readonly string[]; readonly bytes: number; readonly tokens: number };
}

/** The vocabulary: that of the base, or trained once per work folder. */
async function prepareTokenizer(
  recipe: Recipe,
  corpus: Corpus,
  folder: string,
  base: PretrainBase | undefined,
): Promise<Tokenizer> {
  if (base) {
    const { size } = recipe.vocabulary;
    if (base.tokenizer.vocabSize !== size)
      throw new UserError(
        `pretrain: expected a base with the recipe's vocabulary of ${size}, got ${base.tokenizer.vocabSize} in ` +
          `${startOf(recipe)}; correct vocabulary.size`,
      );
    await copyTokenizer(base.folder, folder);
  } else if (!(await exists(join(folder, "tokenizer.json")))) {
    const { size, specialTokens } = recipe.vocabulary;
    const objective = objectiveFor(recipe);
    const json = await trainBpe(objective.vocabularyTexts(recipe, corpus), { vocabSize: size, specialTokens });
    const config = objective.tokenizerConfig(recipe);
    await writeFileAtomic(join(folder, "tokenizer_config.json"), `${JSON.stringify(config, null, 2)}\n`);
    await writeFileAtomic(join(folder, "tokenizer.json"), `${JSON.stringify(json)}\n`);
  }
  return loadTokenizer(folder);
}

const stageFolder = (folder: string, index: number): string => join(folder, `stage-${index + 1}`);

/** As they were written: a parsed recipe could differ from its file in defaults. */
const begunSchema = z.object({
  recipe: z.custom<Recipe>((one) => isObject(one) && Array.isArray(one.stages)),
  texts: z.unknown(),
  base: z.string().optional(),
});

/**
 * A work folder belongs to one recipe and one corpus: vocabulary and tokens in it are those of no other. Only stages
 * that were not begun may still change.
 */
async function claimFolder(
  folder: string,
  recipe: Recipe,
  files: readonly string[],
  base: string | undefined,
): Promise<void> {
  await makeFolder(folder);
  const texts: (readonly [name: string, sha256: string])[] = [];
  for (const file of files) texts.push([basename(file), await sha256File(file)]);
  const path = join(folder, "pretrain.json");
  let stagesBegun = 0;
  while (await exists(stageFolder(folder, stagesBegun))) stagesBegun++;
  const fixed = (one: Recipe): unknown => ({ ...one, stages: one.stages.slice(0, stagesBegun) });
  if (await exists(path)) {
    const begun = await readChecked(path, begunSchema, { caller: "pretrain", what: "what a training was begun with" });
    for (const [what, then, now] of [
      ["recipe", fixed(begun.recipe), fixed(recipe)],
      ["texts", begun.texts, texts],
      ["base", begun.base, base],
    ] as const) {
      if (JSON.stringify(then) === JSON.stringify(now)) continue;
      throw new UserError(
        `pretrain: expected the ${what} that ${folder} was begun with, got something else; use another folder or ` +
          "delete it",
      );
    }
  }
  await writeFileAtomic(path, `${JSON.stringify({ recipe, texts, base }, null, 2)}\n`);
}

/** Fresh weights, or those of the base wherever it has them; a memory is all that it may lack. */
function startWeights(
  shapes: Readonly<Record<string, readonly number[]>>,
  rule: InitRule,
  seed: number,
  base: PretrainBase | undefined,
): Record<string, HostTensor<"float32">> {
  const weights = initialize(shapes, rule, seed);
  if (!base) return weights;
  for (const [name, { shape, data }] of Object.entries(weights)) {
    const known = base.weights[name];
    if (!known && isMemory(name)) continue;
    if (known?.shape.join() !== shape.join())
      throw new UserError(
        `pretrain: expected a base with ${name} [${shape.join(", ")}], got ` +
          `${known ? `[${known.shape.join(", ")}]` : "none"} in ${base.folder}; only a memory may be new`,
      );
    data.set(known.data);
  }
  return weights;
}

/**
 * Train; yields progress and returns the model. Stopping it leaves a state in `folder` that the next call
 * continues.
 */
export async function* pretrain({
  runtime,
  recipe,
  base,
  files: given,
  sources = {},
  folder,
  signal,
}: PretrainOptions): AsyncGenerator<MethodEvent, Pretrained> {
  if (given.length === 0)
    throw new UserError("pretrain: expected at least one text file, got none; name files or a folder with --data");
  const objective = objectiveFor(recipe);
  const definition = objective.definition(recipe);
  const files = [...given].sort((a, b) => (basename(a) < basename(b) ? -1 : 1));
  const corpus = { files, sources };
  if ((startOf(recipe) === undefined) !== (base === undefined))
    internal(`pretrain: the recipe starts from ${startOf(recipe) ?? "nothing"}, got ${base?.folder ?? "no base"}`);
  const baseHash = await base?.hash();
  await claimFolder(folder, recipe, files, baseHash);
  const sizes = await Promise.all(files.map(async (file) => (await stat(file)).size));
  yield { type: "note", message: `vocabulary and tokens of ${files.length} files` };
  const tokenizer = await prepareTokenizer(recipe, corpus, folder, base);
  const prepared = await objective.prepare(recipe, corpus, tokenizer, folder);
  const config: Record<string, unknown> = {
    ...recipe.model,
    vocab_size: tokenizer.vocabSize,
    ...objective.tokenFields(tokenizer),
  };
  const parsed = definition.parseConfig(config);
  const rule = objective.initial(definition.geometry(parsed).layers);
  const weights = startWeights(definition.shapes(parsed), rule, recipe.seed, base);
  const arrays = Object.fromEntries(Object.entries(weights).map(([name, { data }]) => [name, data]));

  /** One stage, from where the weights stand. */
  async function* runStage(index: number): AsyncGenerator<MethodEvent, TrainResult> {
    const stage = recipe.stages[index];
    const { warmupSteps, floor, b1, b2, weightDecay } = stage;
    const training = await prepared.stage(index, { runtime, config: parsed, weights });
    const begun = [
      { ...recipe, stages: recipe.stages.slice(0, index + 1) },
      files.map((f, i) => [basename(f), sizes[i]]),
      ...(baseHash === undefined ? [] : [baseHash]),
    ];
    const identity = hashOf(begun);
    try {
      return yield* train({
        ...training,
        weights: arrays,
        optimizer: adamw({ b1, b2, weightDecay, decayFilter: isDecayed }),
        learningRate: stage.learningRate,
        schedule: schedules[stage.schedule],
        scheduleOptions: { warmupSteps, totalSteps: training.steps, floor },
        clipNorm: stage.clipNorm,
        checkpoint: { folder: stageFolder(folder, index), everySeconds: 120, identity },
        signal,
      });
    } finally {
      await training.objective.dispose();
    }
  }

  let result: TrainResult = { steps: 0, tokens: 0, seconds: 0, finalLoss: Number.NaN, stopped: "done" };
  for (let index = 0; index < recipe.stages.length && result.stopped === "done"; index++) {
    await makeFolder(stageFolder(folder, index));
    const { steps, tokens, seconds } = result;
    const next = yield* runStage(index);
    result = { ...next, steps: steps + next.steps, tokens: tokens + next.tokens, seconds: seconds + next.seconds };
  }
  const bytes = sizes.reduce((a, b) => a + b, 0);
  return {
    result,
    weights,
    config,
    definition,
    tokenizerFolder: folder,
    corpus: { files: files.map((f) => basename(f)), bytes, tokens: prepared.tokens },
  };
}
