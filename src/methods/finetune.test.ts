/** Full fine-tuning on a small random model: it learns, stops and resumes, keeps to itself, and saves what it became. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { textModel, smallTexts } from "../../tests/support/text-model.ts";
import { documentsOf, learn, lossesOf, savedState } from "../../tests/support/training.ts";
import { workbench } from "../../tests/support/workbench.ts";
import { UserError } from "../errors.ts";
import { type LoadedModel, loadModel } from "../models/load.ts";
import { bitsPerByte, createScorer } from "../models/score.ts";
import { type Runtime } from "../runtime/runtime.ts";
import { float32Host } from "../tensor/dtype.ts";
import { parseMethodOptions } from "./definition.ts";
import { finetune } from "./finetune.ts";
import { observationSeed } from "./gradient-method.ts";
import { lora } from "./lora.ts";
import type { Method } from "./method.ts";

const { runtime, root } = workbench("finetune");
const base = await textModel(join(root, "base"));

const quick = { epochs: 12, batchSize: 4, contextLength: 32, learningRate: 5e-3, warmupSteps: 2 };
const create = (options: Record<string, unknown> = {}, model = base): Promise<Method> =>
  finetune.create(model, parseMethodOptions(finetune, { ...quick, ...options }), { runtime, seed: 3 });
const documents = documentsOf(smallTexts.harbour);
const score = async (method: Method, text: string = smallTexts.harbour): Promise<number> =>
  bitsPerByte(await method.score("", text));
const copies = ({ weights }: LoadedModel): Record<string, Float32Array> =>
  Object.fromEntries(Object.entries(weights).map(([name, { data }]) => [name, data.slice()]));
const arraysOf = async (method: Method): Promise<Record<string, unknown>> =>
  Object.fromEntries(Object.entries((await method.state()).tensors).map(([name, { data }]) => [name, data]));

describe("learning", () => {
  it.each(["llama", "gpt2", "qwen2"] as const)(
    "lowers the bits per byte of the text and of no other: %s",
    async (architecture) => {
      const model = await textModel(join(root, architecture), { architecture, context: 256 });
      const before = copies(model);
      const method = await create({ epochs: 80, contextLength: 256, learningRate: 1e-2 }, model);
      const [learned, other] = [await score(method), await score(method, smallTexts.oven)];
      const { events, receipt } = await learn(method, documents);
      const losses = lossesOf(events).map(([, loss]) => loss);
      expect(receipt).toMatchObject({
        documents: ["text-0"],
        stopped: "done",
        steps: losses.length,
        finalLoss: losses.at(-1),
      });
      expect(losses[0]).toBeGreaterThan(4);
      expect(losses.at(-1)).toBeLessThan(0.2);
      expect(await score(method)).toBeLessThan(learned / 4);
      expect(await score(method, smallTexts.oven)).toBeGreaterThan(other / 2);
      if (architecture === "llama") {
        // The others read prompts without the start that the text had when it was learned
        let text = "The harbour wakes before the gulls.";
        for await (const piece of method.generate(text, { maxTokens: 60 })) text += piece;
        expect(text.length).toBeGreaterThan(100);
        expect(smallTexts.harbour.startsWith(text)).toBe(true);
      }
      expect(method.bytes()).toBe(4 * Object.values(model.weights).reduce((total, { data }) => total + data.length, 0));
      expect(copies(model)).toEqual(before);
      await method.dispose();
    },
  );

  it("counts its steps from epochs, batches and accumulation", async () => {
    const method = await create({ epochs: 3, accumulate: 2 });
    const ids = base.tokenizer.encode(smallTexts.harbour, { addSpecialTokens: false });
    const rows = Math.ceil((ids.length + 1) / 32); // <begin>, the text, <end>: one target less than tokens
    const { receipt, events } = await learn(method, documents);
    expect(receipt.steps).toBe(Math.ceil((3 * rows) / 8));
    expect(events.at(-2)).toMatchObject({ type: "step", step: receipt.steps, steps: receipt.steps });
    await method.dispose();
  });

  it("stops early on the text it keeps back, and at the token budget", async () => {
    const early = await create({
      epochs: 200,
      validationShare: 0.2,
      patience: 2,
      learningRate: 2e-2,
      schedule: "constant",
    });
    const { receipt, events } = await learn(early, documents);
    expect(receipt.stopped).toBe("early-stop");
    const bits = events.flatMap((event) => (event.type === "validation" ? [event.bitsPerByte] : []));
    const heldOut = smallTexts.harbour.slice(Math.floor(smallTexts.harbour.length * 0.8));
    expect(await score(early, heldOut)).toBeCloseTo(Math.min(...bits), 4);
    expect(bits.at(-1)).toBeGreaterThan(Math.min(...bits));
    await early.dispose();

    const frugal = await create({ tokenBudget: 300 });
    const { receipt: small } = await learn(frugal, documents);
    expect(small.stopped).toBe("token-budget");
    expect(small.tokens).toBeGreaterThanOrEqual(300);
    expect(small.tokens).toBeLessThan(300 + 4 * 32);
    await frugal.dispose();
  });

  it("holds one training graph at a time, whatever the batch sizes of its observations", async () => {
    let live = 0;
    const counting: Runtime = {
      ...runtime,
      async compile(outputs, frozen) {
        const program = await runtime.compile(outputs, frozen);
        live++;
        return { ...program, release: () => (live--, program.release()) };
      },
    };
    const options = { ...quick, epochs: 1 };
    const method = await finetune.create(base, options, { runtime: counting, seed: 3 });
    const short = documentsOf(smallTexts.harbour.slice(0, 40));
    for (const texts of [short, documents, documents, short]) {
      expect((await learn(method, texts)).receipt.stopped).toBe("done");
      expect(live).toBe(1);
    }
    await method.dispose();
    expect(live).toBe(0);
  });

  it("draws for each seed and observation numbers of their own", () => {
    const grid = Array.from({ length: 400 }, (_, i) => observationSeed(i % 20, Math.floor(i / 20)));
    expect(new Set(grid).size).toBe(400);
    expect(observationSeed(3, 2)).toBe(grid[43]);
  });

  it("refuses nothing to learn", async () => {
    const method = await create();
    await expect(learn(method, documentsOf("", ""))).rejects.toThrow(
      "packDocuments: expected at least one token, got none",
    );
    await expect(learn(method, [])).rejects.toBeInstanceOf(UserError);
    await method.dispose();
  });
});

describe("bad numbers", () => {
  it("a rate far too high stops with the step's number, and the weights are those from before", async () => {
    const method = await create({ learningRate: 1e30, optimizer: "sgd", clipNorm: 0 });
    const before = await arraysOf(method);
    const run = learn(method, documents, { checkpoint: join(root, "absurd") });
    await expect(run).rejects.toThrow(
      /^train: expected finite numbers, got .* at step 2; the weights of step 0 are kept, lower the learning rate$/,
    );
    expect(await arraysOf(method)).toEqual(before);
    expect(await score(method)).toBeLessThan(20);
    await method.dispose();
  });

  it("a weight that is none stops at the first step", async () => {
    const name = "model.layers.1.mlp.up_proj.weight";
    const data = base.weights[name].data.slice();
    data[5] = Number.NaN;
    const method = await create(
      {},
      { ...base, weights: { ...base.weights, [name]: float32Host(base.weights[name].shape, data) } },
    );
    await expect(learn(method, documents)).rejects.toThrow(
      "got a loss of NaN at step 1; the weights of step 0 are kept",
    );
    await method.dispose();
  });
});

describe.each([
  ["finetune", finetune, {}],
  ["finetune with early stopping", finetune, { validationShare: 0.2, patience: 3 }],
  ["lora with dropout", lora, { dropout: 0.3, rank: 4 }],
])("%s, stopped and resumed", (name, definition, options) => {
  const fresh = (): Promise<Method> =>
    definition.create(base, parseMethodOptions(definition, { ...quick, epochs: 6, accumulate: 2, ...options }), {
      runtime,
      seed: 3,
    });

  it("at several steps gives the very numbers of the unbroken run", async () => {
    const [whole, broken] = [join(root, `whole ${name}`), join(root, `broken ${name}`)];
    const one = await fresh();
    const unbroken = await learn(one, documents, { checkpoint: whole });
    const losses: [number, number][] = [];
    const steps = unbroken.receipt.steps;
    expect(steps).toBeGreaterThan(4);
    for (const stopAt of [1, 2, steps - 2, undefined]) {
      // As a new process would: a fresh method on the same base
      const method = await fresh();
      const { events, receipt } = await learn(method, documents, { checkpoint: broken, stopAt });
      losses.push(...lossesOf(events));
      const { seconds: _, ...rest } = receipt;
      if (stopAt === undefined) {
        expect(rest).toEqual({ ...unbroken.receipt, seconds: undefined });
        expect(await arraysOf(method)).toEqual(await arraysOf(one));
      } else expect(rest).toMatchObject({ stopped: "interrupted", steps: stopAt });
      await method.dispose();
    }
    expect(losses).toEqual(lossesOf(unbroken.events));
    expect(await savedState(broken)).toEqual(await savedState(whole));
    await one.dispose();
  });

  it("refuses the checkpoint of other texts, options, seeds, bases and pasts", async () => {
    const at = join(root, `refused ${name}`);
    const first = await fresh();
    await learn(first, documents, { checkpoint: at, stopAt: 1 });
    const refusal = /^train: expected a state of this run in .* got one of another run/;
    const from = async (method: Method, texts = documents): Promise<void> => {
      await expect(learn(method, texts, { checkpoint: at })).rejects.toThrow(refusal);
      await method.dispose();
    };
    const make = (more: Record<string, unknown>, model = base, seed = 3): Promise<Method> =>
      definition.create(
        model,
        parseMethodOptions(definition, { ...quick, epochs: 6, accumulate: 2, ...options, ...more }),
        { runtime, seed },
      );
    await from(await fresh(), documentsOf(smallTexts.oven));
    await from(await make({ learningRate: 1e-4 }));
    await from(await make({}, base, 4));
    await from(await make({}, await textModel(join(root, "other base"), { seed: 2 })));
    const experienced = await fresh();
    await learn(experienced, documentsOf("a short text of its own"));
    await from(experienced);
    await first.dispose();
  });
});

describe("state", () => {
  it("is a copy that restores the score, in the method and in another one", async () => {
    const method = await create();
    await learn(method, documents);
    const saved = await method.state();
    const learned = await score(method);
    await learn(method, documentsOf(smallTexts.oven));
    expect(await score(method)).not.toBe(learned);
    await method.restore(saved);
    expect(await score(method)).toBe(learned);
    const other = await create();
    await other.restore(saved);
    expect(await score(other)).toBe(learned);
    // The next observation continues as it would have: same order of rows, same receipt
    const [a, b] = [
      await learn(method, documentsOf(smallTexts.oven)),
      await learn(other, documentsOf(smallTexts.oven)),
    ];
    expect(lossesOf(a.events)).toEqual(lossesOf(b.events));
    expect(a.receipt.id).toBe(b.receipt.id);
    await method.dispose();
    await other.dispose();
  });

  it("of another model is refused as a whole", async () => {
    const method = await create();
    const before = await arraysOf(method);
    const { tensors, json } = await method.state();
    const [first, ...rest] = Object.entries(tensors);
    const changed = {
      [first[0]]: float32Host(
        first[1].shape,
        (first[1].data as Float32Array).map((x) => x + 1),
      ),
    };
    const missing = { ...changed, ...Object.fromEntries(rest.slice(1)) };
    await expect(method.restore({ tensors: missing, json })).rejects.toThrow(
      /^finetune: expected \d+ saved numbers for .*, got none/,
    );
    expect(await arraysOf(method)).toEqual(before);
    await method.dispose();
  });
});

describe("saving", () => {
  it.each(["llama", "gpt2"] as const)("gives a folder that loads as the model it became: %s", async (architecture) => {
    const model = await textModel(join(root, `save ${architecture}`), { architecture });
    const method = await create({ epochs: 2 }, model);
    await learn(method, documents);
    const folder = join(root, `saved ${architecture}`);
    expect(await finetune.save(method, model, folder, parseMethodOptions(finetune, quick))).toBe(
      `model in Hugging Face layout: ${folder}`,
    );
    expect((await readdir(folder)).sort()).toEqual([
      "config.json",
      "model.safetensors",
      "tokenizer.json",
      "tokenizer_config.json",
    ]);
    const loaded = await loadModel(folder, { checkWeights: true });
    const scorer = await createScorer(runtime, loaded, loaded.tokenizer);
    expect(await scorer.scoreText("", smallTexts.oven)).toEqual(await method.score("", smallTexts.oven));
    await scorer.dispose();
    await method.dispose();
  });

  it("into a place that is a file is refused in one line", async () => {
    const method = await create();
    const file = join(root, "base", "config.json");
    await expect(finetune.save(method, base, file, {})).rejects.toThrow(
      `save: expected a folder at ${file}, got a file; choose another place`,
    );
    await method.dispose();
  });
});

describe("two methods on one base and runtime", () => {
  it("share nothing that one of them changes, and one outlives the other", async () => {
    const before = copies(base);
    const a = await create();
    const b = await create();
    const c = await lora.create(base, parseMethodOptions(lora, quick), { runtime, seed: 3 });
    const untouched = await score(b);
    expect(await score(a)).toBe(untouched);
    await learn(a, documents);
    expect(await score(b)).toBe(untouched);
    await learn(b, documents);
    expect(await score(b)).toBe(await score(a));
    await learn(c, documents);
    expect(await score(b)).toBe(await score(a));
    const [ofB, ofC] = [await score(b), await score(c)];
    await a.dispose();
    expect(await score(b)).toBe(ofB);
    await learn(b, documentsOf(smallTexts.oven));
    await b.dispose();
    expect(await score(c)).toBe(ofC);
    await learn(c, documentsOf(smallTexts.oven));
    await c.dispose();
    expect(copies(base)).toEqual(before);
  });
});
