import { afterAll, describe, expect, test } from "vitest";
import { expectClose } from "../../tests/support/close.ts";
import { decoderOf, nextLogits, readTensors, repositoryFile } from "../../tests/support/model-fixture.ts";
import { createRuntime } from "../runtime/runtime.ts";
import type { HostTensor } from "../tensor/dtype.ts";
import { beamSearch } from "./beam.ts";
import { createDecoder, type Decoder } from "./decoder.ts";
import { loadCheckpoint } from "./load.ts";
import { logSoftmaxInPlace } from "./sampling.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());

const folder = repositoryFile("tests/fixtures/llama");
const model = decoderOf(await loadCheckpoint(folder));
const reference = await readTensors(`${folder}/reference.safetensors`);
const decoder = await createDecoder(runtime, model);
const inputs = reference.get("input_ids") as HostTensor<"int32">;
const prompt = Array.from(inputs.data.subarray(0, inputs.shape[1]));
const numbers = (name: string): number[] => Array.from(reference.get(name)?.data as Float32Array);

test.each([
  ["beam", { beams: 3, maxTokens: 8, lengthPenalty: 1 }],
  ["group", { beams: 4, groups: 2, maxTokens: 8, diversityPenalty: 0.5, lengthPenalty: 0 }],
])("%s search finds the reference's hypotheses", async (name, options) => {
  const found = await beamSearch(decoder, prompt, options);
  expect(found.flatMap(({ ids }) => ids)).toEqual(numbers(`${name}.ids`));
  expectClose(
    "log-probabilities",
    found.map(({ logProb }) => logProb),
    numbers(`${name}.log_probs`),
    { absolute: 1e-4, relative: 1e-5 },
  );
  expectClose(
    "scores",
    found.map(({ score }) => score),
    numbers(`${name}.scores`),
    { absolute: 1e-4, relative: 1e-5 },
  );
});

test("one beam is greedy", async () => {
  const [{ ids }] = await beamSearch(decoder, prompt, { beams: 1, maxTokens: 12 });
  expect(ids).toEqual(numbers("greedy_ids"));
});

test("scores that are NaN are refused", async () => {
  const broken: Decoder = {
    ...decoder,
    step: async () => new Float32Array(model.geometry.vocabulary).fill(Number.NaN),
  };
  await expect(beamSearch(broken, prompt)).rejects.toThrow(/expected finite scores for the next token, got NaN/);
});

describe("end tokens", () => {
  /** Every sequence of up to `steps` tokens that ends with an end token or is full, by brute force over the best few. */
  async function exhaustive(steps: number, ends: readonly number[], lengthPenalty: number) {
    const logits = await nextLogits(runtime, model);
    const found: { ids: number[]; score: number }[] = [];
    const visit = async (ids: number[], total: number): Promise<void> => {
      if (ids.length === steps || ends.includes(ids[ids.length - 1])) {
        found.push({ ids, score: total / ids.length ** lengthPenalty });
        return;
      }
      const row = logSoftmaxInPlace((await logits([...prompt, ...ids])).last.slice());
      for (const [token, value] of row.entries())
        if (ids.length < steps - 1 || value > -6) await visit([...ids, token], total + value);
    };
    await visit([], 0);
    return found.sort((a, b) => b.score - a.score);
  }

  test("complete hypotheses compete by normalised score: as wide as the tree, the search is exhaustive", async () => {
    const ends = [...Array(6).keys()].map((i) => 5 + 9 * i);
    for (const lengthPenalty of [0, 1]) {
      const [best] = await exhaustive(2, ends, lengthPenalty);
      const [found] = await beamSearch(decoder, prompt, { beams: 60, maxTokens: 2, eosIds: ends, lengthPenalty });
      expect(found.ids).toEqual(best.ids);
      expect(found.score).toBeCloseTo(best.score, 4);
    }
  });

  test("a search in which everything ends, ends", async () => {
    const found = await beamSearch(decoder, prompt, { beams: 3, maxTokens: 20, eosIds: [...Array(56).keys()] });
    expect(found.map(({ ids }) => ids.length)).toEqual([1, 1, 1]);
    expect(found[0].score).toBeGreaterThanOrEqual(found[1].score);
  });
});

test("several end tokens ahead of all others do not starve the beams", async () => {
  // Three ends of logit 0 and five other tokens of logit -1, whatever came before; long hypotheses are favoured
  const scores = Float32Array.of(0, 0, 0, -1, -1, -1, -1, -1);
  const logZ = Math.log(3 + 5 / Math.E);
  let batch = 1;
  const cache = {
    get batch() {
      return batch;
    },
    length: 0,
    select: (rows: ArrayLike<number>) => {
      batch = rows.length;
    },
    bytes: () => 0,
  };
  const flat: Decoder = {
    geometry: { ...model.geometry, vocabulary: 8 },
    createCache: () => cache,
    join: () => cache,
    step: async () => Float32Array.from({ length: batch * 8 }, (_, i) => scores[i % 8]),
    dispose: async () => {},
  };
  const [best] = await beamSearch(flat, [3], { beams: 4, maxTokens: 5, eosIds: [0, 1, 2], lengthPenalty: 3 });
  expect(best.ids).toHaveLength(5);
  expect(best.score).toBeCloseTo((4 * (-1 - logZ) - logZ) / 5 ** 3, 6);
});

test("the context ends a search; senseless options are refused", async () => {
  const long = Array.from({ length: 62 }, (_, i) => i % 56);
  expect((await beamSearch(decoder, long, { beams: 2, maxTokens: 20 }))[0].ids).toHaveLength(3);
  await expect(beamSearch(decoder, prompt, { beams: 3, groups: 2 })).rejects.toThrow(
    "divisible by groups, got 3 beams in 2 groups",
  );
  await expect(beamSearch(decoder, prompt, { beams: 0 })).rejects.toThrow("beams to be 1 or more, got 0");
  await expect(beamSearch(decoder, [], {})).rejects.toThrow("1 or more tokens");
});
