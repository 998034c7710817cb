/** The face of a model: prompts are the frozen ones, rated answers are teacher-forced, what is inside can be looked at. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { textModel } from "../../tests/support/text-model.ts";
import { argmaxOf } from "../models/sampling.ts";
import { createDecoder } from "../models/decoder.ts";
import type { LoadedModel } from "../models/load.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { type LanguageFace, languageFace } from "./language.ts";
import { answeredQuestion, promptOf } from "./prompt.ts";

const runtime = createRuntime({ threads: 1 });
let root: string;
let base: LoadedModel;
let face: LanguageFace;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "mneme-language-"));
  base = await textModel(join(root, "base"), { seed: 5 });
  face = languageFace({ runtime, model: base, tokenizer: base.tokenizer, eosIds: base.eosIds });
});
afterAll(async () => {
  await face.dispose();
  await runtime.dispose();
  await rm(root, { recursive: true });
});

test("the question prompt", () => {
  expect(promptOf({ text: "Who owns it?" })).toBe("Question: Who owns it?\nAnswer:");
  expect(promptOf({ text: "Who owns it?" }, ["One.", "Two."])).toBe("One.\n\nTwo.\n\nQuestion: Who owns it?\nAnswer:");
  expect(promptOf({ text: "The owner is", form: "completion" }, ["One."])).toBe("One.\n\nThe owner is");
  expect(answeredQuestion("Who owns it?", "Mara")).toBe("Question: Who owns it?\nAnswer: Mara\n");
});

test("rated answers: nats, tokens, bytes, and the tokens that the model would have chosen", async () => {
  const pairs = [
    { prompt: "The gulls", answer: "wake" },
    { prompt: "Bake at two hundred", answer: " degrees for forty minutes " },
    { prompt: "Mara", answer: "é" },
  ];
  const rated = await face.rate(pairs);
  const { tokenizer } = base;
  const decoder = await createDecoder(runtime, base, { frozen: false });
  for (const [i, { prompt, answer }] of pairs.entries()) {
    const text = ` ${answer.trim()}`;
    const plain = await face.score(prompt, text);
    expect(rated[i].nats).toBeCloseTo(plain.nats, 4);
    expect(rated[i]).toMatchObject({ tokens: plain.tokens, bytes: Buffer.byteLength(text) });
    const ids = [tokenizer.bosId as number, ...tokenizer.encode(prompt + text, { addSpecialTokens: false })];
    let correct = 0;
    for (let t = ids.length - plain.tokens; t < ids.length; t++) {
      const scores = await decoder.step(decoder.createCache(1), ids.slice(0, t));
      if (argmaxOf(scores) === ids[t]) correct++;
    }
    expect(rated[i].correct).toBe(correct);
  }
  await decoder.dispose();
  await expect(face.rate([{ prompt: "Who?", answer: " " }])).rejects.toThrow("got none in pair 0");
});

test("a look inside sees the weights as they are", async () => {
  const [before, other] = await face.inspect(["The gulls wake.", "Bake."], { hidden: [0, 2], attentions: [1] });
  const tokens = base.tokenizer.encode("The gulls wake.", { addSpecialTokens: false }).length + 1;
  expect([...before.hidden.keys()]).toEqual([0, 2]);
  expect(before.hidden.get(2)?.shape).toEqual([1, tokens, 32]);
  expect(before.attentions.get(1)?.shape).toEqual([1, 4, tokens, tokens]);
  expect(other.hidden.get(0)?.shape[1]).toBeLessThan(tokens);
  const weight = base.weights["model.layers.1.mlp.down_proj.weight"].data;
  const held = weight.slice();
  weight.fill(0);
  const [after] = await face.inspect(["The gulls wake."], { hidden: [0, 2], attentions: [1] });
  weight.set(held);
  expect(after.hidden.get(0)?.data).toEqual(before.hidden.get(0)?.data);
  expect(after.hidden.get(2)?.data).not.toEqual(before.hidden.get(2)?.data);
  const [attentionOnly] = await face.inspect(["word ".repeat(200)], { attentions: [0] });
  expect(attentionOnly.attentions.get(0)?.shape).toEqual([1, 4, 64, 64]);
});
