/**
 * The straight path: where slots have room for all that is stored and nothing adds to it, a document in the bank is read
 * as if it stood before the question.
 */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { stirred, tinyModule } from "../../../tests/support/bank-module.ts";
import { expectClose } from "../../../tests/support/close.ts";
import { nextLogits } from "../../../tests/support/model-fixture.ts";
import { textModel } from "../../../tests/support/text-model.ts";
import { workbench } from "../../../tests/support/workbench.ts";
import { type Condition, memoryConditions } from "../../models/condition.ts";
import { createDecoder } from "../../models/decoder.ts";
import { modelParams } from "../../models/instance.ts";
import type { LoadedModel, Weights } from "../../models/load.ts";
import { createScorer } from "../../models/score.ts";
import { int32Host } from "../../tensor/dtype.ts";
import { concat, constant, input } from "../../tensor/functions.ts";
import { randomStream } from "../../tensor/random.ts";
import { adaptedModel } from "./module.ts";
import { createReader } from "./reader.ts";
import type { BankShape } from "./shape.ts";
import { straighten } from "./start.ts";

const { runtime, root } = workbench("bank-start");

/** P = 64: the states of both layers have as many numbers, so no more than that can be told of a token. */
const shape: BankShape = {
  slots: 4,
  width: 128,
  places: 2,
  encoderWidth: 8,
  encoderLayers: 1,
  encoderHeads: 2,
  inner: 8,
  blocks: 2,
  blockHeads: 2,
  blockInner: 8,
  context: 16,
};
const M = shape.slots * shape.places;

/** What adds to the straight path adds nothing, and a slot looks at none but the like one. */
function silence(weights: Weights): void {
  for (const [name, { data }] of Object.entries(weights)) {
    if (/(document|question)\.output|\.down\.|blocks\.[1-9]\.attention\.output/.test(name)) data.fill(0);
    if (/blocks\.0\.attention\.(asking|asked)/.test(name)) data.set((data as Float32Array).map((value) => 4 * value));
  }
}

/** What a document leaves in the base's cache, as a memory at the positions -M..-1. */
async function exactMemory(
  { definition, config, weights, ...base }: LoadedModel,
  ids: readonly number[],
): Promise<Condition> {
  const { present } = definition.forward(modelParams({ definition, config, weights, ...base }), config, {
    ids: input("ids", "int32", [1, M]),
  });
  const back = constant(int32Host([M], new Int32Array(M).fill(-M)));
  const parts = present.flatMap(({ key, value }) => [definition.rotated?.(config, key, back) ?? key, value]);
  const program = await runtime.compile({ memory: concat(parts, { axis: 0 }) }, weights);
  const { memory } = await program.run({ ids: int32Host([1, M], ids) });
  return { memory: memory.data as Float32Array };
}

const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Math.sqrt(Array.from(a).reduce((sum, value, i) => sum + (value - b[i]) ** 2, 0));

const nats = (scores: Float32Array, target: number): number => {
  const most = scores.reduce((a, b) => Math.max(a, b));
  return Math.log(scores.reduce((sum, score) => sum + Math.exp(score - most), 0)) + most - scores[target];
};

describe.each([
  // Their norms divide by the same size as what is read of a token, so all that is stored is linear in it
  ["llama", 1e-3],
  ["qwen2", 1e-3],
  // A mean is taken off before that, and positions are absolute: compared with the document's own keys and values
  ["gpt2", 0.03],
] as const)("a straight path to %s", (architecture, lost) => {
  it("reads a document from the bank as if it stood before the question", async () => {
    const base = await textModel(join(root, architecture), { architecture });
    const { vocabulary: V } = base.geometry;
    stirred(base.weights, 3, /[qkv]_proj\.bias$/);
    const module = await tinyModule(base, { shape });
    const random = randomStream(1, "texts");
    const drawn = (length: number): number[] => Array.from({ length }, () => 2 + random.integer(V - 2));
    const texts = Array.from({ length: 128 }, () => drawn(M));
    expect(await straighten(runtime, base, module.weights, shape, texts, 1)).toBe(true);
    silence(module.weights);
    const [document, other, question] = [drawn(M), drawn(M), drawn(6)];
    const model = adaptedModel(base, module);
    const reader = createReader({ runtime, base, module });
    // Of two documents, one is set back
    const { latents } = await reader.aggregate(
      await reader.questions([question]),
      await reader.slots([document, other]),
      Float32Array.of(0, -1e9),
    );
    const [condition] = await reader.conditions(latents);
    const exact = await exactMemory(base, document);
    const decoder = await createDecoder(runtime, model, { conditioned: memoryConditions });
    const decoded = async (told: Condition): Promise<Float32Array> => {
      const cache = decoder.createCache(1, 2, [{ ...told, last: question.length - 1 }]);
      const scores = new Float32Array(question.length * V);
      for (const [t, id] of question.entries()) scores.set(await decoder.step(cache, [id]), t * V);
      return scores;
    };
    const logits = await nextLogits(runtime, base);
    const alone = (await logits(question)).all;
    const want = await decoded(exact);
    if (base.definition.rotated) {
      const inContext = (await logits([...document, ...question])).all.subarray(M * V);
      expectClose("in context", want, inContext, { absolute: 2e-5, relative: 1e-5 });
    }
    const got = await decoded(condition);
    // Of what the document changes
    expect(distance(got, want)).toBeLessThan(lost * distance(alone, want));

    const scorer = await createScorer(runtime, model, base.tokenizer, { conditioned: memoryConditions });
    const [scored] = await scorer.scoreSequences([{ ids: question, condition }]);
    const sum = question.slice(1).reduce((total, id, t) => total + nats(got.subarray(t * V, (t + 1) * V), id), 0);
    expect(scored.nats).toBeCloseTo(sum, 3);
    await Promise.all([decoder.dispose(), scorer.dispose(), reader.dispose()]);
  });
});

describe("without a straight path", () => {
  it.each([
    ["texts that are all alike", (length: number) => Array.from({ length }, () => 5), 9],
    ["no texts", () => [], 0],
  ] as const)("%s: weights stay random, and it says so", async (_, text, count) => {
    const base = await textModel(join(root, "alike"));
    const module = await tinyModule(base, { shape });
    const kept = Object.entries(module.weights).filter(([name]) => /patch|prefix/.test(name));
    const before = kept.map(([, { data }]) => Array.from(data));
    const texts = Array.from({ length: count }, (_, i) => text(4 + i));
    expect(await straighten(runtime, base, module.weights, shape, texts, 1)).toBe(false);
    expect(kept.map(([, { data }]) => Array.from(data))).toEqual(before);
  });
});
