/** The measure of encoders on vectors whose result is known, and the shipped encoder in an unseen world. */
import { afterAll, describe, expect, test } from "vitest";
import { createEmbedder } from "../../../models/embed.ts";
import { resolveModel } from "../../../models/embedded.ts";
import { loadEncoder } from "../../../models/load.ts";
import { createRuntime } from "../../../runtime/runtime.ts";
import { randomStream } from "../../../tensor/random.ts";
import { type EmbedTexts, measureEncoder } from "./encoder.ts";

const small = { seed: 970, people: 12, retrievalFacts: 60, retrievalSeed: 971, retrievalPeople: 12 };

describe("measure", () => {
  const random = randomStream(1, "noise");
  const noise: EmbedTexts = async (texts) => random.fillNormal(new Float32Array(texts.length * 16));

  test("vectors that mean nothing: half of all is wrong", async () => {
    const scores = await measureEncoder(noise, { ...small, people: 60 });
    expect(scores.equalErrorRate).toBeGreaterThan(0.45);
    expect(scores.equalErrorRate).toBeLessThan(0.55);
    expect(scores.areaUnderRoc).toBeCloseTo(0.5, 1);
    expect(scores.retrieval?.recallAt1).toBeLessThan(0.1);
    expect(scores.negatives).toBe(2 * scores.positives);
    expect(scores.positives).toBe(3 * scores.byKind["question-statement"].positives);
  });

  test("vectors of subjects alone cannot tell relations", async () => {
    // One axis for each first name found in the text: the subject of most questions and statements
    const axes = new Map<string, number>();
    const byName: EmbedTexts = async (texts) => {
      const vectors = new Float32Array(texts.length * 400);
      for (const [i, text] of texts.entries()) {
        const name = text.match(/[A-Z]\w+ [A-Z]\w+/g)?.at(-1) ?? "";
        if (!axes.has(name)) axes.set(name, axes.size % 400);
        vectors[i * 400 + (axes.get(name) as number)] = 1;
      }
      return vectors;
    };
    const { byNeighbour } = await measureEncoder(byName, { ...small, retrievalFacts: 0 });
    expect(byNeighbour.otherRelation.equalErrorRate).toBeGreaterThan(0.35);
    expect(byNeighbour.otherSubject.equalErrorRate).toBeLessThan(byNeighbour.otherRelation.equalErrorRate);
  });

  test("worlds that were trained on are refused", async () => {
    await expect(measureEncoder(noise, { ...small, seed: 1000 })).rejects.toThrow(
      "encoder: expected the seed of an unseen world, from 1 to 999, got 1000",
    );
    await expect(measureEncoder(noise, { ...small, retrievalSeed: 0 })).rejects.toThrow("got 0");
  });
});

describe("mneme-embed", () => {
  const runtime = createRuntime({ threads: 1 });
  afterAll(() => runtime.dispose());

  test("is an encoder of at most 4 MB that tells facts from their neighbours in an unseen world", async () => {
    const { folder } = await resolveModel("mneme-embed");
    const encoder = await loadEncoder(folder, { checkWeights: true });
    const size = Object.values(encoder.weights).reduce((sum, { data }) => sum + 2 * data.length, 0);
    expect(size).toBeLessThan(4e6);
    const embedder = await createEmbedder(runtime, encoder, { truncate: true });
    const scores = await measureEncoder(
      (texts) => embedder.embed(texts.map((text) => encoder.tokenizer.encode(text))),
      { ...small, people: 30, retrievalFacts: 200, retrievalPeople: 40 },
    );
    expect(scores.equalErrorRate).toBeLessThan(0.05);
    expect(scores.retrieval?.recallAt1).toBeGreaterThan(0.9);
    await embedder.dispose();
  });
});
