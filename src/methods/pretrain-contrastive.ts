/** Pretraining of a sentence encoder: pairs that mean the same, from the texts and from generated sources. */
import { UserError } from "../errors.ts";
import { definitionFor } from "../models/index.ts";
import type { EncoderDefinition } from "../models/model.ts";
import { gpt2Rule, normal } from "../nn/init.ts";
import { randomStream } from "../tensor/random.ts";
import { createContrastiveObjective, pairBatches, type PairSource } from "./contrastive.ts";
import { type Corpus, type PretrainObjective, textsOf } from "./pretrain-objective.ts";
import type { ContrastiveRecipe } from "./pretrain-recipe.ts";
import { sentencePairs } from "./sentence-pairs.ts";
import { sharesOf } from "./shares.ts";

/** Pairs drawn at once for the vocabulary. */
const VOCABULARY_PAIRS = 32;

function encoderFor({ model, vocabulary, stages }: ContrastiveRecipe): EncoderDefinition {
  const definition = definitionFor(model);
  if (definition.kind !== "encoder") {
    throw new UserError(
      `recipe: expected an encoder for the contrastive objective, got ${definition.modelType}; set model.model_type ` +
        "to bert",
    );
  }
  const { context } = definition.geometry(definition.parseConfig({ ...model, vocab_size: vocabulary.size }));
  const longest = Math.max(...stages.map(({ maxTokens }) => maxTokens));
  if (longest <= context) return definition;
  throw new UserError(
    `recipe: expected maxTokens of at most ${context} (the model's context), got ${longest}; shorten the stage`,
  );
}

async function sourcesOf({ files, sources }: Corpus): Promise<Record<string, PairSource>> {
  const texts: string[] = [];
  for await (const text of textsOf(files)) texts.push(text);
  return { ...sources.pairs, texts: sentencePairs(texts) };
}

export const contrastive: PretrainObjective<ContrastiveRecipe> = {
  definition: encoderFor,
  /** As many sentences of each source, so that texts do not crowd out the names of worlds. */
  async *vocabularyTexts({ seed, vocabulary, stages: [{ mixture }] }, corpus) {
    const sources = await sourcesOf(corpus);
    for (const name of sharesOf(mixture, Object.keys(sources)).names)
      for (let i = 0; i < vocabulary.examples; i++)
        yield sources[name]
          .pairs(randomStream(seed, "vocabulary", name, i), VOCABULARY_PAIRS)
          .map((pair) => pair.join("\n"))
          .join("\n");
  },
  tokenizerConfig: ({ vocabulary: { specialTokens } }) => ({
    tokenizer_class: "PreTrainedTokenizerFast",
    pad_token: specialTokens[0],
  }),
  tokenFields: (tokenizer) => ({ pad_token_id: tokenizer.padId ?? 0 }),
  // Places and types begin small beside the words, whose mean is a good vector from the start
  initial(layers) {
    const rule = gpt2Rule({ layers });
    return (name, shape) => (/(position|token_type)_embeddings/.test(name) ? normal(0.002) : rule(name, shape));
  },
  async prepare(recipe, corpus, tokenizer) {
    const definition = encoderFor(recipe);
    const sources = await sourcesOf(corpus);
    return {
      tokens: 0,
      async stage(index, { runtime, config, weights }) {
        const { batchSize, maxTokens, mixture, temperature, steps, accumulate } = recipe.stages[index];
        const seed = recipe.seed + index;
        const padId = definition.padId(config);
        return {
          batches: pairBatches({ tokenizer, sources, shares: mixture, batchSize, maxTokens, padId, seed }),
          objective: await createContrastiveObjective({
            runtime,
            definition,
            config,
            weights,
            batchSize,
            temperature,
            seed,
          }),
          steps,
          accumulate,
        };
      },
    };
  },
};
