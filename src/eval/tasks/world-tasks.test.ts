/**
 * The tasks of the world, judged by methods whose scores are known beforehand: one that remembers everything it reads,
 * and some that fail in one way each.
 */
import { describe, expect, it } from "vitest";
import { tableMethod } from "../../../tests/support/table-method.ts";
import { writingMethod } from "../../../tests/support/writing-method.ts";
import { type Reading, readQuestion, readText, worldMethod } from "../../../tests/support/world-method.ts";
import { UserError } from "../../errors.ts";
import type { Method } from "../../methods/method.ts";
import type { AskingTask } from "../questions.ts";
import type { Task } from "../task.ts";
import { taskNamed } from "./index.ts";
import { ask, questionForms } from "./world/forms.ts";
import { relations } from "./world/relations.ts";
import { theKnownWorld } from "./world/stream.ts";
import { createWorld, type Fact } from "./world/world.ts";

const readingOf = ({ relation, subject, object }: Fact): Reading => ({ relation, subject: subject.name, object });
const known = theKnownWorld().facts.map(readingOf);

const make = async (
  name: string,
  options: Record<string, unknown> = {},
): Promise<Task & Pick<AskingTask, "questions">> =>
  (await taskNamed(name).create(options)) as Task & Pick<AskingTask, "questions">;

async function learn(method: Method, { topics }: Task, index: number): Promise<void> {
  for await (const _ of method.observe(topics[index].documents)) continue;
}

const probesOf = async ({ probes = [] }: Task, method: Method): Promise<Record<string, number>> =>
  Object.fromEntries(await Promise.all(probes.map(async (one) => [one.name, await one.evaluate(method)] as const)));

/** Is it a question in a training form? */
function isTrained(text: string): boolean {
  const asked = readQuestion(text);
  if (!asked) throw new Error(`cannot read ${text}`);
  const { phrases } = asked.relation;
  return questionForms(phrases)
    .filter(({ split }) => split === "train")
    .some((form) => {
      const [before, after] = ask(phrases, form, "\0").split("\0");
      return text.startsWith(before) && text.endsWith(after);
    });
}

/** Asked in held-out forms only, about what the documents state in training forms; nothing has the same id twice. */
function expectSound(task: Task & Pick<AskingTask, "questions">): void {
  const ids = task.questions.map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  const documents = task.topics.flatMap((topic) => topic.documents);
  expect(new Set(documents.map(({ id }) => id)).size).toBe(documents.length);
  for (const { text } of documents)
    for (const [, question] of text.matchAll(/^Question: (.*)$/gm)) expect(isTrained(question), question).toBe(true);
  expect(task.diagnosticTexts).toHaveLength(16);
  // A byte is at least a token
  for (const text of task.diagnosticTexts ?? []) expect(text.split(/\s+/).length).toBeLessThan(70);
}

describe("world-topics", () => {
  const small = { people: 30, limit: 20, known: 30 };

  it("tells a new world by topics, and asks in held-out forms", async () => {
    const task = await make("world-topics", small);
    expect(task.topics.map(({ name }) => name)).toEqual(["science", "sport", "business", "art", "travel"]);
    expectSound(task);
    for (const { query } of task.questions) expect(isTrained(query.text), query.text).toBe(false);
    const world = createWorld({ seed: 100, people: 30 });
    for (const [i, { name, documents }] of task.topics.entries()) {
      const facts = world.facts.filter(({ topic }) => topic === name);
      const subjects = new Set(facts.map(({ subject }) => subject));
      // A fifth of the subjects in one document each, all others in three and one with questions
      const tail = new Set([...subjects].filter(({ id }) => !documents.some((one) => one.id === `${name}/${id}#2`)));
      expect(tail.size).toBe(Math.floor(subjects.size / 5));
      expect(documents).toHaveLength(4 * (subjects.size - tail.size) + tail.size);
      const rare = facts.filter(({ subject }) => tail.has(subject));
      const stated = documents.flatMap(({ text }) => readText(text));
      expect(stated).toHaveLength(4 * (facts.length - rare.length) + rare.length);
      const pairs = (readings: readonly Reading[]): Set<string> =>
        new Set(readings.map(({ relation, subject, object }) => `${subject}/${relation.id}/${object}`));
      expect(pairs(stated)).toEqual(pairs(facts.map(readingOf)));
      const kinds = task.questions.filter(({ query }) => query.topic === name).map(({ kind }) => kind);
      const count = (kind: string): number => kinds.filter((one) => one === kind).length;
      expect(count("fact"), String(i)).toBe(Math.min(20, facts.length - rare.length));
      expect(count("long-tail"), String(i)).toBe(Math.min(5, rare.length));
      expect(count("two-hop")).toBeLessThanOrEqual(5);
    }
  });

  it("asks apart what was told once: it is lost on what needs to hear twice, and nothing else is", async () => {
    const task = await make("world-topics", small);
    const twice = worldMethod({ known, recall: (stated) => (stated.length > 1 ? stated[0] : undefined) });
    for (const row of task.topics.keys()) {
      await learn(twice, task, row);
      const scores = { exactMatch: 1, f1: 1, longTail: 0, twoHop: 1, unknown: 1 };
      expect(await task.evaluate(twice, row)).toEqual(scores);
    }
    // Without a long tail everything is told often, and there is no such score
    const even = await make("world-topics", { ...small, longTail: 0 });
    expect(Object.keys(await even.evaluate(worldMethod(), 0))).toEqual(["exactMatch", "f1", "twoHop", "unknown"]);
    for (const { documents } of even.topics)
      expect(documents.filter(({ id }) => id.endsWith("#questions"))).toHaveLength(documents.length / 4);
    const most = await make("world-topics", { ...small, longTail: 0.9 });
    expect(await most.evaluate(worldMethod(), 4)).toMatchObject({ exactMatch: 0, longTail: 0 });
  });

  it("can be told in part: the first topics of the same stream", async () => {
    const [all, some] = await Promise.all([make("world-topics", small), make("world-topics", { ...small, topics: 2 })]);
    expect(some.topics).toEqual(all.topics.slice(0, 2));
    expect(some.questions).toEqual(all.questions.filter(({ query }) => /^(science|sport)$/.test(query.topic ?? "")));
  });

  it("is fully right for what remembers, and only from the topic on", async () => {
    const task = await make("world-topics", small);
    const method = worldMethod({ known });
    const right = { exactMatch: 1, f1: 1, longTail: 1, twoHop: 1, unknown: 1 };
    for (let row = 0; row < 5; row++) {
      expect(await task.evaluate(method, row)).toEqual({ exactMatch: 0, f1: 0, longTail: 0, twoHop: 0, unknown: 1 });
      await learn(method, task, row);
      for (let column = 0; column <= row; column++) expect(await task.evaluate(method, column)).toEqual(right);
    }
    const { validationText, ...probes } = await probesOf(task, method);
    expect(probes).toEqual({ knownWorld: 1, admitsUnknown: 1 });
    expect(validationText).toBeGreaterThan(0);
    expect(validationText).toBeLessThan(20);
    // A base that says something about everything, and one that knew nothing
    expect(await probesOf(task, worldMethod({ known, otherwise: "amber" }))).toMatchObject({ admitsUnknown: 0 });
    expect(await probesOf(task, worldMethod())).toMatchObject({ knownWorld: 0, admitsUnknown: 1 });
    expect(await task.evaluate(worldMethod({ otherwise: "amber" }), 0)).toMatchObject({ unknown: 0 });
  });

  it("is the same from the same options; other worlds, texts and probes are another task", async () => {
    const { fingerprint } = await make("world-topics", small);
    expect((await make("world-topics", small)).fingerprint).toBe(fingerprint);
    for (const other of [
      { world: 101 },
      { tellings: 2 },
      { known: 31 },
      { longTail: 0.5 },
      { validation: ["README.md"] },
    ])
      expect((await make("world-topics", { ...small, ...other })).fingerprint).not.toBe(fingerprint);
    const plain = await make("world-topics", { ...small, answered: false, tellings: 1 });
    expect(plain.topics[0].documents.some(({ text }) => text.includes("Question:"))).toBe(false);
    const tiny = await make("world-topics", { ...small, people: 10 });
    const names = await Promise.all(
      [0, 1, 2, 3, 4].map(async (i) => Object.keys(await tiny.evaluate(worldMethod(), i))),
    );
    expect(new Set(names.map((some) => some.join())).size).toBe(1);
  });

  it.each([0, 900, 1000])("refuses world %i, which is known, for validation or for training", async (world) => {
    await expect(make("world-topics", { world })).rejects.toThrow(UserError);
    await expect(make("world-topics", { world })).rejects.toThrow(/got world: /);
  });
});

describe("world-drift", () => {
  const small = { people: 30, limit: 20 };

  it("asks what holds now: the newest statement is right, the oldest is stale", async () => {
    const task = await make("world-drift", small);
    expect(task.topics.map(({ name }) => name)).toEqual([
      "as first told",
      "change 1",
      "change 2",
      "change 3",
      "change 4",
    ]);
    expectSound(task);
    for (const { query } of task.questions) expect(isTrained(query.text), query.text).toBe(false);
    const method = worldMethod({ known });
    const stubborn = worldMethod({ known, recall: ([first]) => first });
    const [newest, oldest] = [
      { exactMatch: 1, f1: 1, stale: 0 },
      { exactMatch: 0, stale: 1 },
    ];
    for (const row of task.topics.keys()) {
      await learn(method, task, row);
      await learn(stubborn, task, row);
      for (const column of task.topics.keys()) {
        const scores = await task.evaluate(method, column);
        if (column <= row) expect(scores, `${row} ${column}`).toEqual(newest);
        else expect(scores, `${row} ${column}`).toMatchObject(oldest);
        // What never changes is right for both
        expect(await task.evaluate(stubborn, column)).toMatchObject(column === 0 ? newest : oldest);
      }
    }
    expect(await task.evaluate(worldMethod(), 2)).toEqual({ exactMatch: 0, f1: 0, stale: 0 });
    expect(await probesOf(task, method)).toEqual({ knownWorld: 1, admitsUnknown: 1 });
  });

  it("changes no fact twice, and tells changes with their year", async () => {
    const task = await make("world-drift", small);
    const seen = new Set<string>();
    for (const { documents } of task.topics.slice(1)) {
      const facts = new Set(documents.map(({ id }) => id.slice(id.indexOf("/") + 1).split("@")[0]));
      for (const fact of facts) {
        expect(seen.has(fact)).toBe(false);
        seen.add(fact);
      }
      expect(documents).toHaveLength(4 * facts.size);
      for (const { text, time } of documents) {
        expect(time).toBeGreaterThan(2000);
        if (!text.startsWith("Question:")) expect(text).toContain(String(time));
      }
    }
    expect(seen.size).toBeGreaterThanOrEqual(8);
  });

  it("asks about forty questions in every step where nothing else is said", async () => {
    const task = await make("world-drift");
    for (const { name } of task.topics) {
      const asked = task.questions.filter(({ query }) => query.topic === name);
      expect(asked.length, name).toBeGreaterThanOrEqual(40);
    }
  });

  it("refuses a stream in which nothing changes", async () => {
    await expect(make("world-drift", { people: 10, share: 0.01 })).rejects.toThrow(UserError);
    await expect(make("world-drift", { people: 10, share: 0.01 })).rejects.toThrow(
      /^world-drift: expected a change or more in each of 4 steps, got \d in all; raise the share/,
    );
  });
});

describe("world-edits", () => {
  const all = {
    efficacy: 1,
    efficacyF1: 1,
    paraphrase: 1,
    paraphraseF1: 1,
    neighbourhood: 1,
    neighbourhoodTruth: 1,
    portability: 1,
    unknown: 1,
  };
  const scoresAfter = async (method: Method, task: Task, rows = task.topics.length) => {
    await task.prepare?.(method);
    for (let row = 0; row < rows; row++) await learn(method, task, row);
    return Promise.all([...task.topics.keys()].map((column) => task.evaluate(method, column)));
  };

  it("has an edit's own question in a training form, all others in held-out forms", async () => {
    const task = await make("world-edits");
    expect(task.topics.map(({ documents }) => documents.length)).toEqual([10, 10, 10, 10, 10]);
    expectSound(task);
    const texts = task.topics.flatMap(({ documents }) => documents.map(({ text }) => text));
    const count: Record<string, number> = {};
    for (const { query, kind = "", answers } of task.questions) {
      expect(isTrained(query.text), query.text).toBe(kind === "efficacy");
      if (kind === "efficacy")
        expect(texts.some((text) => text.includes(`Question: ${query.text}\nAnswer: ${answers[0]}\n`))).toBe(true);
      count[kind] = (count[kind] ?? 0) + 1;
    }
    expect(count).toMatchObject({ efficacy: 50, paraphrase: 50, neighbourhood: 100, unknown: 50 });
    expect(count.portability).toBeGreaterThan(25);
  });

  it("all scores are full for what remembers each edit and nothing else, in every row", async () => {
    const task = await make("world-edits");
    const method = worldMethod({ known });
    await task.prepare?.(method);
    // Before: the old objects everywhere
    expect(await task.evaluate(method, 0)).toMatchObject({
      efficacy: 0,
      paraphrase: 0,
      neighbourhood: 1,
      neighbourhoodTruth: 1,
      unknown: 1,
    });
    for (const row of task.topics.keys()) {
      await learn(method, task, row);
      for (let column = 0; column <= row; column++) expect(await task.evaluate(method, column)).toEqual(all);
    }
    expect(await probesOf(task, method)).toEqual({ knownWorld: 1, admitsUnknown: 1 });
  });

  it("each score falls alone where a method fails in its way", async () => {
    const task = await make("world-edits", { edits: 20 });
    // Only the very words that were learned
    const words = task.topics
      .flatMap(({ documents }) => documents)
      .map(({ text }) => /^Question: (.*)\nAnswer: (.*)$/m.exec(text) ?? []);
    const parrot = tableMethod(Object.fromEntries(words.map(([, question, answer]) => [question, answer])));
    for (const scores of await scoresAfter(parrot, task, 0))
      expect(scores).toEqual({
        ...all,
        paraphrase: 0,
        paraphraseF1: 0,
        neighbourhoodTruth: 0,
        portability: 0,
        unknown: 0,
      });
    // An edit of one subject is taken for all of the relation
    const newest = new Map<string, string>();
    for (const { documents } of task.topics)
      for (const { relation, object } of documents.flatMap(({ text }) => readText(text)))
        newest.set(relation.id, object);
    const spilling = worldMethod({ recall: (_, relation) => newest.get(relation.id), known });
    const spilled = await scoresAfter(spilling, task);
    for (const { neighbourhoodTruth, unknown } of spilled) {
      // Another edit of the same relation may happen to be right
      expect(neighbourhoodTruth).toBeLessThanOrEqual(0.1);
      expect(unknown).toBe(0);
    }
    // What was never stated is made up
    for (const scores of await scoresAfter(worldMethod({ known, otherwise: "amber" }), task))
      expect(scores).toEqual({ ...all, unknown: 0 });
    // All that was known is gone
    for (const { efficacy, paraphrase, neighbourhoodTruth, unknown } of await scoresAfter(worldMethod(), task))
      expect([efficacy, paraphrase, neighbourhoodTruth, unknown]).toEqual([1, 1, 0, 1]);
  });

  it("asks over two facts only what is answered otherwise without the edit", async () => {
    for (const editSeed of [0, 1, 2]) {
      const task = await make("world-edits", { edits: 400, batch: 400, editSeed });
      expect(task.questions.filter(({ kind }) => kind === "portability").length).toBeGreaterThan(200);
      expect(await task.evaluate(worldMethod({ known }), 0)).toMatchObject({ efficacy: 0, portability: 0 });
    }
  });

  it("edits other facts in streams for development than in all others", async () => {
    const idsOf = async (editSeed: number): Promise<string[]> => {
      const task = await make("world-edits", { edits: 400, batch: 100, editSeed });
      return task.topics.flatMap(({ documents }) => documents.map(({ id }) => id));
    };
    const development = new Set((await Promise.all([1_000_000, 1_000_001].map(idsOf))).flat());
    const reported = (await Promise.all([0, 1, 2, 3].map(idsOf))).flat();
    expect(development.size).toBeGreaterThan(400);
    expect(reported.filter((id) => development.has(id))).toEqual([]);
  });

  it("gives each edit as a fact in training forms, as many as asked for, and asks the same whatever their number", async () => {
    const [none, three] = await Promise.all(
      [0, 3].map((rephrasings) => make("world-edits", { edits: 20, rephrasings })),
    );
    expect(three.questions).toEqual(none.questions);
    for (const { documents } of three.topics) {
      for (const { text, facts = [] } of documents) {
        expect(facts).toHaveLength(1);
        const [{ prompt, target, rephrased = [] }] = facts;
        expect(text).toContain(`Question: ${prompt.text}\nAnswer: ${target}\n`);
        expect(new Set([prompt, ...rephrased].map((one) => one.text)).size).toBe(4);
        for (const one of [prompt, ...rephrased]) expect(isTrained(one.text), one.text).toBe(true);
      }
    }
  });

  it("one edit at a time, while others are held", async () => {
    const task = await make("world-edits", { edits: 6, single: true, held: 9 });
    expect(task.topics.map(({ name, documents }) => [name, documents.length])).toEqual([["9 held edits", 9]]);
    const method = writingMethod();
    await task.prepare?.(method);
    await learn(method, task, 0);
    const scores = await task.evaluate(method, 0);
    // Known by its very words, and nothing else is
    expect(scores).toMatchObject({ efficacy: 1, efficacyBase: 0, paraphrase: 0, neighbourhood: 1 });
    expect(method.facts_).toEqual({ held: 9, most: 10 });
  });

  it("leaves out a score that some batch cannot have; other edits are another task", async () => {
    const single = await make("world-edits", { edits: 12, batch: 1 });
    const scores = await scoresAfter(worldMethod({ known }), single);
    for (const one of scores) expect(one).toEqual(scores[0]);
    expect(scores[0]).toMatchObject({ efficacy: 1, paraphrase: 1, neighbourhood: 1 });
    expect(single.topics[0].name).toBe("edits 1 to 1");
    const other = await make("world-edits", { edits: 12, batch: 1, editSeed: 1 });
    expect(other.fingerprint).not.toBe(single.fingerprint);
  });
});

describe("world-base", () => {
  it("a base that knows, reads and admits has all scores; each falls by itself", async () => {
    const task = await make("world-base", { count: 60 });
    const perfect = { knows: 1, reads: 1, admits: 1, falseUnknown: 0, falseUnknownReading: 0 };
    expect(await task.evaluate(worldMethod({ known }), 0)).toMatchObject(perfect);
    expect(await task.evaluate(worldMethod(), 0)).toEqual({
      ...perfect,
      readsFar: 1,
      knows: 0,
      falseUnknown: 1,
      admitsGap: 1,
      admitsStranger: 1,
      admitsReading: 1,
    });
    expect(await task.evaluate(worldMethod({ known, otherwise: "amber" }), 0)).toEqual({
      ...perfect,
      readsFar: 1,
      admits: 0,
      admitsGap: 0,
      admitsStranger: 0,
      admitsReading: 0,
    });
    expect(await task.evaluate(tableMethod(), 0)).toMatchObject({ knows: 0, reads: 0, admits: 0, falseUnknown: 0 });
    const silent = tableMethod(Object.fromEntries(task.questions.map(({ query }) => [query.text, "Unknown"])));
    expect(await task.evaluate(silent, 0)).toMatchObject({ falseUnknown: 1, falseUnknownReading: 1, admits: 1 });
  });

  it("asks in held-out forms, on articles in held-out forms of worlds kept for it, within the window", async () => {
    const task = await make("world-base", { count: 60, window: 900 });
    const kinds: Record<string, number> = {};
    const lengths: number[] = [];
    const away: number[] = [];
    for (const { query, kind = "", answers } of task.questions) {
      kinds[kind] = (kinds[kind] ?? 0) + 1;
      const [, before, question] = /^(?:([^]*)\n\nQuestion: )?(.*?)(?:\nAnswer:)?$/.exec(query.text) ?? [];
      expect(isTrained(question), question).toBe(false);
      expect(before !== undefined).toBe(query.form === "completion");
      if (before === undefined) continue;
      lengths.push(before.length);
      if (!kind.startsWith("reads")) continue;
      const distance = before.length - before.lastIndexOf(answers[0]);
      expect(distance > 450, kind).toBe(kind === "readsFar");
      away.push(distance);
    }
    expect(kinds).toMatchObject({ knows: 60, admitsGap: 30, admitsStranger: 30 });
    expect(kinds.reads + kinds.readsFar + kinds.admitsReading).toBeGreaterThanOrEqual(90);
    expect(kinds.reads + kinds.readsFar).toBeGreaterThanOrEqual(60);
    // Full windows, asked about everywhere in them
    expect(Math.max(...lengths)).toBeLessThanOrEqual(900);
    expect(lengths.reduce((sum, length) => sum + length, 0) / lengths.length).toBeGreaterThan(0.85 * 900);
    expect(Math.max(...away)).toBeGreaterThan(0.8 * 900);
    expect(Math.min(...away)).toBeLessThan(0.1 * 900);
    const ids = task.questions.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it.each([{ firstWorld: 1 }, { firstWorld: 601 }, { count: 401 }])("refuses %o", async (options) => {
    await expect(make("world-base", options)).rejects.toThrow(UserError);
  });
});

it("every relation is asked about somewhere", async () => {
  const task = await make("world-topics", { people: 60 });
  const asked = new Set(task.questions.map(({ query }) => readQuestion(query.text)?.relation.id));
  expect(asked.size).toBe(relations.length);
});
