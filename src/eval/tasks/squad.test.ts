/** SQuAD files: both versions, closed book, and faults named down to the question. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { sharedData, tableMethod, textFile } from "../../../tests/support/table-method.ts";
import { UserError } from "../../errors.ts";
import { parseSquad, squad, squadTask } from "./squad.ts";

const qa = (id: string, ...answers: string[]) => ({
  id,
  question: ` What is ${id}?`,
  answers: answers.map((text) => ({ text, answer_start: 0 })),
});
const data = [
  {
    title: "Green_tea",
    paragraphs: [
      { context: "Tea is green.", qas: [qa("a1", "green", "Green", "green"), qa("a2", "two words")] },
      { context: "Nobody asks about this.", qas: [] },
      { context: "Tea is old.", qas: [qa("a3", "old")] },
    ],
  },
  { title: "Nothing", paragraphs: [{ context: "No questions here.", qas: [] }] },
  { title: "Iron", paragraphs: [{ context: "Iron rusts.", qas: [qa("b1", "rust"), qa("b2", "red")] }] },
  { title: "Green_tea", paragraphs: [{ context: "Again.", qas: [qa("c1", "again")] }] },
];
const file = (value: unknown) => textFile("squad.json", JSON.stringify(value));
const options = { topics: 5, articles: 1, limit: 250, dataSeed: 0 };

describe("squadTask", () => {
  const articles = parseSquad(file({ version: "1.1", data }));

  it("learns the paragraphs that are asked about, article after article", () => {
    const task = squadTask(articles, options);
    expect(task.topics).toEqual([
      {
        name: "Green tea",
        documents: [
          { id: "Green tea-1", text: "Tea is green.", topic: "Green tea" },
          { id: "Green tea-3", text: "Tea is old.", topic: "Green tea" },
        ],
      },
      { name: "Iron", documents: [{ id: "Iron-1", text: "Iron rusts.", topic: "Iron" }] },
      { name: "Green tea (2)", documents: [{ id: "Green tea (2)-1", text: "Again.", topic: "Green tea (2)" }] },
    ]);
    expect(task.questions[0]).toMatchObject({
      id: "a1",
      query: { text: "What is a1?", topic: "Green tea" },
      answers: ["green", "Green"],
    });
  });

  it("scores exact match and F1 over the questions of a topic", async () => {
    const task = squadTask(articles, options);
    const method = tableMethod({ "What is a1?": "the Green", "What is a2?": "two", "What is a3?": "new" });
    const scores = await task.evaluate(method, 0);
    expect(Object.keys(scores)).toEqual(["exactMatch", "f1"]);
    expect(scores.exactMatch).toBeCloseTo(1 / 3, 12);
    expect(scores.f1).toBeCloseTo((1 + 2 / 3 + 0) / 3, 12);
  });

  it("a limit takes questions from every topic and leaves out what they do not need", () => {
    const task = squadTask(articles, { ...options, limit: 3 });
    expect(task.questions).toHaveLength(3);
    expect(new Set(task.questions.map(({ query }) => query.topic)).size).toBe(3);
    expect(task.topics[0].documents).toHaveLength(1);
    expect(squadTask(articles, { ...options, limit: 1 }).topics).toHaveLength(1);
  });

  it("joins articles to topics", () => {
    const task = squadTask(articles, { ...options, articles: 2 });
    expect(task.topics.map(({ name, documents }) => [name, documents.length])).toEqual([
      ["Green tea +1", 3],
      ["Green tea (2) +0", 1],
    ]);
    expect(squadTask(articles, { ...options, topics: 1 }).topics).toHaveLength(1);
  });

  it("asks the unanswerable questions of v2.0 for 'unknown'", async () => {
    const gap = { ...qa("gap"), is_impossible: true, plausible_answers: [{ text: "maybe", answer_start: 0 }] };
    const known = { ...qa("known", "yes"), is_impossible: false };
    const articles = [{ title: "T", paragraphs: [{ context: "c", qas: [gap, known] }] }];
    const task = squadTask(parseSquad(file({ version: "v2.0", data: articles })), options);
    const method = tableMethod({ "What is gap?": "Unknown.", "What is known?": "no" });
    expect(await task.evaluate(method, 0)).toEqual({ exactMatch: 0.5, f1: 0.5, unknown: 1 });
  });
});

describe("parseSquad", () => {
  const broken = (change: (copy: typeof data) => void): (() => unknown) => {
    const copy = structuredClone(data);
    change(copy);
    return () => parseSquad(file({ data: copy }));
  };
  const hurt = (value: unknown): never => value as never;

  it.each<[string, () => unknown, string]>([
    [
      "question without answers",
      broken((d) => (d[0].paragraphs[2].qas[0].answers = [])),
      "article 1 (Green_tea), paragraph 3, question 1, field answers: expected at least one answer",
    ],
    [
      "empty answer",
      broken((d) => (d[2].paragraphs[0].qas[1].answers[0].text = " ")),
      "article 3 (Iron), paragraph 1, question 2, field answers.0.text: ",
    ],
    [
      "no context",
      broken((d) => (d[2].paragraphs[0].context = hurt(undefined))),
      "article 3 (Iron), paragraph 1, field context: ",
    ],
    ["no title", broken((d) => (d[1].title = hurt(7))), "article 2, field title: "],
    ["no paragraphs", broken((d) => (d[1].paragraphs = [])), "article 2 (Nothing), field paragraphs: "],
    ["null article", broken((d) => (d[1] = hurt(null))), "article 2: "],
    ["not SQuAD", () => parseSquad(file([1])), "its top level: "],
    ["no articles", () => parseSquad(file({ data: [] })), "field data: "],
    [
      "repeated id",
      broken((d) => (d[2].paragraphs[0].qas[0].id = "a3")),
      '"a3" in article 1 (Green_tea), paragraph 3, question 1 and again in article 3 (Iron), paragraph 1, question 1',
    ],
    ["not JSON", () => parseSquad(textFile("squad.json", '{"data": [')), "squad: expected JSON in squad.json, got "],
  ])("names the place of a fault: %s", (_, parse, message) => {
    expect(parse).toThrow(UserError);
    expect(parse).toThrow(message);
  });

  it("refuses a file without any question", () => {
    expect(() => squadTask(parseSquad(file({ data: [data[1]] })), options)).toThrow(/expected questions, got none/);
  });
});

const published = fileURLToPath(new URL("squad/squad_dev_shared.json", sharedData));
const there = existsSync(published);
if (!there) console.log("squad.test: ../shared/data is absent; the test of the published articles is skipped");

it.skipIf(!there)("reads the published articles", async () => {
  const task = await squad.create({ data: published, topics: 29, limit: 6555 });
  expect(task.topics).toHaveLength(29);
  expect((task as ReturnType<typeof squadTask>).questions).toHaveLength(6555);
  const some = await squad.create({ data: published, limit: 50 });
  expect(some.topics.map(({ name }) => name)).toContain("Amazon rainforest");
  expect((some as ReturnType<typeof squadTask>).questions).toHaveLength(50);
});
