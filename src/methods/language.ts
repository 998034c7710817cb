/**
 * The face of a language model that all methods show: scoring, generation, batched answers, rated answers, a look
 * inside. Every part is compiled on first use, since a method that only learns needs none of them.
 */
import type { Tokenizer } from "../checkpoint/tokenizer.ts";
import { UserError } from "../errors.ts";
import { answerTexts, textIds } from "../models/answer.ts";
import type { Condition, ConditionKind } from "../models/condition.ts";
import { createDecoder, type Model } from "../models/decoder.ts";
import { generateText } from "../models/generate.ts";
import { createInspector, type Inspection, type Inspector } from "../models/inspect.ts";
import { createScorer } from "../models/score.ts";
import { type Lazy, lazy } from "../runtime/lazy.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { AnswerOptions, Inspected, Method, RatedAnswer, Sampling, Score } from "./method.ts";
import { promptOf } from "./prompt.ts";

export interface LanguageFaceOptions {
  readonly runtime: Runtime;
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  /** Tokens that end a text. */
  readonly eosIds: readonly number[];
  /** true for weights that never change: faster. false (the default): training shows at once. */
  readonly frozen?: boolean;
  /** Every prompt is told a condition of this kind beside its text; looks inside have none. */
  readonly conditioned?: ConditionKind;
}

interface Conditions {
  /** One for each prompt, where the face is conditioned. */
  readonly conditions?: readonly Condition[];
}

export interface LanguageFace {
  score(prompt: string, continuation: string, condition?: Condition): Promise<Score>;
  /** As `score`, of token ids from index `from` on; all that fits into the context is read at once. */
  scoreIds(sequences: readonly { ids: readonly number[]; from: number }[]): Promise<{ nats: number; tokens: number }[]>;
  generate(prompt: string, options?: Sampling & Conditions): AsyncGenerator<string>;
  /** Greedy answers to whole prompts (prompt.ts), in order. */
  answer(prompts: readonly string[], options?: AnswerOptions & Conditions): Promise<string[]>;
  /** Likelihood of each answer after its whole prompt and one blank. */
  rate(
    pairs: readonly { prompt: string; answer: string; condition?: Condition }[],
    options?: AnswerOptions,
  ): Promise<RatedAnswer[]>;
  /** Texts longer than the context are cut there. */
  inspect(texts: readonly string[], wanted: Inspected): Promise<Inspection[]>;
  dispose(): Promise<void>;
}

export function languageFace({
  runtime,
  model,
  tokenizer,
  eosIds,
  frozen = false,
  conditioned,
}: LanguageFaceOptions): LanguageFace {
  const scorer = lazy(() => createScorer(runtime, model, tokenizer, { frozen, conditioned }));
  const decoder = lazy(() => createDecoder(runtime, model, { frozen, conditioned }));
  /** Of the layers asked for last: diagnostics ask for the same ones again, but too seldom to freeze weights for. */
  let inspector: { key: string; of: Lazy<Inspector> } | undefined;

  const inspectorOf = async (wanted: Inspected): Promise<Inspector> => {
    const key = JSON.stringify([wanted.hidden, wanted.attentions]);
    if (inspector?.key === key) return inspector.of.get();
    const old = inspector?.of.made();
    const of = lazy(() => createInspector(runtime, model, wanted));
    inspector = { key, of };
    await old?.then((made) => made.dispose());
    return of.get();
  };

  return {
    score: async (prompt, continuation, condition) =>
      (await scorer.get()).scoreText(prompt, continuation, undefined, condition),
    scoreIds: async (sequences) =>
      (await scorer.get()).scoreSequences(sequences, { contextLength: model.geometry.context }),
    async *generate(prompt, options) {
      yield* generateText(await decoder.get(), tokenizer, prompt, { ...options, eosIds });
    },
    answer: async (prompts, options) => answerTexts(await decoder.get(), tokenizer, prompts, { ...options, eosIds }),
    async rate(pairs, { signal, onProgress } = {}) {
      const empty = pairs.findIndex(({ answer }) => answer.trim() === "");
      if (empty >= 0) throw new UserError(`rate: expected an answer in every pair, got none in pair ${empty}; add one`);
      const texts = pairs.map(({ prompt, answer, condition }) => ({
        prompt,
        continuation: ` ${answer.trim()}`,
        condition,
      }));
      return (await scorer.get()).rateTexts(texts, {
        contextLength: model.geometry.context,
        signal,
        onProgress,
      });
    },
    async inspect(texts, wanted) {
      const made = await inspectorOf(wanted);
      const found: Inspection[] = [];
      for (const text of texts) {
        found.push(await made.inspect([textIds(tokenizer, text).slice(0, model.geometry.context)]));
      }
      return found;
    },
    async dispose() {
      await decoder.made()?.then((made) => made.dispose());
      await scorer.made()?.then((made) => made.dispose());
      await inspector?.of.made()?.then((made) => made.dispose());
    },
  };
}

/** What a method shows that puts nothing before a question. */
export const askedBare = (
  face: LanguageFace,
): Pick<Method, "score" | "generate" | "answer" | "rate" | "inspect" | "dispose"> => ({
  score: (prompt, continuation) => face.score(prompt, continuation),
  generate: face.generate,
  answer: (queries, options) =>
    face.answer(
      queries.map((query) => promptOf(query)),
      options,
    ),
  rate: (pairs, options) =>
    face.rate(
      pairs.map(({ query, answer }) => ({ prompt: promptOf(query), answer })),
      options,
    ),
  inspect: face.inspect,
  dispose: face.dispose,
});
