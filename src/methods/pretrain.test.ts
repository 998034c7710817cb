/** Pretraining from a recipe: a vocabulary, tokens and a model from small texts; stopped, resumed, refused. */
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { repositoryFile } from "../../tests/support/model-fixture.ts";
import { smallTexts } from "../../tests/support/text-model.ts";
import { digest, drive, lossesOf, savedState } from "../../tests/support/training.ts";
import { UserError } from "../errors.ts";
import { loadTokenizer } from "../checkpoint/tokenizer.ts";
import { createRuntime } from "../runtime/runtime.ts";
import type { Random } from "../tensor/random.ts";
import { parseRecipe, pretrain, type PretrainBase, type Pretrained, type Recipe } from "./pretrain.ts";

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
  stages: [
    {
      contextLength: 16,
      batchSize: 4,
      accumulate: 2,
      tokens: 3000,
      learningRate: 0.01,
      warmupSteps: 3,
      floor: 0.1,
      weightDecay: 0.1,
    },
  ],
};
const [stage] = json.stages;
/** A second, short stage with longer rows; what it adds. */
const second = { contextLength: 24, batchSize: 2, tokens: 500, learningRate: 0.003 };
const secondSteps = Math.ceil(500 / (2 * 24));
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
  {
    stopAt,
    given = files,
    with: changed = recipe,
    base,
  }: { stopAt?: number; given?: string[]; with?: Recipe; base?: PretrainBase } = {},
) {
  const controller = new AbortController();
  if (stopAt === 0) controller.abort();
  return drive(
    pretrain({ runtime, recipe: changed, base, files: given, folder, signal: controller.signal }),
    (event) => {
      if (event.type === "step" && event.step === stopAt) controller.abort();
    },
  );
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
      "stage-1",
      "tokenizer.json",
      "tokenizer_config.json",
      "tokens.u16",
    ]);
    expect(await readdir(join(folder, "stage-1"))).toEqual(["training.safetensors"]);
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
    expect(await savedState(join(two, "stage-1"))).toEqual(await savedState(join(one, "stage-1")));
  });

  it("refuses to go on with a changed recipe or changed texts, even of the same size, and leaves the state", async () => {
    const folder = join(root, "changed");
    await run(folder, { stopAt: 2 });
    const before = await savedState(join(folder, "stage-1"));
    const others = join(root, "others");
    await mkdir(others);
    for (const file of files) await cp(file, join(others, file.slice(root.length + 1)));
    await writeFile(join(others, "b.txt"), smallTexts.harbour.replace("seven", "eight"));
    const refused =
      /^pretrain: expected the (recipe|texts) that .*changed was begun with, got something else; use another folder or delete it$/;
    await expect(run(folder, { given: [join(others, "a.txt"), join(others, "b.txt")] })).rejects.toThrow(refused);
    await expect(run(folder, { given: files.slice(0, 1) })).rejects.toThrow(refused);
    const hotter = parseRecipe({ ...json, stages: [{ ...stage, learningRate: 0.02 }] });
    await expect(run(folder, { with: hotter })).rejects.toThrow(refused);
    expect(await savedState(join(folder, "stage-1"))).toEqual(before);
    expect((await run(folder)).result.result).toMatchObject({ stopped: "done", steps });
  });

  it("goes on from a finished stage with one that was added; what was begun stays as it is", async () => {
    const folder = join(root, "stages");
    const two = parseRecipe({ ...json, stages: [stage, second] });
    const first = await run(folder);
    const before = await savedState(join(folder, "stage-1"));
    const slower = parseRecipe({ ...json, stages: [stage, { ...second, learningRate: 0.001 }] });
    const stopped = await run(folder, { with: two, stopAt: 4 });
    expect(stopped.result.result).toMatchObject({ stopped: "interrupted", steps: steps + 4 });
    const refused = /^pretrain: expected the recipe that .*stages was begun with, got something else/;
    await expect(run(folder, { with: slower })).rejects.toThrow(refused);
    await expect(run(folder)).rejects.toThrow(refused);
    const whole = await run(folder, { with: two });
    expect(whole.result.result).toMatchObject({
      stopped: "done",
      steps: steps + secondSteps,
      tokens: first.result.result.tokens + secondSteps * 2 * 24,
    });
    expect(await savedState(join(folder, "stage-1"))).toEqual(before);
    const third = parseRecipe({ ...json, stages: [stage, second, { ...second, tokens: 100 }] });
    expect((await run(folder, { with: third })).result.result.steps).toBe(steps + secondSteps + 3);

    // Both at once is the same
    const other = join(root, "stages-at-once");
    const atOnce = await run(other, { with: two });
    expect(digests(atOnce.result)).toEqual(digests(whole.result));
    expect(lossesOf(atOnce.events).slice(steps)).toEqual([...lossesOf(stopped.events), ...lossesOf(whole.events)]);
    expect(digests(atOnce.result)).not.toEqual(digests(first.result));

    // A stage that nobody began may still change
    const planned = join(root, "planned");
    await run(planned, { with: two, stopAt: 1 });
    expect((await readdir(planned)).filter((name) => name.startsWith("stage"))).toEqual(["stage-1"]);
    expect((await run(planned, { with: slower, stopAt: 2 })).result.result.steps).toBe(2);
    await expect(run(planned, { with: parseRecipe({ ...json, stages: [second] }) })).rejects.toThrow("was begun with");
  });

  it("trains on generated examples beside the texts, in the vocabulary as well", async () => {
    const folder = join(root, "mixed");
    const songs = {
      example: (random: Random) => [
        { text: "Sing:", weight: 0 },
        { text: random.uniform() < 0.5 ? " zyzzyva\n" : " zyzzyvas\n", weight: 2 },
      ],
    };
    const sources = { examples: { songs } };
    const mixed = parseRecipe({
      ...json,
      vocabulary: { ...json.vocabulary, examples: 400 },
      stages: [{ ...second, contextLength: 60, mixture: { texts: 1, songs: 1 } }],
      model: { ...json.model, max_position_embeddings: 64 },
    });
    const drivenTo = (given: Recipe, where: string, stopAt?: number) => {
      const controller = new AbortController();
      return drive(
        pretrain({ runtime, recipe: given, files, sources, folder: where, signal: controller.signal }),
        (event) => {
          if (event.type === "step" && event.step === stopAt) controller.abort();
        },
      );
    };
    await expect(run(join(root, "missing"), { with: mixed })).rejects.toThrow(
      "mixture: expected sources among texts, got songs; correct the recipe",
    );
    const unbroken = await drivenTo(mixed, folder);
    const tokenizer = await loadTokenizer(folder);
    expect(tokenizer.encode(" zyzzyva", { addSpecialTokens: false }).length).toBeLessThan(3);
    const broken = join(root, "mixed-broken");
    for (const stopAt of [2, undefined]) {
      const { result } = await drivenTo(mixed, broken, stopAt);
      if (stopAt === undefined) expect(digests(result)).toEqual(digests(unbroken.result));
    }
  });

  it("refuses what cannot be trained before it begins", async () => {
    const folder = join(root, "never");
    const beyond = parseRecipe({ ...json, stages: [{ ...stage, contextLength: 25 }] });
    await expect(run(folder, { with: beyond })).rejects.toThrow(
      "recipe: expected a contextLength of at most 24 (the model's context), got 25; shorten the stage",
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

describe("a memory put into a trained model", () => {
  const N = 1024;
  const memory = { layers: [1], slots: N, heads: 2, knn: 2, keyWidth: 8, valueWidth: 12 };
  const values = "model.memory.values";
  const healing = parseRecipe({
    ...json,
    name: "small-memory",
    from: "small",
    model: { ...json.model, memory },
    stages: [{ ...stage, tokens: 2000, values: { learningRate: 0.02 } }],
  });
  let base: PretrainBase;
  beforeAll(async () => {
    const folder = join(root, "base");
    const { result } = await run(folder);
    const hash = async (): Promise<string> => "base";
    base = { folder, weights: result.weights, tokenizer: await loadTokenizer(folder), hash };
  });

  it("begins with the base's weights and vocabulary wherever it has them", async () => {
    const folder = join(root, "memory-start");
    const { weights } = (await run(folder, { with: healing, base, stopAt: 0 })).result;
    for (const [name, { data }] of Object.entries(weights)) {
      if (name.includes("memory.")) expect(base.weights).not.toHaveProperty([name]);
      else expect(digest(data), name).toBe(digest(base.weights[name].data));
    }
    expect(weights).not.toHaveProperty(["model.layers.1.mlp.up_proj.weight"]);
    expect(weights[values].shape).toEqual([N, 12]);
    const spread = Math.sqrt(weights[values].data.reduce((sum, x) => sum + x * x, 0) / weights[values].data.length);
    expect(spread).toBeCloseTo(1 / Math.sqrt(12), 2);
    for (const file of ["tokenizer.json", "tokenizer_config.json"])
      expect(await readFile(join(folder, file))).toEqual(await readFile(join(base.folder, file)));
  });

  it("changes only the rows that were read, at their own rate, and resumes to the same numbers", async () => {
    const folder = join(root, "memory");
    const before = (await run(folder, { with: healing, base, stopAt: 0 })).result.weights[values].data.slice();
    const one = (await run(folder, { with: healing, base, stopAt: 1 })).result.weights[values].data;
    const changed = Array.from({ length: N }, (_, row) => row).filter((row) =>
      one.subarray(row * 12, (row + 1) * 12).some((x, i) => x !== before[row * 12 + i]),
    );
    // 2 micro-batches of 4 rows of 16 tokens, 2 heads that read 2 slots each
    expect(changed.length).toBeGreaterThan(10);
    expect(changed.length).toBeLessThanOrEqual(2 * 4 * 16 * 4);
    // Adam's first step is the rate, 0.02 in a warm-up of 3 steps
    const most = one.reduce((far, x, i) => Math.max(far, Math.abs(x - before[i])), 0);
    expect(most).toBeCloseTo(0.02 / 3, 4);

    const whole = await run(join(root, "memory-whole"), { with: healing, base });
    const rest = await run(folder, { with: healing, base });
    expect(digests(rest.result)).toEqual(digests(whole.result));
    expect(lossesOf(whole.events).at(-1)?.[1]).toBeLessThan(lossesOf(whole.events)[0][1]);
    const { optimizerStep, ...state } = await savedState(join(folder, "stage-1"));
    expect(optimizerStep).toBe(String(whole.result.result.steps));
    expect(state).toHaveProperty([`moment:${values}.moments`]);
    expect(state).not.toHaveProperty([`moment:${values}.exp_avg`]);
  });

  it("refuses another base and one that does not fit", async () => {
    const folder = join(root, "memory-refused");
    await run(folder, { with: healing, base, stopAt: 1 });
    const other = { ...base, hash: async () => "other" };
    await expect(run(folder, { with: healing, base: other })).rejects.toThrow(
      /^pretrain: expected the base that .*memory-refused was begun with, got something else/,
    );
    const wider = parseRecipe({ ...healing, model: { ...healing.model, intermediate_size: 48 } });
    await expect(run(join(root, "memory-wider"), { with: wider, base })).rejects.toThrow(
      "pretrain: expected a base with model.layers.0.mlp.gate_proj.weight [48, 16], got [32, 16] in",
    );
    const larger = parseRecipe({ ...healing, vocabulary: { ...json.vocabulary, size: 300 } });
    await expect(run(join(root, "memory-larger"), { with: larger, base })).rejects.toThrow(
      "pretrain: expected a base with the recipe's vocabulary of 300, got 290 in small; correct vocabulary.size",
    );
  });
});

describe("parseRecipe", () => {
  it("takes the recipes of the repository", async () => {
    const folder = repositoryFile("recipes");
    for (const name of await readdir(folder)) {
      const parsed = parseRecipe(JSON.parse(await readFile(join(folder, name), "utf8")));
      expect(name).toBe(`${parsed.name}.json`);
    }
  });

  it("fills in defaults", () => {
    expect(recipe.stages[0]).toMatchObject({ b1: 0.9, b2: 0.95, clipNorm: 1, mixture: { texts: 1 } });
  });

  it.each([
    [{ ...json, name: "a/b" }, /^recipe: expected a valid name, /],
    [{ ...json, vocabulary: { size: 200, specialTokens: ["<end>"] } }, /^recipe: expected a valid vocabulary\.size, /],
    [
      { ...json, vocabulary: { size: 300, specialTokens: [] } },
      /^recipe: expected a valid vocabulary\.specialTokens, /,
    ],
    [{ ...json, stages: [{ ...stage, learningRate: 0 }] }, /^recipe: expected a valid stages\.0\.learningRate, /],
    [{ ...json, stages: [{ ...stage, tokens: "16M" }] }, /^recipe: expected a valid stages\.0\.tokens, /],
    [{ ...json, stages: [{ ...stage, epochs: 3 }] }, /^recipe: expected a valid stages\.0, .*"epochs"/],
    [{ ...json, model: {} }, /^recipe: expected a valid model\.model_type, /],
    [null, /^recipe: expected a valid file, /],
  ])("names what is wrong in one line: %#", (given, message) => {
    expect(() => parseRecipe(given)).toThrow(message);
    expect(() => parseRecipe(given)).toThrow(UserError);
    expect(() => parseRecipe(given)).toThrow(/^[^\n]*$/);
  });
});
