/** Sparse memory finetuning of a small random model: which numbers change, what comes back, and what is refused. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { digest, drive, learn, lossesOf } from "../../tests/support/training.ts";
import { textModel } from "../../tests/support/text-model.ts";
import { workbench } from "../../tests/support/workbench.ts";
import { createRowWrites } from "../memory/row-writes.ts";
import { type LoadedModel, loadModel } from "../models/load.ts";
import { input, reshape, rows } from "../tensor/functions.ts";
import { gradients } from "../tensor/grad.ts";
import { crossEntropy } from "../nn/loss.ts";
import { weightInputs, paramsOf } from "../nn/params.ts";
import { int32Host } from "../tensor/dtype.ts";
import type { Document, Method, StatedFact } from "./method.ts";
import { loadBackground, saveBackground } from "./sparse/background.ts";
import { lessonsOf } from "./sparse/lessons.ts";
import { createPasses } from "./sparse/passes.ts";
import { sparseMemory } from "./sparse-memory.ts";

const { runtime, root } = workbench("sparse-memory");
const memory = { layers: [0, 1], slots: 64, heads: 2, knn: 3, keyWidth: 8, valueWidth: 12 };
const base = await textModel(join(root, "base"), { memory });
const [name, slots, width] = ["model.memory.values", memory.slots, memory.valueWidth];
const own = digest(base.weights[name].data);

const words = (i: number): string[] => [
  `Boat ${i} is painted green by Mara.`,
  `It is Mara who paints boat ${i} green.`,
  `The colour of boat ${i} is green, says Mara.`,
];
const documents = (...numbers: number[]): Document[] =>
  numbers.map((i) => ({ id: `boat ${i}`, text: words(i).join("\n"), restated: words(i) }));

async function* texts(): AsyncGenerator<Document> {
  for (let i = 0; i < 8; i++)
    yield { id: `${i}`, text: `When the wind is from the ${i % 2 ? "north" : "west"} ropes creak.` };
}

/** Counts a background and puts it beside the model. */
async function fitBackground(model: LoadedModel, folder: string): Promise<Record<string, number>> {
  if (!sparseMemory.fit) throw new Error("no fit");
  const task = { runtime, seed: 0, documents: texts() };
  const { result } = await drive(sparseMemory.fit.run(model, { batches: 20, batchSize: 2, contextLength: 16 }, task));
  await result.save(folder);
  return { ...result.measured };
}
const measured = await fitBackground(base, base.folder);

const quick = { top: 5, learningRate: 5, batchSize: 8 };
const create = (options: Record<string, unknown> = {}): Promise<Method> =>
  sparseMemory.create(base, { ...quick, ...options }, { runtime, seed: 0 });

let saved = 0;
/** The table as a method has it now, by way of the checkpoint that it writes. */
async function tableOf(method: Method): Promise<Float32Array> {
  const folder = join(root, `saved-${saved++}`);
  await mkdir(folder);
  await sparseMemory.save(method, base, folder, quick);
  const { weights } = await loadModel(folder);
  for (const [other, { data }] of Object.entries(weights))
    if (other !== name) expect(digest(data), other).toBe(digest(base.weights[other].data));
  return weights[name].data;
}

const changed = (table: Float32Array, before = base.weights[name].data): number[] =>
  Array.from({ length: slots }, (_, slot) => slot).filter((slot) =>
    table.subarray(slot * width, (slot + 1) * width).some((value, i) => value !== before[slot * width + i]),
  );

describe("a pass", () => {
  const options = { tokenizer: base.tokenizer, eosId: 0, contextLength: 64, batchSize: 8, loss: "full" } as const;

  it("gives the rows of the dense gradient, and counts what tokens read, not padding", async () => {
    const batch = lessonsOf(documents(1)[0], options)[0].batchAt(0);
    const passes = createPasses(runtime, base, name);
    const { loss, gradient, counts } = await passes.learn(batch);
    const [B, T] = [3, batch.ids.length / 3];
    const inputs = weightInputs(Object.fromEntries(Object.entries(base.weights).map(([key, one]) => [key, one.shape])));
    const p = paramsOf(inputs);
    const { final, reads } = base.definition.forward(p, base.config, { ids: input("ids", "int32", [B, T]) });
    const logits = base.definition.logits(p, base.config, rows(final));
    const mean = crossEntropy(
      logits,
      reshape(input("targets", "int32", [B, T]), [B * T]),
      input("mask", "float32", [B * T]),
    );
    const [dense] = gradients(mean, [inputs[name]]);
    const program = await runtime.compile({ mean, dense, one: reads[0].slots, two: reads[1].slots });
    const found = await program.run({
      ...base.weights,
      ids: int32Host([B, T], batch.ids),
      targets: int32Host([B, T], batch.targets),
      mask: { dtype: "float32", shape: [B * T], data: batch.mask },
    });
    await program.release();
    expect(loss).toBeCloseTo((found.mean.data as Float32Array)[0], 5);
    const rowOf = new Map([...gradient.indices()].map((slot, i) => [slot, i]));
    const values = gradient.values();
    for (let slot = 0; slot < slots; slot++) {
      for (let j = 0; j < width; j++) {
        const at = rowOf.get(slot);
        // float32 sums in another order
        expect(at === undefined ? 0 : values[at * width + j]).toBeCloseTo(
          (found.dense.data as Float32Array)[slot * width + j],
          6,
        );
      }
    }
    const wanted = new Map<number, number>();
    for (const layer of [found.one, found.two]) {
      const bags = layer.data as Int32Array;
      for (let token = 0; token < B * T; token++) {
        if (batch.present[token] === 0) continue;
        for (const slot of bags.subarray(token * 6, (token + 1) * 6)) wanted.set(slot, (wanted.get(slot) ?? 0) + 1);
      }
    }
    expect(counts).toEqual(wanted);
    expect(await passes.read(batch.ids, batch.present, B)).toEqual(wanted);
    await passes.dispose();
  });
});

describe("lessons", () => {
  const options = { tokenizer: base.tokenizer, eosId: 0, contextLength: 64, batchSize: 2, loss: "answer" } as const;

  it("pad every wording alone and go round", () => {
    const [lesson] = lessonsOf({ ...documents(1)[0], facts: [] }, { ...options, loss: "full" });
    expect(lesson.wordings).toBe(3);
    const [first, second] = [lesson.batchAt(0), lesson.batchAt(1)];
    expect(first.rows).toBe(2);
    const T = second.ids.length / 2;
    // Wordings 3 and 1
    const third = [1, ...base.tokenizer.encode(`${words(1)[2]}\n`, { addSpecialTokens: false })];
    expect([...second.ids.subarray(0, third.length)]).toEqual(third);
    const again = first.ids.subarray(0, 10);
    expect([...second.ids.subarray(T, T + 10)]).toEqual([...again]);
  });

  it("learn the answer alone where there is one, and its end", () => {
    const facts: StatedFact[] = [{ prompt: { text: "Who paints boat 1?" }, target: "Mara" }];
    const [lesson] = lessonsOf({ ...documents(1)[0], facts, restated: [words(1)[0]] }, options);
    const { ids, targets, mask, targetCount } = lesson.batchAt(0);
    const learned = [...targets].filter((_, i) => mask[i] === 1);
    expect(base.tokenizer.decode(learned)).toBe(" Mara.");
    expect(targetCount).toBe(learned.length);
    expect(ids.length).toBe(mask.length);
  });

  it("are one for each chunk of a text without wordings", () => {
    const text = "ropes creak ".repeat(30);
    const lessons = lessonsOf({ id: "long", text }, { ...options, contextLength: 16 });
    expect(lessons.length).toBeGreaterThan(3);
    expect(lessons.every(({ wordings }) => wordings === 1)).toBe(true);
  });
});

describe("learning", () => {
  it("changes at most t rows a step, nothing else, and lowers the loss", async () => {
    const method = await create();
    const { receipt } = await learn(method, documents(1));
    const table = await tableOf(method);
    expect(changed(table)).toEqual(receipt.slots);
    expect(receipt.slots?.length).toBe(5);
    expect(digest(base.weights[name].data)).toBe(own);
    const more = await create({ repeats: 30, top: 20, learningRate: 100 });
    const { events } = await learn(more, documents(1));
    const losses = lossesOf(events).map(([, loss]) => loss);
    expect(losses.at(-1)).toBeLessThan(losses[0] - 0.05);
    expect(changed(await tableOf(more)).length).toBeLessThan(slots);
    await method.dispose();
    await more.dispose();
  });

  it.each(["tf-idf", "tf", "kl", "random", "all"] as const)("chooses by %s", async (ranking) => {
    const method = await create({ ranking });
    const { receipt } = await learn(method, documents(2));
    const count = receipt.slots?.length ?? 0;
    if (ranking === "all") expect(count).toBeGreaterThan(5);
    else expect(count).toBe(5);
    await method.dispose();
  });

  it.each(["adam", "adamw"] as const)("with %s keeps the moments of all other rows", async (optimizer) => {
    const method = await create({ optimizer, learningRate: 1e-2 });
    const { receipt } = await learn(method, documents(1));
    const { moments } = (await method.state()).tensors;
    const data = moments.data as Float32Array;
    const touched = Array.from({ length: slots }, (_, slot) => slot).filter((slot) =>
      data.subarray(2 * slot * width, 2 * (slot + 1) * width).some((value) => value !== 0),
    );
    expect(touched).toEqual(receipt.slots);
    await method.dispose();
  });

  it("counts a background from what it learns, where it is asked to", async () => {
    const method = await create({ background: "stream" });
    await learn(method, documents(1, 2, 3));
    expect((await method.state()).json.batches).toBe(3);
    await method.dispose();
  });

  it("goes on from a saved state to the same numbers", async () => {
    const [one, two] = [await create({ optimizer: "adam" }), await create({ optimizer: "adam" })];
    await learn(one, documents(1));
    await two.restore(await one.state());
    const receipts = [await learn(one, documents(2)), await learn(two, documents(2))].map(({ receipt }) => receipt.id);
    expect(receipts[1]).toBe(receipts[0]);
    expect(digest(await tableOf(two))).toBe(digest(await tableOf(one)));
    await one.dispose();
    await two.dispose();
  });

  it("stopped, leaves the table as it was", async () => {
    const method = await create({ repeats: 4 });
    const { receipt } = await learn(method, documents(1), { stopAt: 2 });
    expect(receipt.stopped).toBe("interrupted");
    expect(digest(await tableOf(method))).toBe(own);
    await method.dispose();
  });
});

describe("forgetting", () => {
  it("puts the hash back, whatever was written elsewhere", async () => {
    const method = await create();
    const first = await learn(method, documents(1));
    const before = digest(await tableOf(method));
    const second = await learn(method, documents(2));
    expect(digest(await tableOf(method))).not.toBe(before);
    await method.forget?.(second.receipt.id);
    expect(digest(await tableOf(method))).toBe(before);
    await method.forget?.(first.receipt.id);
    expect(digest(await tableOf(method))).toBe(own);
    await expect(method.forget?.(first.receipt.id)).rejects.toThrow(
      /^sparse-memory: expected the id of one of the last/,
    );
    await method.dispose();
  });

  it("of a write under another is refused, or learns that one again as if the first had never been", async () => {
    const all = { ranking: "all" };
    const method = await create(all);
    const { receipt } = await learn(method, documents(1));
    const second = await learn(method, documents(2));
    await expect(method.forget?.(receipt.id)).rejects.toThrow(
      `sparse-memory: expected a write whose slots no later one changed, got ${receipt.id} under ${second.receipt.id}`,
    );
    const replaying = await create({ ...all, replay: true });
    const first = await learn(replaying, documents(1));
    await learn(replaying, documents(2));
    await replaying.forget?.(first.receipt.id);
    const never = await create({ ...all, replay: true });
    await learn(never, documents(2));
    expect(digest(await tableOf(replaying))).toBe(digest(await tableOf(never)));
    for (const one of [method, replaying, never]) await one.dispose();
  });
});

describe("facts", () => {
  const fact = (i: number): StatedFact => ({
    prompt: { text: `Who paints boat ${i}?` },
    target: "Mara",
    rephrased: [{ text: `Boat ${i} is painted by whom?` }],
  });

  it("are writes on top of each other, and the table is as before until they are in", async () => {
    const method = await create();
    const face = method.facts ?? expect.unreachable();
    const [one, two] = await face.encode([fact(1), fact(2)]);
    expect(digest(await tableOf(method))).toBe(own);
    face.store.apply([{ fact: 1, ...one }]);
    const [alone] = await face.encode([fact(2)]);
    expect(Buffer.compare(alone.value, two.value)).toBe(0);
    expect(sparseMemory.facts?.slots?.(one.key)).toEqual(
      changed(await tableOf(method)).length ? expect.any(Array) : [],
    );
    const [reading] = await face.look([fact(1).prompt]);
    expect(reading).toMatchObject({ inScope: true, fact: 1 });
    const [without] = await face.encode([fact(2)], { without: [1] });
    const fresh = await create();
    const [never] = await (fresh.facts ?? expect.unreachable()).encode([fact(2)]);
    expect(Buffer.compare(without.value, never.value)).toBe(0);
    await method.dispose();
    await fresh.dispose();
  });

  it("fill a store without a model", async () => {
    const method = await create();
    const face = method.facts ?? expect.unreachable();
    const [one] = await face.encode([fact(1)]);
    const store = sparseMemory.facts?.store(face.identity) ?? expect.unreachable();
    store.apply([{ fact: 1, ...one }]);
    const other = createRowWrites({ slots, width });
    other.apply([{ fact: 1, ...one }]);
    expect(store.fingerprint()).toBe(other.fingerprint());
    await method.dispose();
  });

  it("say where a wording is given twice", async () => {
    const method = await create();
    const notes: string[] = [];
    const twice = { ...fact(1), rephrased: [fact(1).prompt] };
    await method.facts?.encode([twice], { onNote: (note) => notes.push(note) });
    expect(notes).toEqual(["fact 1: a wording is given more than once; give different ones"]);
    await method.dispose();
  });
});

describe("background", () => {
  it("is counted once for a model and refused for another", async () => {
    expect(measured.slotsRead).toBeGreaterThan(0.1);
    expect(measured.hubs5).toBeGreaterThanOrEqual(measured.hubs1);
    const { batches, frequencies } = await loadBackground(base.folder, slots, await base.hash());
    expect(batches).toBe(20);
    expect(Math.max(...frequencies)).toBeLessThanOrEqual(20);
    const folder = join(root, "other");
    await mkdir(folder);
    await saveBackground(folder, { batches, frequencies }, "another");
    await expect(create({ background: folder })).rejects.toThrow(
      /^sparse-memory: expected the background of the model .* got that of another/,
    );
    await expect(create({ background: join(root, "nowhere") })).rejects.toThrow(/got no such file; make one with/);
  });
});

describe("refused", () => {
  it("are models without a memory, more slots than were read, and rates that end in no numbers", async () => {
    const plain = await textModel(join(root, "plain"));
    await expect(sparseMemory.create(plain, quick, { runtime, seed: 0 })).rejects.toThrow(
      /^sparse-memory: expected a model with a memory layer, got llama without one/,
    );
    const method = await create({ top: 65 });
    await expect(learn(method, documents(1))).rejects.toThrow(/^sparse-memory: expected top of at most the \d+ slots/);
    expect(digest(await tableOf(method))).toBe(own);
    const wild = await create({ learningRate: 1e300, repeats: 3 });
    await expect(learn(wild, documents(1))).rejects.toThrow(
      /^sparse-memory: expected finite numbers, got .* in boat 1/,
    );
    expect(digest(await tableOf(wild))).toBe(own);
    await method.dispose();
    await wild.dispose();
  });

  it("warns of one wording said several times", async () => {
    const method = await create();
    const same = { ...documents(1)[0], restated: [words(1)[0], words(1)[0]] };
    const { events } = await learn(method, [same]);
    expect(events[0]).toEqual({
      type: "note",
      message: "boat 1: all its wordings are the same; give different ones, or one",
    });
    await method.dispose();
  });
});

it("takes back what nobody listens to any more", async () => {
  const method = await create({ repeats: 4 });
  for await (const event of method.observe(documents(1))) if (event.type === "step" && event.step === 2) break;
  expect(digest(await tableOf(method))).toBe(own);
  await method.dispose();
});

it("learns long wordings whole, a row for each part", () => {
  const options = { tokenizer: base.tokenizer, eosId: 0, contextLength: 16, batchSize: 64, loss: "full" } as const;
  const [lesson, ...others] = lessonsOf(documents(1)[0], options);
  expect(others).toEqual([]);
  const { targetCount, rows: B } = lesson.batchAt(0);
  const tokens = words(1).map((text) => base.tokenizer.encode(`${text}\n`, { addSpecialTokens: false }).length + 1);
  expect(targetCount).toBe(tokens.reduce((sum, one) => sum + one, 0));
  expect(B).toBe(tokens.reduce((sum, one) => sum + Math.ceil(one / 16), 0));
});
