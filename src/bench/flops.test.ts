import { expect, test } from "vitest";
import { gpt2 } from "../models/gpt2.ts";
import { decodeBytes, productParameters, trainingFlops } from "./flops.ts";
import { smallConfig, trainConfig } from "./gpt.ts";

test("parameters of products, worked by hand", () => {
  // Per layer: C x 3C + C x C + C x 4C + 4C x C = 12 C^2 = 786,432 with C = 256; head 1,024 x 256 = 262,144
  expect(productParameters(trainConfig)).toBe(4 * 786_432 + 262_144);
  // 12 layers x 12 x 768^2 = 84,934,656; tied head 50,257 x 768 = 38,597,376, counted once
  expect(productParameters(smallConfig)).toBe(84_934_656 + 38_597_376);
});

test("operations of a training step, worked by hand", () => {
  // Weights: 6 x 3,407,872 x 2,048 = 41,875,931,136
  // Attention: 4 layers x 3 x 4 x 16 x 8 x 128 x 128 x 32 = 3,221,225,472
  expect(trainingFlops(trainConfig, 16, 128)).toBe(41_875_931_136 + 3_221_225_472);
  // A toy: C 2, one layer, one head, 3 tokens of vocabulary, B 1, T 2
  const toy = gpt2.parseConfig({ vocab_size: 3, n_embd: 2, n_layer: 1, n_head: 1 });
  // N = 12 x 4 + 6 = 54; 6 x 54 x 2 = 648; attention 12 x 1 x 2 x 2 x 2 = 96
  expect(trainingFlops(toy, 1, 2)).toBe(648 + 96);
});

test("bytes of a decoding step: every product's weights and one row of each of two tables", () => {
  expect(decodeBytes(smallConfig)).toBe(4 * (123_532_032 + 768 + 768));
});
