/**
 * Pretraining from nothing: a vocabulary from the texts, fresh weights, the one training loop, a checkpoint folder in
 * Hugging Face layout with a model card. A recipe file says all of it, so a later variant of a model reuses it.
 */
import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { z } from "zod";
import { type TokenizerJson, trainBpe } from "../checkpoint/bpe.ts";
import { exists, readJsonObject, sha256File, writeFileAtomic } from "../checkpoint/files.ts";
import { readTextFile } from "../checkpoint/text.ts";
import { loadTokenizer, type Tokenizer } from "../checkpoint/tokenizer.ts";
import { UserError } from "../errors.ts";
import { causalDefinitionFor } from "../models/index.ts";
import type { ModelDefinition } from "../models/model.ts";
import { gpt2Rule, initialize } from "../nn/init.ts";
import { isDecayed } from "../nn/names.ts";
import { adamw } from "../nn/optim.ts";
import { cosine } from "../nn/schedule.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { HostTensor } from "../tensor/dtype.ts";
import { packTokens } from "./batches.ts";
import { makeFolder } from "./folders.ts";
import type { MethodEvent } from "./method.ts";
import { createObjective } from "./objective.ts";
import { train, type TrainResult } from "./train.ts";

const recipeSchema = z.strictObject({
  name: z.string().regex(/^[\w.-]+$/),
  seed: z.number().int(),
  vocabulary: z.strictObject({
    size: z.number().int().min(257),
    /** The first one ends every document. */
    specialTokens: z.array(z.string().min(1)).min(1),
  }),
  /** config.json without the sizes that the vocabulary decides. */
  model: z.looseObject({ model_type: z.string() }),
  training: z.strictObject({
    contextLength: z.number().int().positive(),
    batchSize: z.number().int().positive(),
    accumulate: z.number().int().positive().default(1),
    tokens: z.number().positive(),
    learningRate: z.number().positive(),
    warmupSteps: z.number().int().nonnegative().default(0),
    floor: z.number().min(0).max(1).default(0),
    weightDecay: z.number().nonnegative().default(0),
    b1: z.number().default(0.9),
    b2: z.number().default(0.95),
    clipNorm: z.number().nonnegative().default(1),
  }),
});

export type Recipe = z.output<typeof recipeSchema>;

export function parseRecipe(json: unknown): Recipe {
  const parsed = recipeSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new UserError(`recipe: expected a valid ${issue.path.join(".") || "file"}, got a wrong one: ${issue.message}`);
}

export interface PretrainOptions {
  readonly runtime: Runtime;
  readonly recipe: Recipe;
  /** Text files, in any order: they are sorted by name. */
  readonly files: readonly string[];
  /** Work folder: vocabulary, tokens and the resumable state of the run. */
  readonly folder: string;
  readonly signal?: AbortSignal;
}

/** The trained model, not yet written. */
export interface Pretrained {
  readonly result: TrainResult;
  readonly weights: Record<string, HostTensor<"float32">>;
  readonly config: Record<string, unknown>;
  readonly tokenizerFolder: string;
  readonly definition: ModelDefinition;
  readonly corpus: { readonly files: readonly string[]; readonly bytes: number; readonly tokens: number };
}

async function* textsOf(files: readonly string[]): AsyncGenerator<string> {
  for (const file of files) yield (await readTextFile(file)).text;
}

/** The vocabulary, trained once per work folder. */
async function prepareTokenizer(recipe: Recipe, files: readonly string[], folder: string): Promise<Tokenizer> {
  const { size, specialTokens } = recipe.vocabulary;
  if (!(await exists(join(folder, "tokenizer.json")))) {
    const json: TokenizerJson = await trainBpe(textsOf(files), { vocabSize: size, specialTokens });
    const config = {
      tokenizer_class: "PreTrainedTokenizerFast",
      eos_token: specialTokens[0],
      bos_token: null,
      add_bos_token: false,
    };
    await writeFileAtomic(join(folder, "tokenizer_config.json"), `${JSON.stringify(config, null, 2)}\n`);
    await writeFileAtomic(join(folder, "tokenizer.json"), `${JSON.stringify(json)}\n`);
  }
  return loadTokenizer(folder);
}

/** All texts as one stream of tokens, each ended by the first special token; kept as a file for resuming. */
async function prepareTokens(tokenizer: Tokenizer, files: readonly string[], folder: string): Promise<Uint16Array> {
  const path = join(folder, "tokens.u16");
  if (!(await exists(path))) {
    if (tokenizer.vocabSize > 65536)
      throw new UserError(`pretrain: expected a vocabulary of at most 65536, got ${tokenizer.vocabSize}`);
    const parts: Uint16Array[] = [];
    for await (const text of textsOf(files)) {
      // Paragraph by paragraph: the tokenizer's time grows faster than the text's length
      const ids: number[] = [];
      for (const piece of text.split(/(?<=\n)(?=\S)/))
        for (const id of tokenizer.encode(piece, { addSpecialTokens: false })) ids.push(id);
      ids.push(endOf(tokenizer));
      parts.push(Uint16Array.from(ids));
    }
    await writeFileAtomic(
      path,
      parts.map((part) => new Uint8Array(part.buffer)),
    );
  }
  const bytes = await readFile(path);
  return new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
}

function endOf(tokenizer: Tokenizer): number {
  if (tokenizer.eosId === undefined)
    throw new UserError(
      "pretrain: expected a tokenizer with an end-of-text token, got none; name one first in vocabulary.specialTokens",
    );
  return tokenizer.eosId;
}

/** A work folder belongs to one recipe and one corpus: vocabulary and tokens in it are those of no other. */
async function claimFolder(folder: string, recipe: Recipe, files: readonly string[]): Promise<void> {
  await makeFolder(folder);
  const texts: (readonly [name: string, sha256: string])[] = [];
  for (const file of files) texts.push([basename(file), await sha256File(file)]);
  const path = join(folder, "pretrain.json");
  if (!(await exists(path))) return writeFileAtomic(path, `${JSON.stringify({ recipe, texts }, null, 2)}\n`);
  const begun = await readJsonObject(path);
  for (const [what, now] of [
    ["recipe", recipe],
    ["texts", texts],
  ] as const) {
    if (JSON.stringify(begun[what]) === JSON.stringify(now)) continue;
    throw new UserError(
      `pretrain: expected the ${what} that ${folder} was begun with, got something else; use another folder or delete it`,
    );
  }
}

/** The architecture that the recipe names, refused before any work where the recipe does not fit it. */
function definitionOf({ model, vocabulary, training }: Recipe): ModelDefinition {
  const definition = causalDefinitionFor(model);
  const { context } = definition.geometry(definition.parseConfig({ ...model, vocab_size: vocabulary.size }));
  if (training.contextLength <= context) return definition;
  throw new UserError(
    `recipe: expected a training.contextLength of at most ${context} (the model's context), got ${training.contextLength}`,
  );
}

/** Train; yields progress and returns the model. Stopping it leaves a state in `folder` that the next call continues. */
export async function* pretrain({
  runtime,
  recipe,
  files: given,
  folder,
  signal,
}: PretrainOptions): AsyncGenerator<MethodEvent, Pretrained> {
  if (given.length === 0)
    throw new UserError("pretrain: expected at least one text file, got none; name files or a folder with --data");
  const definition = definitionOf(recipe);
  const files = [...given].sort((a, b) => (basename(a) < basename(b) ? -1 : 1));
  await claimFolder(folder, recipe, files);
  const sizes = await Promise.all(files.map(async (file) => (await stat(file)).size));
  const identity = createHash("sha256")
    .update(JSON.stringify([recipe, files.map((file, i) => [basename(file), sizes[i]])]))
    .digest("hex");
  yield { type: "note", message: `vocabulary and tokens of ${files.length} files` };
  const tokenizer = await prepareTokenizer(recipe, files, folder);
  const stream = await prepareTokens(tokenizer, files, folder);
  const config: Record<string, unknown> = {
    ...recipe.model,
    vocab_size: tokenizer.vocabSize,
    bos_token_id: null,
    eos_token_id: endOf(tokenizer),
  };
  const parsed = definition.parseConfig(config);
  const rule = gpt2Rule({ layers: definition.geometry(parsed).layers });
  const weights = initialize(definition.shapes(parsed), rule, recipe.seed);
  const {
    contextLength,
    batchSize,
    accumulate,
    tokens,
    learningRate,
    warmupSteps,
    floor,
    weightDecay,
    b1,
    b2,
    clipNorm,
  } = recipe.training;
  const batches = packTokens(stream, { contextLength, batchSize, eosId: endOf(tokenizer), seed: recipe.seed });
  const steps = Math.ceil(tokens / (batches.batchSize * contextLength * accumulate));
  const objective = await createObjective({
    runtime,
    definition,
    config: parsed,
    weights,
    trainable: Object.keys(weights),
    batchSize: batches.batchSize,
    contextLength,
    seed: recipe.seed,
  });
  let result: TrainResult;
  try {
    result = yield* train({
      objective,
      batches,
      weights: Object.fromEntries(Object.entries(weights).map(([name, { data }]) => [name, data])),
      optimizer: adamw({ b1, b2, weightDecay, decayFilter: isDecayed }),
      learningRate,
      schedule: cosine,
      scheduleOptions: { warmupSteps, totalSteps: steps, floor },
      steps,
      accumulate,
      clipNorm,
      checkpoint: { folder, everySeconds: 120, identity },
      signal,
    });
  } finally {
    await objective.dispose();
  }
  const bytes = sizes.reduce((a, b) => a + b, 0);
  return {
    result,
    weights,
    config,
    definition,
    tokenizerFolder: folder,
    corpus: { files: files.map((f) => basename(f)), bytes, tokens: stream.length },
  };
}
