import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { smallConfig } from "../../tests/support/small-bank.ts";
import { textModel } from "../../tests/support/text-model.ts";
import { codebookNames, emptyModule, moduleSchema, saveModule } from "../methods/bank/module.ts";
import { randomStream } from "../tensor/random.ts";
import { bankBench } from "./bank.ts";

let folder: string;
let model: string;
let module: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mneme-bank-bench-"));
  const base = await textModel(join(folder, "base"), { context: 128 });
  [model, module] = [base.folder, join(folder, "module")];
  const small = smallConfig("base", await base.hash());
  // T = 4, D = 32, V = 2; 16 codes of 4 bits, of residual ones 3
  const config = moduleSchema.parse({
    ...small,
    shape: { ...small.shape, width: 32, context: 64 },
    codes: 16,
    depth: 3,
    adapters: { ...small.adapters, rank: 0, layers: 0 },
  });
  const made = emptyModule(base, config, 5);
  for (const name of Object.values(codebookNames)) {
    randomStream(5, name).fillNormal(made.weights[name].data as Float32Array);
  }
  await saveModule(made, module);
});
afterAll(() => rm(folder, { recursive: true }));

test("bytes by part: indices to the bit, keys of 4 bits with their scale, and the whole as the sum of its parts", async () => {
  const { bytes } = (await bankBench.run({ only: ["bytes"], model, data: { module } })) as {
    bytes: {
      value: number;
      keys: { width: number; bits: number };
      kinds: { kind: string; depth?: number; perDocument: number; share: number; bytes: Record<string, number> }[];
      papers: { width: number; slots: number; kinds: { kind: string; depth?: number; bytes: { indices: number } }[] }[];
    };
  };
  const row = (kind: string, depth?: number) => {
    const found = bytes.kinds.find((one) => one.kind === kind && one.depth === depth);
    return found ?? expect.unreachable(`no ${kind}`);
  };
  expect(bytes.kinds.map(({ kind, depth }) => `${kind} ${depth ?? ""}`.trim())).toEqual([
    "mac",
    "mbc",
    "mbc-topk",
    "mbc-residual 1",
    "mbc-residual 2",
    "mbc-residual 3",
  ]);
  // 4 slots of 32 numbers of 4 bytes; 4 indices of 4 bits; 8 places of 3 indices of 4 bits: for 10,000 documents
  expect(row("mac").bytes.indices).toBe(10_000 * 512);
  expect(row("mbc").bytes.indices).toBe(10_000 * 2);
  expect(row("mbc-residual", 3).bytes.indices).toBe(10_000 * 12);
  expect(row("mac").bytes.codebooks).toBe(0);
  expect(row("mbc").bytes.codebooks).toBe(2 * 16 * 32);
  expect(row("mbc-residual", 2).bytes.codebooks).toBe(2 * 2 * 16 * 16);
  for (const { bytes: parts } of bytes.kinds) {
    const { total, ...rest } = parts;
    expect(rest.keys).toBe(10_000 * (bytes.keys.width / 2 + 2));
    expect(Object.values(rest).reduce((sum, part) => sum + part, 0)).toBeCloseTo(total, -2);
  }
  expect(bytes.value).toBeCloseTo(row("mbc-residual", 3).bytes.total / row("mac").bytes.total, 4);
  const wide = bytes.papers.find((one) => one.width === 4096)?.kinds.find(({ kind }) => kind === "mac");
  expect(wide?.bytes.indices).toBe(10_000 * 24 * 4096 * 4);
});

test("the fast read equals attention over all entries; documents and questions are timed", {
  timeout: 120_000,
}, async () => {
  const results = await bankBench.run({
    only: ["readGrowth", "encodeMs", "askMs"],
    quick: true,
    model,
    data: { module },
  });
  const { readGrowth, encodeMs, askMs } = results as {
    readGrowth: { points: { documents: number; readMs: { repeats: number } }[]; naive: { difference: number } };
    encodeMs: { documents: number; tokens: number; value: number; encodeMs: { median: number } };
    askMs: { value: number; askMs: Record<string, { median: number }>; bareMs: { median: number } };
  };
  expect(readGrowth.points.map(({ documents }) => documents)).toEqual([100, 1000]);
  expect(readGrowth.naive.difference).toBeLessThan(1e-5);
  expect(encodeMs.tokens).toBeGreaterThan(56);
  expect(encodeMs.tokens).toBeLessThanOrEqual(64);
  expect(encodeMs.value).toBe(encodeMs.encodeMs.median);
  expect(Object.keys(askMs.askMs)).toEqual(["mac", "mbc", "mbc-topk", "mbc-residual"]);
  expect(askMs.value).toBe(askMs.askMs["mbc-residual"].median);
  expect(askMs.bareMs.median).toBeGreaterThan(0);
});
