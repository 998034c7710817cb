/** Checkpoints whose parts disagree: each fault is one line that names what was expected and what was found. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { readTensors, repositoryFile } from "../../tests/support/model-fixture.ts";
import { writeSafetensors } from "../checkpoint/safetensors.ts";
import { UserError } from "../errors.ts";
import { float32Host, type HostTensor, zerosHost } from "../tensor/dtype.ts";
import { definitions } from "./index.ts";
import { loadCheckpoint } from "./load.ts";

const source = repositoryFile("tests/fixtures/llama");
const scratch = mkdtempSync(join(tmpdir(), "mneme-load-"));
afterAll(() => rmSync(scratch, { recursive: true }));

/** Write the tiny llama with changes and load it: the message of the error. */
async function failure(
  changeTensors: (tensors: Record<string, HostTensor>) => void,
  changeConfig: (config: Record<string, unknown>) => void = () => {},
): Promise<string> {
  const tensors = Object.fromEntries(await readTensors(`${source}/model.safetensors`));
  const config: Record<string, unknown> = JSON.parse(readFileSync(`${source}/config.json`, "utf8"));
  changeTensors(tensors);
  changeConfig(config);
  await writeSafetensors(join(scratch, "model.safetensors"), tensors);
  writeFileSync(join(scratch, "config.json"), JSON.stringify(config));
  const error: unknown = await loadCheckpoint(scratch, { checkWeights: true }).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(UserError);
  const { message } = error as UserError;
  expect(message).not.toContain("\n");
  return message;
}

test("a missing tensor is named, with its shape, what is expected and what is there", async () => {
  const message = await failure((tensors) => delete tensors["model.layers.1.mlp.up_proj.weight"]);
  expect(message).toContain('expected tensor "model.layers.1.mlp.up_proj.weight" of shape [40, 24], got none');
  expect(message).toContain("expected are model.embed_tokens.weight [56, 24]");
  expect(message).toContain("the file has");
});

test("a tensor of wrong shape is named, with both shapes", async () => {
  const message = await failure((tensors) => {
    tensors["model.norm.weight"] = float32Host([23], new Float32Array(23));
  });
  expect(message).toContain('expected tensor "model.norm.weight" of shape [24], got [23]');
});

test("a config.json of other sizes than the weights is the same fault", async () => {
  const message = await failure(
    () => {},
    (config) => Object.assign(config, { vocab_size: 57 }),
  );
  expect(message).toContain('expected tensor "model.embed_tokens.weight" of shape [57, 24], got [56, 24]');
  expect(message).toContain("config.json and weights disagree");
});

test("one tensor under two spellings is refused", async () => {
  const message = await failure((tensors) => {
    tensors["norm.weight"] = tensors["model.norm.weight"];
  });
  expect(message).toContain('expected one tensor for "model.norm.weight"');
});

test("integer weights are refused", async () => {
  const message = await failure((tensors) => {
    tensors["model.norm.weight"] = zerosHost("int8", [24]);
  });
  expect(message).toContain('expected floats in "model.norm.weight", got int8');
});

test("weights that are not numbers are refused on request", async () => {
  const message = await failure((tensors) => {
    const { shape, data } = tensors["model.norm.weight"];
    tensors["model.norm.weight"] = float32Host(
      shape,
      Float32Array.from(data as Float32Array, (x, i) => (i === 5 ? Number.NaN : x)),
    );
  });
  expect(message).toContain('got NaN at element 5 of "model.norm.weight"');
});

test("an unknown model_type is refused with the known ones", async () => {
  const message = await failure(
    () => {},
    (config) => Object.assign(config, { model_type: "rwkv" }),
  );
  expect(message).toContain(`one of ${Object.keys(definitions).join(", ")}, got "rwkv"`);
});

test("a wrong field of config.json is named", async () => {
  const message = await failure(
    () => {},
    (config) => Object.assign(config, { num_hidden_layers: -1 }),
  );
  expect(message).toContain("config.json (llama): expected a valid num_hidden_layers");
});

test("an absurd number of layers is refused at once", async () => {
  const message = await failure(
    () => {},
    (config) => {
      config.num_hidden_layers = 1e9;
    },
  );
  expect(message).toContain("num_hidden_layers");
});
