/** The tasks of memories: many facts in a row, some forgotten, a long text, text beside facts; on fakes that are known. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { worldMethod } from "../../../tests/support/world-method.ts";
import { writingMethod } from "../../../tests/support/writing-method.ts";
import type { Method } from "../../methods/method.ts";
import type { Task } from "../task.ts";
import { taskNamed } from "./index.ts";
import { sentencesOf } from "./memory-text.ts";

const make = (name: string, options: Record<string, unknown>): Promise<Task> => taskNamed(name).create(options);

async function learn(method: Method, { topics }: Task, index: number): Promise<void> {
  for await (const _ of method.observe(topics[index].documents)) continue;
}

describe("world-sequence", () => {
  const small = { edits: 30, batch: 12, known: 10 };

  it("writes all facts in batches and asks each in its own and in held-out words", async () => {
    const task = await make("world-sequence", small);
    expect(task.topics.map(({ name, documents }) => [name, documents.length])).toEqual([
      ["facts 1 to 12", 12],
      ["facts 13 to 24", 12],
      ["facts 25 to 30", 6],
    ]);
    expect(task.questions).toHaveLength(60);
    const prompts = task.topics.flatMap(({ documents }) => documents.map(({ facts }) => facts?.[0].prompt.text));
    expect(new Set(prompts).size).toBe(30);
    const method = worldMethod();
    for (const row of task.topics.keys()) {
      expect(await task.evaluate(method, row)).toEqual({ f1: 0, exactMatch: 0, efficacy: 0, efficacyF1: 0 });
      await learn(method, task, row);
      expect(await task.evaluate(method, 0)).toEqual({ f1: 1, exactMatch: 1, efficacy: 1, efficacyF1: 1 });
    }
    const words = writingMethod();
    await learn(words, task, 0);
    expect(await task.evaluate(words, 0)).toEqual({ f1: 0, exactMatch: 0, efficacy: 1, efficacyF1: 1 });
  });

  it("asks for some of many; the same options make the same task, other ones another", async () => {
    const some = await make("world-sequence", { ...small, limit: 5 });
    expect(some.questions).toHaveLength(3 * 10);
    const { fingerprint } = await make("world-sequence", small);
    expect((await make("world-sequence", small)).fingerprint).toBe(fingerprint);
    for (const other of [{ world: 301 }, { batch: 10 }, { rephrasings: 1 }, { statements: 0 }])
      expect((await make("world-sequence", { ...small, ...other })).fingerprint).not.toBe(fingerprint);
  });
});

describe("world-forgetting", () => {
  const small = { facts: 20, forgotten: 8, attacked: 4, paraphrases: 2, samples: 2 };

  it("what forgets by receipt: gone, the others stay, unknown is said where it was written", async () => {
    const task = await make("world-forgetting", small);
    const method = writingMethod();
    await learn(method, task, 0);
    expect(method.facts_.held).toBe(6);
    expect(await task.evaluate(method, 0)).toEqual({
      forgottenWritten: 1,
      forgotten: 0,
      forgottenUnknown: 0,
      forgottenNever: 0,
      sameAsNever: 1,
      saysUnknown: 1,
      retainedWritten: 1,
      retained: 1,
      retainedUnknown: 1,
      retainedSame: 1,
      attackWritten: 0,
      attackForgotten: 0,
      attackUnknown: 0,
      attackNever: 0,
    });
    expect(method.facts_).toEqual({ held: 6, most: 20 });
  });

  it("what only says that it forgets: all is still recalled", async () => {
    const task = await make("world-forgetting", { ...small, attacked: 0 });
    const method = writingMethod({ forgets: "badly" });
    await learn(method, task, 0);
    const scores = await task.evaluate(method, 0);
    expect(scores).toMatchObject({ forgotten: 1, sameAsNever: 0, saysUnknown: 1, retained: 1 });
    expect(scores).not.toHaveProperty("attackNever");
  });

  it("an attack finds what other words bring up", async () => {
    const task = await make("world-forgetting", small);
    const reader = worldMethod();
    // It reads what is written, knows other words, and forgets nothing
    const method: Method = {
      ...reader,
      forget: async () => {},
      async *generate(prompt) {
        const [, text = ""] = /^Question: (.*)\nAnswer:$/.exec(prompt) ?? [];
        const [said] = await reader.answer([{ text }]);
        yield `It is ${said}, they say`;
      },
    };
    await learn(method, task, 0);
    // It passes over answers that are "unknown"
    const scores = await task.evaluate(method, 0);
    expect(scores).toMatchObject({ attackWritten: 1, attackForgotten: 1, attackNever: 0, attackUnknown: 1 });
  });

  it("refuses methods that cannot forget, and to forget everything", async () => {
    const task = await make("world-forgetting", small);
    const method = writingMethod({ forgets: false });
    await learn(method, task, 0);
    await expect(task.evaluate(method, 0)).rejects.toThrow(
      "world-forgetting: expected a method that forgets by receipt, got table; try larimar, rag",
    );
    await expect(make("world-forgetting", { ...small, forgotten: 20 })).rejects.toThrow(
      "world-forgetting: expected fewer forgotten facts than 20, got 20; lower it",
    );
  });
});

describe("world-context", () => {
  it("one text with all facts, told one by one as well unless told otherwise", async () => {
    const task = await make("world-context", { facts: 40, limit: 10 });
    const [{ documents }] = task.topics;
    expect(documents).toHaveLength(1);
    expect(documents[0].facts).toHaveLength(40);
    expect(task.questions).toHaveLength(10);
    const method = worldMethod();
    await learn(method, task, 0);
    expect(await task.evaluate(method, 0)).toEqual({ exactMatch: 1, f1: 1 });
    const bare = await make("world-context", { facts: 40, limit: 10, stated: false });
    expect(bare.topics[0].documents).toEqual([{ id: documents[0].id, text: documents[0].text }]);
    expect(bare.questions).toEqual(task.questions);
  });
});

describe("memory-text", () => {
  const text = [
    "= Heading of the page that is long enough to be a sentence =",
    "The harbour wakes before the gulls and the ferry leaves. Short one. Ropes creak, nets dry on the wall, <unk> sleeps.",
    "Mara counts the boats: seven blue, two green, one that nobody owns.",
  ].join("\n");

  it("sentences without headings, short ones and gaps", () => {
    expect(sentencesOf(text)).toEqual([
      "The harbour wakes before the gulls and the ferry leaves.",
      "Mara counts the boats: seven blue, two green, one that nobody owns.",
    ]);
  });

  it("scores each sentence, and what is written from its lead while it is held", async () => {
    const folder = await mkdtemp(join(tmpdir(), "mneme-memory-text-"));
    const data = join(folder, "text.txt");
    await writeFile(data, text);
    const task = await make("memory-text", { data, held: 5, lead: 12 });
    const method = writingMethod({ known: { "Mara counts ": "the boats" } });
    await task.prepare?.(method);
    await learn(method, task, 0);
    const scores = await task.evaluate(method, 0);
    expect(method.facts_.held).toBe(5);
    const [a, b] = [await method.score("The harbour ", "x"), await method.score("Mara counts ", "the boats")];
    expect(scores.generatedPerplexity).toBeCloseTo(Math.exp(b.nats / b.tokens), 10);
    expect(a.tokens).toBeGreaterThan(0);
    // One word (articles do not count) of the nine behind the lead; nothing was written from the other lead
    expect(scores.generatedF1).toBeCloseTo((0 + (2 * 1) / (1 + 9)) / 2, 10);
    expect(scores.perplexity).toBe(scores.perplexityBase);
    expect(Object.keys(scores)).toEqual([
      "perplexity",
      "generatedPerplexity",
      "generatedF1",
      "perplexityBase",
      "generatedPerplexityBase",
      "generatedF1Base",
    ]);
    await rm(folder, { recursive: true });
  });
});
