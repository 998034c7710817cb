/** EWC: the penalty against finite differences, the Fisher information against its definition, both modes, states. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { expectClose } from "../../tests/support/close.ts";
import { smallTexts, textModel } from "../../tests/support/text-model.ts";
import { documentsOf, learn, lossesOf, savedState } from "../../tests/support/training.ts";
import { workbench } from "../../tests/support/workbench.ts";
import { loadModel } from "../models/load.ts";
import { createScorer } from "../models/score.ts";
import { float32Host } from "../tensor/dtype.ts";
import { randomStream } from "../tensor/random.ts";
import { cutRows } from "./batches.ts";
import {
  addPenaltyGradient,
  ewc,
  fisherDiagonal,
  penaltyValue,
  type Quadratic,
  runningQuadratic,
  sumOfQuadratics,
} from "./ewc.ts";
import { finetune } from "./finetune.ts";
import type { Method } from "./method.ts";
import type { Gradients } from "./remedy.ts";

const { runtime, root } = workbench("ewc");
const base = await textModel(join(root, "base"));

const quick = { epochs: 10, batchSize: 4, contextLength: 32, learningRate: 5e-3, warmupSteps: 2 };
const create = (options: Record<string, unknown> = {}, model = base): Promise<Method> =>
  ewc.create(model, { ...quick, ...options }, { runtime, seed: 3 });
const [harbour, oven] = [documentsOf(smallTexts.harbour), documentsOf(smallTexts.oven)];
const third = documentsOf("Seven blue boats bake at two hundred degrees until the wind is hollow.");

const draw = (seed: number, shapes: Record<string, number>, low: number, high: number): Record<string, Float32Array> =>
  Object.fromEntries(
    Object.entries(shapes).map(([name, size]) => [
      name,
      randomStream(seed, name).fillUniform(new Float32Array(size), low, high),
    ]),
  );
const shapes = { a: 7, b: 3 };
const quadratic = (seed: number): Quadratic => ({
  fisher: draw(seed, shapes, 0, 2),
  anchor: draw(seed + 50, shapes, -1, 1),
});
const gradientOf = (
  penalties: readonly Quadratic[],
  lambda: number,
  weights: Gradients,
): Record<string, Float32Array> => {
  const into = draw(99, shapes, 0, 0);
  for (const penalty of penalties) addPenaltyGradient(penalty, lambda, weights, into);
  return into;
};

describe("the penalty", () => {
  it("adds the gradient of its value (central differences, exact for a quadratic)", () => {
    const [one, weights, start, lambda] = [quadratic(1), draw(7, shapes, -1, 1), draw(8, shapes, -1, 1), 3.5];
    const into = Object.fromEntries(Object.entries(start).map(([name, values]) => [name, values.slice()]));
    addPenaltyGradient(one, lambda, weights, into);
    for (const [name, values] of Object.entries(weights)) {
      const slopes = Array.from(values, (w, i) => {
        const at = (x: number): number => {
          const moved = Float32Array.from(values);
          moved[i] = x;
          return penaltyValue(one, lambda, { ...weights, [name]: moved });
        };
        const [up, down] = [Math.fround(w + 0.25), Math.fround(w - 0.25)];
        return start[name][i] + (at(up) - at(down)) / (up - down);
      });
      expectClose(name, into[name], slopes, { absolute: 1e-6, relative: 1e-6 });
    }
  });

  it("of several topics is one quadratic: its gradient is the sum of theirs, its value but for a constant", () => {
    const topics = [quadratic(1), quadratic(2), quadratic(3)];
    for (const { fisher } of topics) fisher.a[0] = 0; // A weight that no topic needs
    topics[0].fisher.a[1] = 0;
    const joint = topics.reduce<Quadratic | undefined>(sumOfQuadratics, undefined) as Quadratic;
    const constants = [11, 12, 13].map((seed) => {
      const weights = draw(seed, shapes, -1, 1);
      const [of, sum] = [gradientOf([joint], 2, weights), gradientOf(topics, 2, weights)];
      for (const name of Object.keys(shapes))
        expectClose(name, of[name], sum[name], { absolute: 2e-6, relative: 2e-6 });
      return topics.reduce((total, topic) => total + penaltyValue(topic, 2, weights), -penaltyValue(joint, 2, weights));
    });
    for (const constant of constants) expect(constant).toBeCloseTo(constants[0], 4);
  });

  it("online: gamma F + F around the latest weights (by hand)", () => {
    const one = { fisher: { w: Float32Array.of(4, 0) }, anchor: { w: Float32Array.of(1, 2) } };
    const two = { fisher: { w: Float32Array.of(1, 3) }, anchor: { w: Float32Array.of(5, 6) } };
    expect(runningQuadratic(one, two, 0.5)).toEqual({ fisher: { w: Float32Array.of(3, 3) }, anchor: two.anchor });
    expect(runningQuadratic(undefined, two, 0.5)).toBe(two);
  });
});

describe("the Fisher information", () => {
  it("is the sum of squared gradients of log p(row), per target (by hand)", async () => {
    // Rows of 2, 2 and 1 targets whose gradients are told
    const rows = cutRows(Int32Array.of(9, 8, 7, 6, 5, 4), 2);
    const told: Gradients[] = [
      { w: Float32Array.of(1, 2) },
      { w: Float32Array.of(-3, 0) },
      { w: Float32Array.of(5, 1) },
    ];
    const seen: number[] = [];
    const lesson = {
      seed: 4,
      async *rowGradients(_: unknown, order: Iterable<number>) {
        for (const index of order) {
          seen.push(index);
          yield told[index];
        }
      },
    };
    expect(await fisherDiagonal(lesson, rows, 10)).toEqual({ w: Float32Array.of((1 + 9 + 25) / 5, (4 + 0 + 1) / 5) });
    expect(seen.sort()).toEqual([0, 1, 2]);
    const { w } = await fisherDiagonal(lesson, rows, 1);
    const [only] = seen.slice(3);
    expect(seen).toHaveLength(4);
    const targets = [2, 2, 1][only];
    expect([...w]).toEqual(Array.from(told[only].w, (g) => Math.fround((g * g) / targets)));
  });

  it("of a model after a topic is what finite differences of its rows' likelihoods give", async () => {
    // One document that is one row, so that the scorer's likelihood is the row's
    const text = "The harbour wakes before the gulls.";
    const method = await create({ epochs: 2, contextLength: 64, fisherSamples: 8 });
    await learn(method, documentsOf(text));
    const { tensors } = await method.state();
    const weights = Object.fromEntries(
      Object.entries(base.weights).map(([name, { shape }]) => [
        name,
        float32Host(shape, tensors[name].data as Float32Array),
      ]),
    );
    const scorer = await createScorer(runtime, { ...base, weights }, base.tokenizer, { frozen: false });
    const ids = base.tokenizer.encode(text, { addSpecialTokens: false });
    const targets = ids.length + 1;
    const nats = async (): Promise<number> => (await scorer.scoreSequences([{ ids: [1, ...ids, 0], from: 1 }]))[0].nats;
    for (const [name, places] of [
      ["model.layers.0.self_attn.v_proj.weight", [0, 77]],
      ["model.layers.1.mlp.down_proj.weight", [5, 300]],
      ["model.norm.weight", [3, 20]],
      ["lm_head.weight", [40, 1000]],
    ] as const) {
      const { data } = weights[name];
      for (const i of places) {
        const held = data[i];
        const eps = 0.02;
        data[i] = held + eps;
        const up = await nats();
        data[i] = held - eps;
        const down = await nats();
        data[i] = held;
        const slope = (up - down) / (2 * eps);
        const fisher = Number(tensors[`fisher:${name}`].data[i]);
        // float32 likelihoods of some 100 nats err by about 1e-5, so slopes by 5e-4 and by eps^2
        expect(Math.abs(Math.sqrt(fisher * targets) - Math.abs(slope)), `${name} ${i}`).toBeLessThan(
          3e-3 + 0.01 * Math.abs(slope),
        );
      }
    }
    await scorer.dispose();
    await method.dispose();
  });
});

describe("the method", () => {
  it("learns its first observation as fine-tuning does, then forgets less the larger lambda is", async () => {
    const plain = await finetune.create(base, quick, { runtime, seed: 3 });
    const free = await create({ lambda: 0 });
    const held = await create({ lambda: 1e4 });
    const nats = async (method: Method, text: string): Promise<number> => (await method.score("", text)).nats;
    const [a, b] = [await learn(plain, harbour), await learn(held, harbour)];
    await learn(free, harbour);
    expect(lossesOf(b.events)).toEqual(lossesOf(a.events));
    expect(b.receipt.flops as number).toBeGreaterThan(a.receipt.flops as number);
    const before = await nats(held, smallTexts.harbour);
    for (const method of [plain, free, held]) await learn(method, oven);
    expect(await nats(free, smallTexts.harbour)).toBe(await nats(plain, smallTexts.harbour));
    const [forgot, kept] = [await nats(plain, smallTexts.harbour), await nats(held, smallTexts.harbour)];
    expect(forgot - before).toBeGreaterThan(10);
    expect(kept - before).toBeLessThan(0.6 * (forgot - before));
    for (const method of [plain, free, held]) await method.dispose();
  });

  it("separate and online are one method while there is one past topic, and differ after the second", async () => {
    const [separate, online] = [
      await create({ lambda: 100 }),
      await create({ lambda: 100, mode: "online", gamma: 0.5 }),
    ];
    const losses = async (method: Method, documents = harbour) => lossesOf((await learn(method, documents)).events);
    for (const documents of [harbour, oven])
      expect(await losses(online, documents)).toEqual(await losses(separate, documents));
    expect(await losses(online, third)).not.toEqual(await losses(separate, third));
    await separate.dispose();
    await online.dispose();
  });

  it.each(["separate", "online"])(
    "its state restores exactly, stopped runs resume to the same bits: %s",
    async (mode) => {
      const options = { mode, lambda: 50, fisherSamples: 3, epochs: 4 };
      const one = await create(options);
      const bare = one.bytes();
      await learn(one, harbour);
      await learn(one, oven);
      expect(one.bytes()).toBe(3 * bare); // weights, importances, anchors: for any number of topics
      const past = await one.state();
      const [whole, broken] = [join(root, `whole ${mode}`), join(root, `broken ${mode}`)];
      const unbroken = await learn(one, third, { checkpoint: whole });
      for (const stopAt of [1, 2, undefined]) {
        const method = await create(options);
        await method.restore(past);
        expect(await method.state()).toEqual(past);
        const { receipt } = await learn(method, third, { checkpoint: broken, stopAt });
        if (stopAt === undefined) {
          expect({ ...receipt, seconds: 0 }).toEqual({ ...unbroken.receipt, seconds: 0 });
          expect(await method.state()).toEqual(await one.state());
        }
        await method.dispose();
      }
      expect(await savedState(broken)).toEqual(await savedState(whole));
      await one.dispose();
    },
  );

  it("aborted while it takes the Fisher information, counts as interrupted and keeps the old one", async () => {
    const method = await create({ epochs: 1 });
    const controller = new AbortController();
    let stopped: string | undefined;
    const checkpoint = join(root, "aborted");
    for await (const event of method.observe(harbour, { checkpoint, signal: controller.signal })) {
      if (event.type === "checkpoint") controller.abort(); // The last one is made when all steps are done
      if (event.type === "receipt") stopped = event.receipt.stopped;
    }
    expect(stopped).toBe("interrupted");
    expect(Object.keys((await method.state()).tensors).some((name) => name.startsWith("fisher:"))).toBe(false);
    const { receipt } = await learn(method, harbour, { checkpoint });
    expect(receipt.stopped).toBe("done");
    expect(Object.keys((await method.state()).tensors).some((name) => name.startsWith("fisher:"))).toBe(true);
    await method.dispose();
  });

  it("holds the base from the first topic on where a text tells what it knows", async () => {
    const file = join(root, "known.txt");
    await writeFile(file, smallTexts.oven);
    const teacher = await finetune.create(base, { ...quick, epochs: 40 }, { runtime, seed: 3 });
    await learn(teacher, oven);
    await finetune.save(teacher, base, join(root, "knowing"), {});
    const knowing = await loadModel(join(root, "knowing"));
    const plain = await create({ lambda: 1e4 }, knowing);
    const held = await create({ lambda: 1e4, protect: file }, knowing);
    const [a, b] = [await learn(plain, harbour), await learn(held, harbour)];
    expect(lossesOf(b.events)[0]).toEqual(lossesOf(a.events)[0]);
    const [before, forgot, kept] = [
      await teacher.score("", smallTexts.oven),
      await plain.score("", smallTexts.oven),
      await held.score("", smallTexts.oven),
    ].map(({ nats }) => nats);
    expect(forgot - before).toBeGreaterThan(50);
    expect(kept - before).toBeLessThan(0.6 * (forgot - before));
    await teacher.dispose();
    await expect(create({ protect: join(root, "nowhere.txt") })).rejects.toThrow(/^readTextFile: /);
    await plain.dispose();
    await held.dispose();
  });
});
