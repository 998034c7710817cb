/** What pretraining asks of an objective: everything in which a language model and a sentence encoder differ. */
import type { Tokenizer } from "../checkpoint/tokenizer.ts";
import { readTextFile } from "../checkpoint/text.ts";
import type { Definition } from "../models/model.ts";
import type { InitRule } from "../nn/init.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { HostTensor } from "../tensor/dtype.ts";
import type { Counted } from "./batches.ts";
import type { PairSource } from "./contrastive.ts";
import type { ExampleSource } from "./mixture.ts";
import type { Recipe } from "./pretrain-recipe.ts";
import type { TrainOptions } from "./train.ts";

/** What a recipe's mixtures may name beside the texts. */
export interface Sources {
  /** Generated texts, for language models. */
  readonly examples?: Readonly<Record<string, ExampleSource>>;
  /** Generated pairs, for sentence encoders. */
  readonly pairs?: Readonly<Record<string, PairSource>>;
}

export interface Corpus {
  /** Sorted by name. */
  readonly files: readonly string[];
  readonly sources: Sources;
}

interface StageContext {
  readonly runtime: Runtime;
  readonly weights: Readonly<Record<string, HostTensor<"float32">>>;
  /** Parsed. */
  readonly config: unknown;
}

/** What the training loop needs of a stage. */
type StageTraining = Pick<TrainOptions<Counted>, "objective" | "batches" | "steps" | "accumulate" | "tables">;

/** An objective with its vocabulary and texts at hand. */
interface Prepared {
  /** Tokens of the files; 0 where they are not made into tokens at once. */
  readonly tokens: number;
  stage(index: number, context: StageContext): Promise<StageTraining>;
}

export interface PretrainObjective<R extends Recipe> {
  /** The architecture that the recipe names, refused before any work where the recipe does not fit it. */
  definition(recipe: R): Definition;
  /** What the vocabulary is made from. */
  vocabularyTexts(recipe: R, corpus: Corpus): AsyncIterable<string>;
  /** tokenizer_config.json. */
  tokenizerConfig(recipe: R): Readonly<Record<string, unknown>>;
  /** Token ids in config.json. */
  tokenFields(tokenizer: Tokenizer): Readonly<Record<string, number | null>>;
  /** Values before the first step. */
  initial(layers: number): InitRule;
  prepare(recipe: R, corpus: Corpus, tokenizer: Tokenizer, folder: string): Promise<Prepared>;
}

/** File by file. */
export async function* textsOf(files: readonly string[]): AsyncGenerator<string> {
  for (const file of files) yield (await readTextFile(file)).text;
}
