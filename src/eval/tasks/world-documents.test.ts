/** The stream of short documents: what they state, what is asked about them, how it is cut into topics. */
import { describe, expect, it } from "vitest";
import { readSentence, worldMethod } from "../../../tests/support/world-method.ts";
import type { Method } from "../../methods/method.ts";
import type { Task } from "../task.ts";
import { taskNamed } from "./index.ts";

const make = (options: Record<string, unknown>): Promise<Task> => taskNamed("world-documents").create(options);

async function learn(method: Method, { topics }: Task, index: number): Promise<void> {
  for await (const _ of method.observe(topics[index].documents)) continue;
}

describe("world-documents", () => {
  it("asks each document about what it states, and names the document", async () => {
    const task = await make({ documents: 30, known: 5 });
    expect(task.topics.map(({ name, documents }) => [name, documents.length])).toEqual([["documents 1 to 30", 30]]);
    const texts = new Map(task.topics[0].documents.map(({ id, text }) => [id, text]));
    expect(texts.size).toBe(30);
    expect(task.questions).toHaveLength(30);
    expect(new Set(task.questions?.map(({ query }) => query.document)).size).toBe(30);
    for (const { query, answers } of task.questions ?? [])
      expect(texts.get(query.document ?? "")).toContain(answers[0]);
    const method = worldMethod();
    expect(await task.evaluate(method, 0)).toEqual({ f1: 0, exactMatch: 0, truncatedMatch: 0 });
    await learn(method, task, 0);
    expect(await task.evaluate(method, 0)).toEqual({ f1: 1, exactMatch: 1, truncatedMatch: 1 });
  });

  it("says more than the answer, or not all of it: what strict and lenient matches make of that", async () => {
    const task = await make({ documents: 20, known: 5 });
    const method = worldMethod();
    await learn(method, task, 0);
    const saying = (change: (answer: string) => string): Method => ({
      ...method,
      answer: async (queries) => (await method.answer(queries)).map(change),
    });
    const more = await task.evaluate(
      saying((answer) => `${answer}ish or so`),
      0,
    );
    expect(more).toMatchObject({ exactMatch: 0, truncatedMatch: 1 });
    const less = await task.evaluate(
      saying((answer) => answer.slice(0, -1)),
      0,
    );
    expect(less).toMatchObject({ exactMatch: 0, truncatedMatch: 0 });
  });

  it("lets documents bring questions: of what they state, what is not asked about first, and never in the words asked", async () => {
    const plain = await make({ documents: 200, known: 5 });
    const task = await make({ documents: 200, known: 5, brought: 2 });
    expect(task.questions).toEqual(plain.questions);
    expect(task.fingerprint).toBe(plain.fingerprint);
    const asked = new Map(task.questions?.map(({ query, answers }) => [query.document, { query, answers }]));
    let others = 0;
    for (const { id, text, facts = [] } of task.topics[0].documents) {
      const question = asked.get(id);
      expect(facts.length).toBeGreaterThan(0);
      expect(facts.length).toBeLessThanOrEqual(2);
      for (const { prompt, target } of facts) {
        expect(text).toContain(target);
        expect(prompt.text).not.toBe(question?.query.text);
      }
      if (facts[0].target !== question?.answers[0]) others++;
    }
    // All but those that state one fact
    expect(others).toBeGreaterThan(150);
  });

  it("states at most the facts asked for, in few words", async () => {
    for (const facts of [1, 5]) {
      const { topics } = await make({ documents: 200, facts, known: 5 });
      const texts = topics[0].documents.map(({ text }) => text.trim());
      const stated = texts.map((text) => text.split(/(?<=\.) /).filter((one) => readSentence(one).length > 0).length);
      expect(Math.min(...stated)).toBe(1);
      expect(Math.max(...stated)).toBe(facts);
      expect(Math.max(...texts.map(({ length }) => length))).toBeLessThanOrEqual(390);
    }
  });

  it("batches are topics: the first one's questions are those of its documents", async () => {
    const whole = await make({ documents: 50, questions: 2, known: 5 });
    const { topics, questions = [] } = await make({ documents: 50, batch: 20, questions: 2, limit: 15, known: 5 });
    expect(topics.map(({ name, documents }) => [name, documents.length])).toEqual([
      ["documents 1 to 20", 20],
      ["documents 21 to 40", 20],
      ["documents 41 to 50", 10],
    ]);
    expect(topics.flatMap(({ documents }) => documents)).toEqual(whole.topics[0].documents);
    expect(questions).toHaveLength(45);
    const own = new Set(topics[0].documents.map(({ id }) => id));
    for (const { query } of questions.slice(0, 15)) expect(own).toContain(query.document);
    for (const question of questions) expect(whole.questions).toContainEqual(question);
  });

  it("takes several worlds where one is too small; the same options make the same task, others another", async () => {
    const { topics, questions } = await make({ documents: 8000, world: 899, known: 5 });
    const ids = new Set(topics.flatMap(({ documents }) => documents.map(({ id }) => id)));
    expect(ids.size).toBe(8000);
    expect(new Set([...ids].map((id) => id.split("/")[0]))).toEqual(new Set(["899", "119"]));
    expect(new Set(questions?.map(({ id }) => id)).size).toBe(8000);
    const small = { documents: 20, known: 5 };
    const { fingerprint } = await make(small);
    expect((await make(small)).fingerprint).toBe(fingerprint);
    for (const other of [{ world: 601 }, { batch: 10 }, { facts: 2 }, { questions: 2 }])
      expect((await make({ ...small, ...other })).fingerprint).not.toBe(fingerprint);
  });
});
