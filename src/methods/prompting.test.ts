/**
 * Methods that change no weights (none, in-context, gold-context, rag) on small random models: what they read is the prompt that is
 * expected, told by likelihoods that equal those of that prompt given to the base model by hand.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { smallTexts, textModel } from "../../tests/support/text-model.ts";
import { documentsOf, learn } from "../../tests/support/training.ts";
import { copyTokenizer } from "../checkpoint/tokenizer.ts";
import { writeSafetensors } from "../checkpoint/safetensors.ts";
import { bert } from "../models/bert.ts";
import type { LoadedModel } from "../models/load.ts";
import { gpt2Rule, initialize } from "../nn/init.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { methods } from "./index.ts";
import type { Method, Query } from "./method.ts";

const runtime = createRuntime({ threads: 1 });
const opened: Method[] = [];
let root: string;
let base: LoadedModel;
let bare: Method;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "mneme-prompting-"));
  base = await textModel(join(root, "base"), { context: 160, seed: 9 });
  bare = await create("none");
});
afterAll(async () => {
  for (const method of opened) await method.dispose();
  await runtime.dispose();
  await rm(root, { recursive: true });
});

async function create(name: string, options: Record<string, unknown> = {}, model = base): Promise<Method> {
  const method = await methods[name].create(model, options, { runtime, seed: 1 });
  opened.push(method);
  return method;
}

const tokens = (text: string): number => base.tokenizer.encode(text, { addSpecialTokens: false }).length;
const question = { text: "Who counts the boats?" };
/** Rated answers tell the prompt apart: another prompt gives other nats. */
const natsOf = async (method: Method, query: Query): Promise<number> =>
  (await method.rate([{ query, answer: "Mara" }]))[0].nats;
const natsAfter = (prompt: string): Promise<number> => natsOf(bare, { text: prompt, form: "completion" });
const asked = (...documents: string[]): string => [...documents, `Question: ${question.text}\nAnswer:`].join("\n\n");

const facts = ["Mara counts the boats.", "The oven is hot.", "Knead the dough ten minutes."];

describe("none", () => {
  it("answers as the base does, learns nothing, saves nothing", async () => {
    const before = await natsOf(bare, question);
    expect(before).toBeCloseTo(await natsAfter(asked()), 4);
    const { events, receipt } = await learn(bare, documentsOf(...facts));
    expect(events).toHaveLength(1);
    expect(receipt).toMatchObject({ documents: ["text-0", "text-1", "text-2"], steps: 0, tokens: 0, stopped: "done" });
    expect(await natsOf(bare, question)).toBe(before);
    expect(bare.bytes()).toBe(0);
    expect(await bare.state()).toEqual({ tensors: {}, json: {} });
    const [inside] = (await bare.inspect?.(["Mara"], { hidden: [2] })) ?? [];
    expect(inside.hidden.get(2)?.shape).toEqual([1, tokens("Mara") + 1, 32]);
    await expect(methods.none.save(bare, base, join(root, "none"), {})).rejects.toThrow("has nothing to save");
  });
});

describe("in-context", () => {
  it("puts the documents before the question, in the order learned", async () => {
    const method = await create("in-context");
    expect(await natsOf(method, question)).toBeCloseTo(await natsAfter(asked()), 4);
    await learn(method, documentsOf(facts[0], facts[1]));
    const { receipt } = await learn(method, documentsOf(facts[2]));
    expect(receipt).toMatchObject({ steps: 0, tokens: tokens(facts[2]), stopped: "done" });
    expect(await natsOf(method, question)).toBeCloseTo(await natsAfter(asked(...facts)), 4);
    expect(await natsOf(method, question)).not.toBeCloseTo(await natsAfter(asked()), 3);
    const completion = { text: "The oven", form: "completion" } as const;
    expect(await natsOf(method, completion)).toBeCloseTo(await natsAfter([...facts, "The oven"].join("\n\n")), 4);
    const [answer] = await method.answer([question], { maxTokens: 12 });
    const byHand = await bare.answer([{ text: asked(...facts), form: "completion" }], { maxTokens: 12 });
    expect(answer).toBe(byHand[0]);
    expect(method.bytes()).toBe(Buffer.byteLength(facts.join("")));
  });

  it("forgets a write without a trace", async () => {
    const method = await create("in-context");
    await learn(method, documentsOf(facts[0]));
    const { receipt } = await learn(method, documentsOf(facts[1]));
    await method.forget?.(receipt.id);
    expect(await natsOf(method, question)).toBeCloseTo(await natsAfter(asked(facts[0])), 4);
    await expect(method.forget?.(receipt.id)).rejects.toThrow(/^in-context: expected the id of a receipt to forget/);
    const { receipt: again } = await learn(method, documentsOf(facts[1]));
    expect(again.id).not.toBe(receipt.id);
  });

  it("takes as many as fit: the last ones, or the first", async () => {
    const many = Array.from({ length: 12 }, (_, i) => `Boat number ${i} is ${i % 2 ? "blue" : "green"}.`);
    const reserved = 64; // question, answer and start token need less than 64 tokens
    expect(tokens(`\n\n${asked()} Mara`) + 2).toBeLessThan(reserved);
    const fitting = (all: readonly string[]): number => {
      let [left, count] = [160 - reserved, 0];
      for (const text of all) if ((left -= tokens(`${text}\n\n`)) >= 0) count++;
      return count;
    };
    const recent = await create("in-context");
    const earliest = await create("in-context", { selection: "earliest" });
    for (const method of [recent, earliest]) await learn(method, documentsOf(...many));
    const last = fitting([...many].reverse());
    expect(last).toBeGreaterThan(2);
    expect(last).toBeLessThan(12);
    expect(await natsOf(recent, question)).toBeCloseTo(await natsAfter(asked(...many.slice(-last))), 4);
    const first = fitting(many);
    expect(await natsOf(earliest, question)).toBeCloseTo(await natsAfter(asked(...many.slice(0, first))), 4);
  });

  it("cuts a document that is too long by itself, and never exceeds the context", async () => {
    const method = await create("in-context");
    await learn(method, documentsOf(smallTexts.oven));
    const ids = base.tokenizer.encode(smallTexts.oven, { addSpecialTokens: false });
    const room = 160 - 64 - tokens("\n\n");
    const end = base.tokenizer.decode(ids.slice(-room));
    expect(await natsOf(method, question)).toBeCloseTo(await natsAfter(asked(end)), 4);
    const long = { text: "Who? ".repeat(20) };
    expect(tokens(long.text)).toBeGreaterThan(64);
    expect(await method.answer([long, question], { maxTokens: 24 })).toHaveLength(2);
    await expect(method.answer([{ text: "Who? ".repeat(200) }])).rejects.toThrow(/at most|1 to 160 tokens/);
  });

  it("gives each question the same answer alone and among others", async () => {
    const method = await create("in-context");
    await learn(method, documentsOf(...facts));
    const queries = ["Who?", "Who counts the boats in the harbour?", "What is hot?", "Who wakes before whom?"].map(
      (text) => ({ text }),
    );
    const seen: number[] = [];
    const together = await method.answer(queries, { maxTokens: 10, onProgress: (done) => seen.push(done) });
    expect(seen.at(-1)).toBe(4);
    for (const [i, query] of queries.entries())
      expect(await method.answer([query], { maxTokens: 10 })).toEqual([together[i]]);
  });

  it("scores a text after its documents, a long one in windows that each have them", async () => {
    const method = await create("in-context");
    const text = " The gulls wake.";
    expect(await method.score("", text)).toEqual(await bare.score("", text));
    await learn(method, documentsOf(...facts));
    const documents = facts.map((fact) => `${fact}\n\n`).join("");
    const short = await method.score("", text);
    expect(short).toMatchObject({ tokens: tokens(text), bytes: Buffer.byteLength(text) });
    expect(short.nats).toBeCloseTo((await bare.score(documents, text)).nats, 3);
    const after = await method.score("It is morning.", text);
    expect(after.nats).toBeCloseTo((await bare.score(`${documents}It is morning.`, text)).nats, 3);
    const long = await method.score("", smallTexts.harbour);
    expect(tokens(smallTexts.harbour)).toBeGreaterThan(160);
    expect(long).toMatchObject({ tokens: tokens(smallTexts.harbour), bytes: Buffer.byteLength(smallTexts.harbour) });
    const ids = base.tokenizer.encode(smallTexts.harbour, { addSpecialTokens: false });
    const head = base.tokenizer.decode(ids.slice(0, 80));
    const rest = base.tokenizer.decode(ids.slice(80));
    const first = await method.score("", head);
    const second = await method.score(head, rest);
    expect(first.nats + second.nats).toBeCloseTo(long.nats, -1); // windows differ a little
  });

  it("goes on after restoring, and refuses another method's state", async () => {
    const [method, other] = [await create("in-context"), await create("in-context")];
    await learn(method, documentsOf(...facts.slice(0, 2)));
    await other.restore(JSON.parse(JSON.stringify(await method.state())));
    const receipts = [await learn(method, documentsOf(facts[2])), await learn(other, documentsOf(facts[2]))];
    expect(receipts[0].receipt.id).toBe(receipts[1].receipt.id);
    expect(await natsOf(other, question)).toBe(await natsOf(method, question));
    await expect(other.restore({ tensors: {}, json: { copies: [] } })).rejects.toThrow(/^in-context: expected a state/);
  });

  it("saves its documents as JSON lines", async () => {
    const method = await create("in-context");
    const { receipt } = await learn(method, [{ id: "a", text: "One.\nTwo.", topic: "t", time: 3 }]);
    const folder = join(root, "kept");
    expect(await methods["in-context"].save(method, base, folder, {})).toContain("documents.jsonl");
    const lines = (await readFile(join(folder, "documents.jsonl"), "utf8")).trim().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      { id: "a", text: "One.\nTwo.", topic: "t", time: 3, receipt: receipt.id },
    ]);
  });

  it("interrupted, keeps nothing", async () => {
    const method = await create("in-context");
    const events = [];
    for await (const event of method.observe(documentsOf(facts[0]), { signal: AbortSignal.abort() }))
      events.push(event);
    expect(events).toMatchObject([{ type: "receipt", receipt: { stopped: "interrupted" } }]);
    expect(method.bytes()).toBe(0);
  });
});

/** A random sentence encoder with the base's tokenizer. */
async function encoder(): Promise<string> {
  const folder = join(root, "encoder");
  await mkdir(folder, { recursive: true });
  await copyTokenizer(base.folder, folder);
  const config = {
    model_type: "bert",
    vocab_size: base.geometry.vocabulary,
    hidden_size: 16,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    intermediate_size: 32,
    max_position_embeddings: 64,
    type_vocab_size: 2,
    layer_norm_eps: 1e-12,
    hidden_act: "gelu",
    pad_token_id: 0,
  };
  await writeFile(join(folder, "config.json"), JSON.stringify(config));
  const shapes = bert.shapes(bert.parseConfig(config));
  await writeSafetensors(join(folder, "model.safetensors"), initialize(shapes, gpt2Rule({ layers: 1, std: 0.3 }), 4));
  return folder;
}

describe("gold-context", () => {
  it("puts the named document before the question, and nothing where none is named", async () => {
    const method = await create("gold-context");
    const documents = documentsOf(...facts);
    await learn(method, documents);
    for (const [i, { id }] of documents.entries()) {
      expect(await natsOf(method, { ...question, document: id })).toBeCloseTo(await natsAfter(asked(facts[i])), 4);
    }
    for (const document of [undefined, "of nobody"]) {
      expect(await natsOf(method, { ...question, document })).toBeCloseTo(await natsAfter(asked()), 4);
    }
    expect(await natsOf(method, { text: "Mara", form: "completion" })).toBeCloseTo(await natsAfter("Mara"), 4);
  });

  it("takes the last of two with one id, the beginning of one that is too long; forgets by receipt", async () => {
    const method = await create("gold-context");
    const [first, second] = [facts[0], smallTexts.oven].map((text) => ({ id: "one", text }));
    const named = { ...question, document: "one" };
    await learn(method, [first]);
    const { receipt } = await learn(method, [second]);
    const ids = base.tokenizer.encode(smallTexts.oven, { addSpecialTokens: false });
    const start = base.tokenizer.decode(ids.slice(0, 160 - 64 - tokens("\n\n")));
    expect(await natsOf(method, named)).toBeCloseTo(await natsAfter(asked(start)), 4);
    await method.forget?.(receipt.id);
    expect(await natsOf(method, named)).toBeCloseTo(await natsAfter(asked(facts[0])), 4);
    const copy = await create("gold-context");
    await copy.restore(await method.state());
    expect(await natsOf(copy, named)).toBe(await natsOf(method, named));
  });
});

describe("rag", () => {
  it("puts the pieces that fit the question before it, the best last", async () => {
    const method = await create("rag", { topK: 2 });
    expect(await natsOf(method, question)).toBeCloseTo(await natsAfter(asked()), 4);
    const others = ["The boats are old.", "The oven is hot.", "Bread needs salt."];
    await learn(method, documentsOf(facts[0], ...others));
    expect(await natsOf(method, question)).toBeCloseTo(await natsAfter(asked(others[0], facts[0])), 4);
    const unrelated = { text: "Zzz?" };
    expect(await natsOf(method, unrelated)).toBe(await natsOf(bare, unrelated));
    expect(method.bytes()).toBeGreaterThan(Buffer.byteLength([facts[0], ...others].join("")));
  });

  it("cuts documents into pieces of whole sentences", async () => {
    const limit = tokens(facts[0]);
    expect(limit).toBeGreaterThanOrEqual(8);
    const method = await create("rag", { topK: 1, chunkTokens: limit });
    await learn(method, documentsOf([facts[1], facts[0], facts[2]].join(" ")));
    expect(await natsOf(method, question)).toBeCloseTo(await natsAfter(asked(facts[0])), 4);
  });

  it("makes no piece larger than a quarter of the context", async () => {
    const method = await create("rag", { topK: 1, chunkTokens: 1000 });
    await learn(method, documentsOf(smallTexts.harbour));
    expect(await natsOf(method, question)).not.toBeCloseTo(await natsAfter(asked()), 3);
  });

  it("forgets a write without a trace", async () => {
    const method = await create("rag", { topK: 1 });
    await learn(method, documentsOf(facts[0]));
    const empty = method.bytes();
    const { receipt } = await learn(method, documentsOf("Nobody counts the boats, nobody counts the boats."));
    expect(receipt.flops).toBe(0);
    const during = await natsOf(method, question);
    await method.forget?.(receipt.id);
    expect(method.bytes()).toBe(empty);
    expect(await natsOf(method, question)).toBeCloseTo(await natsAfter(asked(facts[0])), 4);
    expect(await natsOf(method, question)).not.toBe(during);
  });

  it.each(["bm25", "embedding", "both"])("goes on after restoring: %s", async (retriever) => {
    const options = { retriever, embedder: await encoder(), topK: 2 };
    const [method, other] = [await create("rag", options), await create("rag", options)];
    await learn(method, documentsOf(...facts, ...smallTexts.harbour.split("\n\n")));
    const { receipt } = await learn(method, documentsOf("Bread."));
    await method.forget?.(receipt.id);
    const { tensors, json } = await method.state();
    await other.restore({ tensors, json: JSON.parse(JSON.stringify(json)) });
    for (const text of ["Who counts the boats?", "What is hot?", "When do the gulls wake?"])
      expect(await natsOf(other, { text })).toBe(await natsOf(method, { text }));
    expect(other.bytes()).toBe(method.bytes());
    expect(await method.answer([question], { maxTokens: 5 })).toEqual(await other.answer([question], { maxTokens: 5 }));
  });

  it("finds by embedding what is the same text", async () => {
    const method = await create("rag", { retriever: "embedding", embedder: await encoder(), topK: 1 });
    const { receipt } = await learn(method, documentsOf(...facts));
    // The encoder reads each: 2 per parameter of a layer and token, and attention over 2 heads of 8
    const N = 4 * 16 * 16 + 2 * 16 * 32;
    const read = facts.map((text) => base.tokenizer.encode(text).length).map((T) => T * (2 * N + 4 * 16 * T));
    expect(receipt.flops).toBe(read.reduce((a, b) => a + b, 0));
    for (const text of facts) {
      const byHand = await natsAfter(`${text}\n\nQuestion: ${text}\nAnswer:`);
      expect(await natsOf(method, { text })).toBeCloseTo(byHand, 4);
    }
  });

  it("scores a text with what fits the words before it, never its own", async () => {
    const method = await create("rag", { topK: 1 });
    await learn(method, documentsOf(...facts));
    const text = " Mara counts the boats.";
    expect(await method.score("", text)).toEqual(await bare.score("", text));
    const after = await method.score("Is the oven warm?", text);
    expect(after.nats).toBeCloseTo((await bare.score("The oven is hot.\n\nIs the oven warm?", text)).nats, 3);
  });

  it("says what is missing", async () => {
    const method = await create("rag", { retriever: "both", embedder: "no-such-encoder" });
    await expect(learn(method, documentsOf("One."))).rejects.toThrow(
      /^rag: the sentence encoder of --embedder is not there: expected an embedded model .* got "no-such-encoder".*; or use --retriever bm25$/,
    );
    const plain = await create("rag");
    await learn(plain, documentsOf("One."));
    const other = await create("rag", { chunkTokens: 64 });
    await expect(other.restore(await plain.state())).rejects.toThrow("expected a state with chunkTokens 64, got 128");
  });
});
