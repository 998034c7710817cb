/** Pretraining from a recipe: a vocabulary, tokens and a model from small texts; stopped, resumed, refused. */
import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { smallTexts } from "../../tests/support/text-model.ts";
import { digest, drive, lossesOf, savedState } from "../../tests/support/training.ts";
import { UserError } from "../errors.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { parseRecipe, pretrain, type Pretrained, type Recipe } from "./pretrain.ts";

const json = {
  name: "small",
  seed: 5,
  vocabulary: { size: 290, specialTokens: ["<end>"] },
  model: {
    model_type: "llama",
    hidden_size: 16,
    intermediate_size: 32,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    max_position_embeddings: 24,
    tie_word_embeddings: true,
  },
  training: {
    contextLength: 16,
    batchSize: 4,
    accumulate: 2,
    tokens: 3000,
    learningRate: 0.01,
    warmupSteps: 3,
    floor: 0.1,
    weightDecay: 0.1,
  },
};
const recipe = parseRecipe(json);
const steps = Math.ceil(3000 / (4 * 16 * 2));

const runtime = createRuntime({ threads: 1 });
let root: string;
let files: string[];
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "mneme-pretrain-"));
  files = [join(root, "b.txt"), join(root, "a.txt")];
  await writeFile(files[0], smallTexts.harbour);
  await writeFile(files[1], `${smallTexts.oven}\n`);
});
afterAll(async () => {
  await runtime.dispose();
  await rm(root, { recursive: true });
});

async function run(
  folder: string,
  { stopAt, given = files, with: changed = recipe }: { stopAt?: number; given?: string[]; with?: Recipe } = {},
) {
  const controller = new AbortController();
  return drive(pretrain({ runtime, recipe: changed, files: given, folder, signal: controller.signal }), (event) => {
    if (event.type === "step" && event.step === stopAt) controller.abort();
  });
}

const digests = ({ weights }: Pretrained): Record<string, string> =>
  Object.fromEntries(Object.entries(weights).map(([name, { data }]) => [name, digest(data)]));

describe("pretrain", () => {
  it("learns the texts and says what the model is", async () => {
    const folder = join(root, "whole");
    const { result, events } = await run(folder);
    const losses = lossesOf(events).map(([, loss]) => loss);
    expect(losses).toHaveLength(steps);
    expect(losses[0]).toBeCloseTo(Math.log(290), 0);
    expect(losses.at(-1)).toBeLessThan(0.8 * losses[0]);
    expect(result.result).toMatchObject({ steps, stopped: "done", finalLoss: losses.at(-1) });
    expect(result.config).toEqual({ ...json.model, vocab_size: 290, bos_token_id: null, eos_token_id: 0 });
    expect(result.weights["model.embed_tokens.weight"].shape).toEqual([290, 16]);
    const bytes = Buffer.byteLength(smallTexts.harbour) + Buffer.byteLength(smallTexts.oven) + 1;
    expect(result.corpus).toMatchObject({ files: ["a.txt", "b.txt"], bytes });
    expect(result.corpus.tokens).toBeGreaterThan(bytes / 4);
    expect(result.corpus.tokens).toBeLessThan(bytes);
    expect((await readdir(folder)).sort()).toEqual([
      "pretrain.json",
      "tokenizer.json",
      "tokenizer_config.json",
      "tokens.u16",
      "training.safetensors",
    ]);
  });

  it("stopped and resumed gives the same weights and losses, from files named in any order", async () => {
    const [one, two] = [join(root, "one"), join(root, "two")];
    const unbroken = await run(one);
    const losses: [number, number][] = [];
    for (const stopAt of [1, 9, undefined]) {
      const { result, events } = await run(two, { stopAt, given: stopAt === 9 ? files.toReversed() : files });
      losses.push(...lossesOf(events));
      expect(result.result).toMatchObject(
        stopAt === undefined ? { stopped: "done", steps } : { stopped: "interrupted", steps: stopAt },
      );
      if (stopAt === undefined) expect(digests(result)).toEqual(digests(unbroken.result));
    }
    expect(losses).toEqual(lossesOf(unbroken.events));
    expect(await savedState(two)).toEqual(await savedState(one));
  });

  it("refuses to go on with a changed recipe or changed texts, even of the same size, and leaves the state", async () => {
    const folder = join(root, "changed");
    await run(folder, { stopAt: 2 });
    const before = await savedState(folder);
    const others = join(root, "others");
    await mkdir(others);
    for (const file of files) await cp(file, join(others, file.slice(root.length + 1)));
    await writeFile(join(others, "b.txt"), smallTexts.harbour.replace("seven", "eight"));
    const refused =
      /^pretrain: expected the (recipe|texts) that .*changed was begun with, got something else; use another folder or delete it$/;
    await expect(run(folder, { given: [join(others, "a.txt"), join(others, "b.txt")] })).rejects.toThrow(refused);
    await expect(run(folder, { given: files.slice(0, 1) })).rejects.toThrow(refused);
    const hotter = parseRecipe({ ...json, training: { ...json.training, learningRate: 0.02 } });
    await expect(run(folder, { with: hotter })).rejects.toThrow(refused);
    expect(await savedState(folder)).toEqual(before);
    expect((await run(folder)).result.result).toMatchObject({ stopped: "done", steps });
  });

  it("refuses what cannot be trained before it begins", async () => {
    const folder = join(root, "never");
    const beyond = parseRecipe({ ...json, training: { ...json.training, contextLength: 25 } });
    await expect(run(folder, { with: beyond })).rejects.toThrow(
      "recipe: expected a training.contextLength of at most 24 (the model's context), got 25",
    );
    const unknown = parseRecipe({ ...json, model: { model_type: "mamba" } });
    await expect(run(folder, { with: unknown })).rejects.toThrow(
      /expected model_type to be one of bert, gpt2, llama, .*got "mamba"/,
    );
    const broken = parseRecipe({ ...json, model: { ...json.model, num_attention_heads: 3 } });
    await expect(run(folder, { with: broken })).rejects.toBeInstanceOf(UserError);
    await expect(run(folder, { given: [] })).rejects.toThrow("pretrain: expected at least one text file, got none");
    await expect(readdir(folder)).rejects.toThrow("ENOENT");
    await expect(run(folder, { given: [join(root, "missing.txt")] })).rejects.toBeInstanceOf(UserError);
    const binary = join(root, "binary.txt");
    await writeFile(binary, Buffer.from([65, 0, 66]));
    await expect(run(join(root, "binary"), { given: [binary] })).rejects.toThrow(/got a NUL byte at \w+ 1\b/);
  });
});

describe("parseRecipe", () => {
  it("fills in defaults", () => {
    expect(recipe.training).toMatchObject({ b1: 0.9, b2: 0.95, clipNorm: 1 });
  });

  it.each([
    [{ ...json, name: "a/b" }, /^recipe: expected a valid name, /],
    [{ ...json, vocabulary: { size: 200, specialTokens: ["<end>"] } }, /^recipe: expected a valid vocabulary\.size, /],
    [
      { ...json, vocabulary: { size: 300, specialTokens: [] } },
      /^recipe: expected a valid vocabulary\.specialTokens, /,
    ],
    [
      { ...json, training: { ...json.training, learningRate: 0 } },
      /^recipe: expected a valid training\.learningRate, /,
    ],
    [{ ...json, training: { ...json.training, tokens: "16M" } }, /^recipe: expected a valid training\.tokens, /],
    [{ ...json, training: { ...json.training, epochs: 3 } }, /^recipe: expected a valid training, .*"epochs"/],
    [{ ...json, model: {} }, /^recipe: expected a valid model\.model_type, /],
    [null, /^recipe: expected a valid file, /],
  ])("names what is wrong in one line: %#", (given, message) => {
    expect(() => parseRecipe(given)).toThrow(message);
    expect(() => parseRecipe(given)).toThrow(UserError);
    expect(() => parseRecipe(given)).toThrow(/^[^\n]*$/);
  });
});
