/** A copy per topic: none disturbs another, topics pick copies, and everything can be saved and restored. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { smallTexts, textModel } from "../../tests/support/text-model.ts";
import { learn } from "../../tests/support/training.ts";
import { type LoadedModel, loadModel } from "../models/load.ts";
import { bitsPerByte } from "../models/score.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { finetune } from "./finetune.ts";
import type { Document, Method } from "./method.ts";
import { none } from "./none.ts";
import { separate } from "./separate.ts";

const runtime = createRuntime({ threads: 1 });
const opened: Method[] = [];
let root: string;
let base: LoadedModel;
let learned: Method;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "mneme-separate-"));
  base = await textModel(join(root, "base"));
  learned = await create();
  await learn(learned, documents);
});
afterAll(async () => {
  for (const method of opened) await method.dispose();
  await runtime.dispose();
  await rm(root, { recursive: true });
});

const options = { epochs: 20, batchSize: 4, contextLength: 32, learningRate: 1e-2, warmupSteps: 2 };
async function create(definition = separate, given: Record<string, unknown> = options): Promise<Method> {
  const method = await definition.create(base, given, { runtime, seed: 3 });
  opened.push(method);
  return method;
}
const documentOf = (topic: keyof typeof smallTexts): Document => ({ id: topic, text: smallTexts[topic], topic });
const documents = [documentOf("harbour"), documentOf("oven")];
const bits = async (method: Method, text: string): Promise<number> => bitsPerByte(await method.score("", text));
const sentence = { harbour: "The boats stay in.", oven: "Knead again and add salt." };
const asked = (topic?: string) => [
  { query: { text: "The old ferry", form: "completion" as const, topic }, answer: "turns" },
];

it("each copy is the base fine-tuned on its topic alone, told by the topic", async () => {
  for (const topic of ["harbour", "oven"] as const) {
    const alone = await create(finetune);
    await learn(alone, [documentOf(topic)]);
    expect(await learned.rate(asked(topic))).toEqual(await alone.rate(asked()));
    const query = { text: sentence[topic], form: "completion" as const };
    expect(await learned.answer([{ ...query, topic }])).toEqual(await alone.answer([query]));
  }
  const untouched = await create(none, {});
  expect((await learned.rate(asked("sport")))[0].nats).toBeCloseTo((await untouched.rate(asked()))[0].nats, 4);
  const parameters = Object.values(base.weights).reduce((sum, { data }) => sum + data.length, 0);
  expect(learned.bytes()).toBe(2 * 4 * parameters);
});

it("without a topic the copy answers that knows the text best", async () => {
  for (const topic of ["harbour", "oven"] as const) {
    const alone = await create(finetune);
    await learn(alone, [documentOf(topic)]);
    expect(await bits(learned, smallTexts[topic])).toBeCloseTo(await bits(alone, smallTexts[topic]), 6);
    const start = smallTexts[topic].slice(0, 20);
    expect(await learned.score(start, " and")).toEqual(await alone.score(start, " and"));
  }
  // Queries for different copies come back in the order asked
  const queries = ["oven", "harbour", "oven"].map((topic) => ({ text: "It", form: "completion" as const, topic }));
  const seen: number[] = [];
  const together = await learned.answer(queries, { maxTokens: 8, onProgress: (done) => seen.push(done) });
  expect(seen.at(-1)).toBe(3);
  for (const [i, query] of queries.entries())
    expect(await learned.answer([query], { maxTokens: 8 })).toEqual([together[i]]);
});

it("restores its copies and goes on to the same numbers", async () => {
  const other = await create();
  const { tensors, json } = await learned.state();
  await other.restore({ tensors, json: JSON.parse(JSON.stringify(json)) });
  expect(other.bytes()).toBe(learned.bytes());
  for (const topic of ["harbour", "oven"])
    expect(await other.rate(asked(topic))).toEqual(await learned.rate(asked(topic)));
  await expect(other.restore({ tensors: {}, json: { kept: [] } })).rejects.toThrow("separate: expected a state");
});

/** Observe until so many steps were made in all topics together; the topics begun. */
async function stopAfter(method: Method, checkpoint: string, steps: number): Promise<number> {
  const controller = new AbortController();
  let [made, begun] = [0, 0];
  for await (const event of method.observe(documents, { checkpoint, signal: controller.signal })) {
    if (event.type === "step" && event.step === 1) begun++;
    if (event.type === "step" && ++made === steps) controller.abort();
    if (event.type === "receipt") expect(event.receipt).toMatchObject({ steps, stopped: "interrupted" });
  }
  return begun;
}

it("stopped in either topic, resumes from its checkpoint to the same weights", async () => {
  const whole = await learned.state();
  const { receipt: full } = await learn(await create(), documents.slice(0, 1));
  for (const [steps, topics] of [
    [3, 1],
    [full.steps + 2, 2],
  ]) {
    const folder = await mkdtemp(join(root, "checkpoint-"));
    expect(await stopAfter(await create(), folder, steps)).toBe(topics);
    const second = await create();
    const { receipt } = await learn(second, documents, { checkpoint: folder });
    expect(receipt).toMatchObject({ stopped: "done", documents: ["harbour", "oven"] });
    expect(receipt.steps).toBeGreaterThan(full.steps);
    expect((await second.state()).tensors).toEqual(whole.tensors);
  }
});

it("saves one model per topic", async () => {
  const folder = join(root, "saved");
  expect(await separate.save(learned, base, folder, options)).toContain("2 models, one per topic");
  expect((await readdir(folder)).sort()).toEqual(["1-harbour", "2-oven"]);
  const saved = await loadModel(join(folder, "2-oven"));
  const state = await learned.state();
  for (const [name, { data }] of Object.entries(saved.weights)) expect(data).toEqual(state.tensors[`1:${name}`].data);
  const empty = await create();
  await expect(separate.save(empty, base, folder, options)).rejects.toThrow("no copy to save");
});
