/** Pretraining of a language model: all texts as one stream of tokens, mixed with generated examples; cross-entropy. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { exists, writeFileAtomic } from "../checkpoint/files.ts";
import type { Tokenizer } from "../checkpoint/tokenizer.ts";
import { UserError } from "../errors.ts";
import { causalDefinitionFor } from "../models/index.ts";
import type { ModelDefinition } from "../models/model.ts";
import { gpt2Rule } from "../nn/init.ts";
import { withMemory } from "../nn/memory-layer.ts";
import { rowAdamw } from "../nn/sparse-optim.ts";
import { randomStream } from "../tensor/random.ts";
import { mixedBatches } from "./mixture.ts";
import { createObjective } from "./objective.ts";
import { type PretrainObjective, textsOf } from "./pretrain-objective.ts";
import type { LanguageRecipe } from "./pretrain-recipe.ts";

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

function causalFor({ model, vocabulary, stages }: LanguageRecipe): ModelDefinition {
  const definition = causalDefinitionFor(model);
  const { context } = definition.geometry(definition.parseConfig({ ...model, vocab_size: vocabulary.size }));
  const longest = Math.max(...stages.map(({ contextLength }) => contextLength));
  if (longest <= context) return definition;
  throw new UserError(
    `recipe: expected a contextLength of at most ${context} (the model's context), got ${longest}; shorten the stage`,
  );
}

export const language: PretrainObjective<LanguageRecipe> = {
  definition: causalFor,
  async *vocabularyTexts({ seed, stages: [{ mixture, contextLength }], vocabulary }, { files, sources }) {
    yield* textsOf(files);
    const { examples = {} } = sources;
    for (const name of Object.keys(mixture).filter((one) => Object.hasOwn(examples, one)))
      for (let i = 0; i < vocabulary.examples; i++) {
        const random = randomStream(seed, "vocabulary", name, i);
        yield examples[name]
          .example(random, contextLength)
          .map(({ text }) => text)
          .join("");
      }
  },
  tokenizerConfig: ({ vocabulary }) => ({
    tokenizer_class: "PreTrainedTokenizerFast",
    eos_token: vocabulary.specialTokens[0],
    bos_token: null,
    add_bos_token: false,
  }),
  tokenFields: (tokenizer) => ({ bos_token_id: null, eos_token_id: endOf(tokenizer) }),
  initial: (layers) => withMemory(gpt2Rule({ layers })),
  async prepare(recipe, { files, sources }, tokenizer, folder) {
    const definition = causalFor(recipe);
    const stream = await prepareTokens(tokenizer, files, folder);
    return {
      tokens: stream.length,
      async stage(index, { runtime, config, weights }) {
        const { contextLength, batchSize, accumulate, mixture, tokens, b1, b2, learningRate, values } =
          recipe.stages[index];
        const { weightDecay = 0, ...own } = values ?? { learningRate: 10 * learningRate, clipNorm: 1 };
        const seed = recipe.seed + index;
        const steps = Math.ceil(tokens / (batchSize * contextLength * accumulate));
        const batches = mixedBatches({
          tokenizer,
          stream,
          sources: sources.examples ?? {},
          shares: mixture,
          rowCount: steps * batchSize * accumulate,
          contextLength,
          batchSize,
          eosId: endOf(tokenizer),
          seed,
        });
        const objective = await createObjective({
          runtime,
          definition,
          config,
          weights,
          trainable: Object.keys(weights),
          tables: definition.tables(config),
          batchSize,
          contextLength,
          seed,
        });
        const tables = { ...own, optimizer: rowAdamw({ b1, b2, weightDecay }) };
        return { objective, batches, steps, accumulate, tables };
      },
    };
  },
};
