/** Conditions: cached decoding under one equals reading all at once with prefix and addition; rows keep their own. */
import { afterAll, describe, expect, test } from "vitest";
import { expectClose } from "../../tests/support/close.ts";
import { decoderOf, repositoryFile } from "../../tests/support/model-fixture.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { int32Host } from "../tensor/dtype.ts";
import { input, reshape, slice } from "../tensor/functions.ts";
import { randomStream } from "../tensor/random.ts";
import { addedRow, type Condition, type ConditionKind, memoryConditions, slotConditions } from "./condition.ts";
import { createDecoder, type Model } from "./decoder.ts";
import { collect, generate } from "./generate.ts";
import { modelParams } from "./instance.ts";
import { loadCheckpoint } from "./load.ts";
import { readPrompts } from "./read-prompts.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());

const SAME = { absolute: 3e-5, relative: 1e-5 };
const load = async (name: string): Promise<Model> =>
  decoderOf(await loadCheckpoint(repositoryFile(`tests/fixtures/${name}`)));
const IDS = [3, 17, 8, 41, 5, 22, 30, 11, 9, 40, 2];
const PLACES = 4;

/** A condition of each kind, from random numbers. */
const kinds: Record<string, { kind: ConditionKind; make: (model: Model, seed: number) => Condition }> = {
  slots: {
    kind: slotConditions,
    make({ geometry: { layers, kvHeads, headDim, width } }, seed) {
      const random = randomStream(seed, "condition");
      return {
        slots: random.fillNormal(new Float32Array(layers * kvHeads * headDim), 0, 2),
        added: random.fillNormal(new Float32Array(PLACES * width), 0, 0.5),
      };
    },
  },
  memory: {
    kind: memoryConditions,
    make({ geometry: { layers, kvHeads, headDim } }, seed) {
      const random = randomStream(seed, "memory");
      return { memory: random.fillNormal(new Float32Array(2 * layers * kvHeads * PLACES * headDim), 0, 2) };
    },
  },
};

/** Scores after the last of these tokens, all read at once. */
async function uncached(kind: ConditionKind, model: Model, ids: readonly number[], condition: Condition, last: number) {
  const { definition, config, geometry } = model;
  const p = modelParams(model);
  const { final } = definition.forward(p, config, {
    ids: input("ids", "int32", ["B", "T"]),
    ...kind.inputs(geometry),
  });
  const state = reshape(slice(final, { axis: 1, start: ids.length - 1, end: ids.length }), ["B", geometry.width]);
  const program = await runtime.compile({ logits: definition.logits(p, config, state) }, model.weights);
  const { logits } = await program.run({
    ids: int32Host([1, ids.length], ids),
    ...kind.feeds(geometry, [{ ...condition, last }], [...ids.keys()]),
  });
  await program.release();
  return logits.data as Float32Array;
}

test("a place's row", () => {
  expect([0, 3, 4, 5, 6, 7].map((position) => addedRow(position, 4, 3))).toEqual([0, 0, 1, 2, 0, 0]);
});

const names = ["llama", "llama-tied", "mistral", "gpt2", "qwen2", "qwen3"];
describe.each(names.flatMap((name) => Object.entries(kinds).map(([what, of]) => ({ name, what, ...of }))))(
  "$name told $what",
  ({ name, kind, make: conditionOf }) => {
    test("cached decoding equals reading all at once", async () => {
      const model = await load(name);
      const condition = conditionOf(model, 1);
      const last = 5;
      for (const frozen of [true, false]) {
        const decoder = await createDecoder(runtime, model, { frozen, conditioned: kind });
        const cache = decoder.createCache(1, 2, [{ ...condition, last }]);
        for (let t = 0; t < IDS.length; t++) {
          const got = await decoder.step(cache, [IDS[t]]);
          expectClose(`token ${t}`, got, await uncached(kind, model, IDS.slice(0, t + 1), condition, last), SAME);
        }
        await decoder.dispose();
      }
    });

    test("a batch equals single rows, also after rows were picked", async () => {
      const model = await load(name);
      const decoder = await createDecoder(runtime, model, { conditioned: kind });
      const V = decoder.geometry.vocabulary;
      const prompts = [IDS.slice(0, 3), IDS.slice(2, 9), IDS.slice(4, 8)];
      const conditions = [1, 2, 3].map((seed) => conditionOf(model, seed));
      const { cache, logits } = await readPrompts(decoder, prompts, 16, conditions);
      for (const [b, prompt] of prompts.entries()) {
        const alone = await uncached(kind, model, prompt, conditions[b], prompt.length - 1);
        expectClose(`row ${b}`, logits.subarray(b * V, (b + 1) * V), alone, SAME);
      }
      cache.select([2, 0]);
      const got = await decoder.step(cache, [7, 9], [4, 3]);
      for (const [k, [row, token]] of [
        [2, 7],
        [0, 9],
      ].entries()) {
        const ids = [...prompts[row], token];
        expectClose(
          `picked ${row}`,
          got.subarray(k * V, (k + 1) * V),
          await uncached(kind, model, ids, conditions[row], ids.length - 2),
          SAME,
        );
      }
      const all = await collect(generate(decoder, prompts, { maxTokens: 6, conditions }));
      for (const [b, prompt] of prompts.entries()) {
        const [alone] = await collect(generate(decoder, [prompt], { maxTokens: 6, conditions: [conditions[b]] }));
        expect(all[b].tokens).toEqual(alone.tokens);
      }
      await decoder.dispose();
    });
  },
);
