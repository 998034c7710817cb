import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fakeMethod } from "../../tests/support/fake-method.ts";
import { smallTexts, textModel } from "../../tests/support/text-model.ts";
import { parseMethodOptions } from "../methods/definition.ts";
import { finetune } from "../methods/finetune.ts";
import type { Method } from "../methods/method.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { diagnosticsOf, keyTokens, readBase, type Snapshot, takeSnapshot } from "./diagnostics.ts";

test("key tokens are all after the first four, or the last of a short text", () => {
  expect(keyTokens(7)).toEqual([4, 5, 6]);
  expect(keyTokens(4)).toEqual([3]);
  expect(keyTokens(1)).toEqual([0]);
});

test("ratios are to the first topic for drift and to the base for entropy", () => {
  const snapshot = (relativeL2: number, entropy: number): Snapshot => ({
    drift: [{ relativeL2, cosine: 1, cka: 1 }],
    attentionEntropy: [[entropy, 0]],
  });
  const matrix = { R: [[1]], baseline: [0], direction: "higher", unit: "share", topics: ["a"] } as const;
  const after = [snapshot(0.1, 1.5), snapshot(0.4, 2)];
  const { insides } = diagnosticsOf(matrix, { before: snapshot(0, 1), after });
  expect(insides?.driftRatio).toEqual([[1], [4]]);
  expect(insides?.entropyRatio).toEqual([[[1.5, null]], [[2, null]]]);
  expect(diagnosticsOf(matrix, { before: null, after }).insides?.entropyRatio[0]).toEqual([[null, null]]);
  expect(diagnosticsOf(matrix, { before: null, after: [] }).insides).toBeNull();
});

test("a method that cannot be looked into, or no texts, give no base", async () => {
  expect(await readBase(fakeMethod(), ["text"])).toBeUndefined();
});

describe("a real model", () => {
  const texts = ["Mara counts the boats in the harbour.", "Knead ten minutes; add salt last."];
  const runtime = createRuntime({ threads: 1 });
  let folder = "";
  let method: Method;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "mneme-diagnostics-"));
    const model = await textModel(folder, { layers: 2 });
    const options = parseMethodOptions(finetune, { epochs: 2, learningRate: 1e-2 });
    method = await finetune.create(model, options, { runtime, seed: 1 });
  });
  afterAll(async () => {
    await method.dispose();
    await runtime.dispose();
    await rm(folder, { recursive: true, force: true });
  });

  test("stands still until it learns, and then moves most where training reaches first", async () => {
    const base = await readBase(method, texts);
    if (!base) throw new Error("expected a base");
    // The embeddings and the outputs of two layers, 32 wide.
    expect(base.hidden.map(({ width }) => width)).toEqual([32, 32, 32]);
    const before = await takeSnapshot(method, texts, base);
    for (const { relativeL2, cosine, cka } of before.drift) {
      expect([relativeL2, cosine, cka]).toEqual([0, expect.closeTo(1, 6), expect.closeTo(1, 9)]);
    }
    expect(before.attentionEntropy.map((heads) => heads.length)).toEqual([4, 4]);
    // A small random model attends nearly evenly: between the entropies of 5 and of 60 tokens.
    for (const value of before.attentionEntropy.flat()) {
      expect(value).toBeGreaterThan(Math.log(5));
      expect(value).toBeLessThan(Math.log(60));
    }
    for await (const _ of method.observe([{ id: "oven", text: smallTexts.oven }])) void _;
    const after = await takeSnapshot(method, texts, base);
    for (const { relativeL2, cosine, cka } of after.drift) {
      expect(relativeL2).toBeGreaterThan(0.01);
      expect(cosine).toBeLessThan(1);
      expect(cka).toBeLessThan(1);
    }
    // What a layer does adds to what came before it.
    expect(after.drift[2].relativeL2).toBeGreaterThan(after.drift[0].relativeL2);
    expect(runtime.seconds()).toBeGreaterThan(0);
  });
});
