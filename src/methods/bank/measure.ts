/** What a fitted module is worth: held-out documents, one question each, the right document among three others. */
import { createQuantizer } from "../../memory/quantizers.ts";
import type { LoadedModel } from "../../models/load.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { pick, randomStream } from "../../tensor/random.ts";
import type { Document } from "../method.ts";
import { promptOf } from "../prompt.ts";
import { factsOf } from "../stated.ts";
import { type ModeName, modes } from "./modes.ts";
import type { BankModule } from "./module.ts";
import { createReader } from "./reader.ts";

export interface MeasureModuleOptions {
  readonly runtime: Runtime;
  readonly base: LoadedModel;
  readonly module: BankModule;
  /** Documents that were not practised. */
  readonly documents: readonly Document[];
  readonly seed: number;
  readonly signal?: AbortSignal;
}

/** Documents beside the right one, and how far they are set back. */
const BESIDE = 3;
const BIAS = -4;

/** Shares of free greedy answers that are exact, by precision of the bank; and with the document in the context. */
export async function measureModule(options: MeasureModuleOptions): Promise<Record<string, number>> {
  const { runtime, base, module, documents, seed, signal } = options;
  const { encoder } = module;
  const { slots: T, width: D } = module.config.shape;
  const random = randomStream(seed, "measure");
  const asked = documents.flatMap((document) => {
    const facts = factsOf(document);
    const ids = encoder.documentIds(document.text);
    if (facts.length === 0 || ids.length === 0 || ids.length > encoder.context) return [];
    const fact = pick(facts, random);
    return [{ ids, text: document.text.trim(), query: pick([fact.prompt, ...(fact.rephrased ?? [])], random), fact }];
  });
  if (asked.length <= BESIDE) return {};
  const reader = createReader({ runtime, base, module, frozen: false });
  const size = T * D;
  const right = (given: readonly string[]): number =>
    given.filter((answer, i) => answer === asked[i].fact.target.trim()).length / asked.length;
  try {
    const slots = await reader.slots(asked.map(({ ids }) => ids));
    const questions = await reader.questions(asked.map(({ query }) => encoder.questionIds(query)));
    const answers = async (bank: Float32Array): Promise<number> => {
      const latents = new Float32Array(asked.length * size);
      for (const i of asked.keys()) {
        const seen = Array.from({ length: BESIDE + 1 }, (_, k) => (i + k) % asked.length);
        const own = new Float32Array(seen.length * size);
        for (const [k, j] of seen.entries()) own.set(bank.subarray(j * size, (j + 1) * size), k * size);
        const bias = Float32Array.from(seen, (j) => (j === i ? 0 : BIAS));
        const found = await reader.aggregate(questions.subarray(i * size, (i + 1) * size), own, bias);
        latents.set(found.latents, i * size);
      }
      const prompts = asked.map(({ query }) => promptOf(query, [""]));
      return right(await reader.face.answer(prompts, { conditions: await reader.conditions(latents), signal }));
    };
    const through = (kind: ModeName): Float32Array => {
      const { encode, decode } = createQuantizer(modes[kind].codebook(module, module.config.depth));
      return decode(encode(slots).indices);
    };
    return {
      "full precision": await answers(slots),
      "residual codes": await answers(through("mbc-residual")),
      "one code for a slot": await answers(through("mbc")),
    };
  } finally {
    await reader.dispose();
  }
}
