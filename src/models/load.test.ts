import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { readTensors, repositoryFile } from "../../tests/support/model-fixture.ts";
import { writeSafetensors } from "../checkpoint/safetensors.ts";
import type { HostTensor } from "../tensor/dtype.ts";
import { loadCheckpoint, loadEncoder, loadEncoderDecoder, loadModel } from "./load.ts";

const fixture = (name: string): string => repositoryFile(`tests/fixtures/${name}`);
const scratch = mkdtempSync(join(tmpdir(), "mneme-load-"));
afterAll(() => rmSync(scratch, { recursive: true }));
const sha256 = (data: string | Buffer): string => createHash("sha256").update(data).digest("hex");

/** A folder of its own with config.json of the tiny llama, changed, and its weights as given. */
async function folderOf(
  name: string,
  tensors: Record<string, HostTensor>,
  config: Record<string, unknown> = {},
): Promise<string> {
  const folder = join(scratch, name);
  mkdirSync(folder);
  const json: Record<string, unknown> = JSON.parse(readFileSync(`${fixture("llama")}/config.json`, "utf8"));
  writeFileSync(join(folder, "config.json"), JSON.stringify({ ...json, ...config }));
  await writeSafetensors(join(folder, "model.safetensors"), tensors);
  return folder;
}
const llamaTensors = async (): Promise<Record<string, HostTensor>> =>
  Object.fromEntries(await readTensors(`${fixture("llama")}/model.safetensors`));

/** A tokenizer.json with `size` words. */
const wordTokenizer = (size: number): string =>
  JSON.stringify({
    version: "1.0",
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: "Whitespace" },
    post_processor: null,
    decoder: null,
    model: {
      type: "WordLevel",
      vocab: Object.fromEntries(Array.from({ length: size }, (_, i) => [`w${i}`, i])),
      unk_token: "w0",
    },
  });

test("weights, sizes and hash of a checkpoint", async () => {
  const { weights, geometry, definition, eosIds, hash } = await loadCheckpoint(fixture("llama"));
  const stored = await readTensors(`${fixture("llama")}/model.safetensors`);
  expect(Object.keys(weights).sort()).toEqual([...stored.keys()].sort());
  for (const [name, { shape, data }] of stored) expect(weights[name]).toEqual({ dtype: "float32", shape, data });
  expect([definition.modelType, geometry.layers, geometry.vocabulary, eosIds]).toEqual(["llama", 2, 56, [2]]);
  expect(await hash()).toBe(sha256(readFileSync(`${fixture("llama")}/model.safetensors`)));
});

test("the names of the published GPT-2 file become canonical", async () => {
  const [hub, own] = [await loadCheckpoint(fixture("gpt2-hub")), await loadCheckpoint(fixture("gpt2"))];
  expect(hub.weights).toEqual(own.weights);
});

test("half precision is widened", async () => {
  const folder = join(scratch, "half");
  mkdirSync(folder);
  copyFileSync(`${fixture("llama")}/config.json`, join(folder, "config.json"));
  const full = (await loadCheckpoint(fixture("llama"))).weights;
  for (const [dtype, bits] of [
    ["float16", 11],
    ["bfloat16", 8],
  ] as const) {
    await writeSafetensors(join(folder, "model.safetensors"), full, { dtype });
    const { weights } = await loadCheckpoint(folder);
    for (const [name, { data }] of Object.entries(full)) {
      expect(weights[name].dtype).toBe("float32");
      for (let i = 0; i < data.length; i++)
        expect(Math.abs(weights[name].data[i] - data[i])).toBeLessThanOrEqual(Math.abs(data[i]) * 2 ** -bits + 1e-7);
    }
  }
});

test("shards are read as one; their hash covers each file", async () => {
  const folder = await folderOf("shards", await llamaTensors());
  const tensors = Object.entries(await llamaTensors());
  rmSync(join(folder, "model.safetensors"));
  const files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
  const map: Record<string, string> = {};
  for (const [i, file] of files.entries()) {
    const part = tensors.filter((_, j) => j % 2 === i);
    for (const [name] of part) map[name] = file;
    await writeSafetensors(join(folder, file), Object.fromEntries(part));
  }
  writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify({ weight_map: map }));
  const { weights, hash } = await loadCheckpoint(folder);
  expect(weights).toEqual((await loadCheckpoint(fixture("llama"))).weights);
  expect(await hash()).toBe(
    sha256(files.map((file) => `${file} ${sha256(readFileSync(join(folder, file)))}\n`).join("")),
  );
});

test("generation_config.json names the end tokens, else config.json; ids outside the vocabulary do not count", async () => {
  const folder = await folderOf("ends", await llamaTensors(), { eos_token_id: [5, 6] });
  expect((await loadCheckpoint(folder)).eosIds).toEqual([5, 6]);
  writeFileSync(join(folder, "generation_config.json"), JSON.stringify({ eos_token_id: [7, 56] }));
  expect((await loadCheckpoint(folder)).eosIds).toEqual([7]);
  writeFileSync(join(folder, "generation_config.json"), "{}");
  expect((await loadCheckpoint(folder)).eosIds).toEqual([5, 6]);
});

test("tokenizer and model must agree", async () => {
  const folder = await folderOf("words", await llamaTensors());
  await expect(loadModel(folder)).rejects.toThrow("tokenizer.json");
  writeFileSync(join(folder, "tokenizer.json"), wordTokenizer(56));
  expect((await loadModel(folder)).tokenizer.encode("w3 w55")).toEqual([3, 55]);
  writeFileSync(join(folder, "tokenizer.json"), wordTokenizer(57));
  await expect(loadModel(folder)).rejects.toThrow("vocab_size 56, got ids up to 56");
});

test("language models, encoders and encoder-decoders are not mixed up", async () => {
  await expect(loadModel(fixture("bert"))).rejects.toThrow("expected a causal language model");
  await expect(loadModel(fixture("t5"))).rejects.toThrow("got t5, an encoder-decoder; choose a model that generates");
  await expect(loadEncoder(fixture("llama"))).rejects.toThrow("expected an encoder");
  await expect(loadEncoderDecoder(fixture("bert"))).rejects.toThrow("expected an encoder-decoder");
});
