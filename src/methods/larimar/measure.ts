/** What a fitted module is worth before any memory: does it answer, exactly, what it was told to answer? */
import type { LoadedModel } from "../../models/load.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { pick, randomStream } from "../../tensor/random.ts";
import type { Document } from "../method.ts";
import { promptOf } from "../prompt.ts";
import { answerIds, factsOf, promptIdsOf } from "../stated.ts";
import type { LarimarModule } from "./module.ts";
import { createReader } from "./reader.ts";

export interface MeasureModuleOptions {
  readonly runtime: Runtime;
  readonly base: LoadedModel;
  readonly module: LarimarModule;
  /** Facts that were not practised. */
  readonly documents: readonly Document[];
  readonly seed: number;
  readonly signal?: AbortSignal;
}

/** Tokens of the random answers that are measured. */
const LENGTHS = [1, 4, 8] as const;

/** Shares of free greedy answers that are exact: of held-out facts asked otherwise, and of random strings by length. */
export async function measureModule(options: MeasureModuleOptions): Promise<Record<string, number>> {
  const { runtime, base, module, documents, seed, signal } = options;
  const { tokenizer } = base;
  const random = randomStream(seed, "measure");
  const facts = documents.flatMap((document) => factsOf(document));
  if (facts.length === 0) return {};
  const reader = createReader({ runtime, base, module, frozen: false });
  const exact = async (targets: readonly string[]): Promise<number> => {
    const asked = facts.map(({ prompt, rephrased = [] }) => promptOf(pick([prompt, ...rephrased], random)));
    const texts = facts.map(({ prompt }, i) => {
      const before = promptIdsOf(tokenizer, prompt);
      return { ids: [...before, ...answerIds(tokenizer, targets[i])], before: before.length };
    });
    const fits = texts.flatMap(({ ids }, i) => (ids.length <= module.config.latent.encoderContext ? [i] : []));
    if (fits.length === 0) return 0;
    const conditions = await reader.conditions(await reader.latents(fits.map((i) => texts[i])));
    const given = await reader.face.answer(
      fits.map((i) => asked[i]),
      { conditions, signal },
    );
    return given.filter((answer, k) => answer === targets[fits[k]].trim()).length / fits.length;
  };
  const words = [...Array(tokenizer.vocabSize).keys()]
    .filter((id) => !tokenizer.isSpecial(id))
    .map((id) => tokenizer.decode([id]))
    .filter((text) => /^ ?[\p{L}\p{N}]+$/u.test(text));
  const strings = (length: number): string[] =>
    facts.map(() =>
      Array.from({ length }, () => pick(words, random))
        .join("")
        .trim(),
    );
  try {
    const measured: Record<string, number> = { facts: await exact(facts.map(({ target }) => target)) };
    for (const length of LENGTHS) measured[`strings of ${length}`] = await exact(strings(length));
    return measured;
  } finally {
    await reader.dispose();
  }
}
