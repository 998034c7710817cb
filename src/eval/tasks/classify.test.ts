/** Classification streams: what is learned, what is scored, which sets may meet. */
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sharedData, tableMethod } from "../../../tests/support/table-method.ts";
import { UserError } from "../../errors.ts";
import { classify, classifyTask, readSentenceSets, type Sentence, type SentenceSet } from "./classify.ts";

const sentences = (word: string, count: number, split: Sentence["split"]): Sentence[] =>
  Array.from({ length: count }, (_, i) => ({ text: `${word} ${split} number ${i}`, label: i % 2, split }));
const set = (name: string, list: Sentence[]): SentenceSet => ({ name, labels: ["bad", "good"], sentences: list });
const limits = { limit: 1000, testLimit: 1000, dataSeed: 0 };

describe("classifyTask", () => {
  const official = set("films", [
    ...sentences("film", 30, "train"),
    ...sentences("film", 5, "dev"),
    ...sentences("film", 10, "test"),
  ]);
  const open = set("books", sentences("book", 50, "all"));

  it("learns sentences with their label words, one topic per set", () => {
    const task = classifyTask([official, open], limits);
    expect(task.topics.map(({ name, documents }) => [name, documents.length])).toEqual([
      ["films", 30],
      ["books", 40],
    ]);
    expect(task.topics[0].documents[1]).toEqual({
      id: "films-2",
      topic: "films",
      text: "film train number 1\nLabel: good\n",
    });
    expect(task).toMatchObject({ metric: "accuracy", direction: "higher" });
  });

  it("scores the official test part, or a fifth drawn by the seed, never learned", () => {
    const task = classifyTask([official, open], limits);
    const scored = (topic: string): string[] =>
      task.questions.filter(({ query }) => query.topic === topic).map(({ query }) => query.text);
    expect(scored("films")).toEqual(sentences("film", 10, "test").map(({ text }) => `${text}\nLabel:`));
    expect(scored("books")).toHaveLength(10);
    const learned = task.topics[1].documents.map(({ text }) => text.split(" ").at(-2));
    expect(learned).toHaveLength(40);
    for (const text of scored("books"))
      expect(task.topics[1].documents.some((one) => one.text.startsWith(text))).toBe(false);
    expect(classifyTask([official, open], limits).fingerprint).toBe(task.fingerprint);
    expect(classifyTask([official, open], { ...limits, dataSeed: 1 }).fingerprint).not.toBe(task.fingerprint);
  });

  it("takes the likeliest label word", async () => {
    const task = classifyTask([official], { ...limits, testLimit: 4 });
    const texts = task.questions.map(({ query }) => query.text);
    // One right, one wrong, two not known: a tie goes to the first word
    const right = task.questions[0].answers[0];
    const wrong = task.questions[1].answers[0] === "good" ? "bad" : "good";
    const ties = task.questions.slice(2).filter(({ answers }) => answers[0] === "bad").length;
    const method = tableMethod({ [texts[0]]: right, [texts[1]]: wrong });
    expect(await task.evaluate(method, 0)).toEqual({ accuracy: (1 + ties) / 4 });
    expect(method.asked.rated).toHaveLength(8);
    expect(method.asked.rated[0]).toEqual({
      query: { text: texts[0], form: "completion", topic: "films" },
      answer: "bad",
    });
  });

  it("keeps what is scored in one set out of what is learned in another, and repeats out of both", () => {
    const shared = { ...official.sentences[40], text: "FILM test, number 5!", split: "all" as const };
    const twice = [...open.sentences, open.sentences[0], shared];
    const task = classifyTask([official, set("books", twice)], limits);
    const learned = task.topics[1].documents.map(({ text }) => text);
    expect(learned.some((text) => text.startsWith("FILM test"))).toBe(false);
    const all = [...learned, ...task.questions.map(({ query }) => query.text)].map((text) => text.split("\n")[0]);
    expect(new Set(all).size).toBe(all.length);
  });

  it("refuses sets that share most sentences, and no sentences at all", () => {
    const other = set("movies", official.sentences.slice(0, 40));
    expect(() => classifyTask([official, open, other], limits)).toThrow(UserError);
    expect(() => classifyTask([official, open, other], limits)).toThrow(
      "classify: expected sets of different sentences, got films and movies, which share 40 of 40 sentences; leave one out",
    );
    expect(() => classifyTask([official, official], limits)).toThrow(/got films and films/);
    expect(() => classifyTask([], limits)).toThrow(/at least one set, got none/);
    expect(() => classifyTask([set("x", sentences("x", 3, "test"))], limits)).toThrow(
      /sentences to learn and to score in x, got 0 and 3/,
    );
  });

  it("obeys its limits", () => {
    const task = classifyTask([official, open], { limit: 7, testLimit: 3, dataSeed: 0 });
    expect(task.topics.map(({ documents }) => documents.length)).toEqual([7, 7]);
    expect(task.questions).toHaveLength(6);
  });
});

describe("reading", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "mneme-classify-"));
  });
  afterAll(() => rm(folder, { recursive: true }));
  const write = (name: string, text: string): Promise<void> => writeFile(join(folder, name), text);

  it("gives codes their words and names every fault", async () => {
    await write("labels.json", '{"kinds":["DESC","HUM"]}');
    await write("kinds.jsonl", '{"text":"who ?","label":1,"split":"train"}\n');
    expect(await readSentenceSets(folder, ["kinds"])).toEqual([
      { name: "kinds", labels: ["description", "human"], sentences: [{ text: "who ?", label: 1, split: "train" }] },
    ]);
    const faults: [string, RegExp][] = [
      ['{"text":"who ?","label":2,"split":"train"}', /kinds\.jsonl, got line 1, field label: expected 0 to 1/],
      ['{"text":" ","label":1,"split":"train"}', /line 1, field text: /],
      ['{"text":"a","label":1,"split":"train"}\n{"text":"b","label":1,"split":"tset"}', /line 2, field split: /],
      ['{"text":"a","label":1,"split":"all","id":4}', /line 1: Unrecognized key: "id"/],
      ['{"text":"a"', /line 1, got .*; repair the file/],
      ["", /got an empty file/],
    ];
    for (const [text, message] of faults) {
      await write("kinds.jsonl", text);
      await expect(readSentenceSets(folder, ["kinds"])).rejects.toThrow(message);
    }
    await expect(readSentenceSets(folder, ["other"])).rejects.toThrow(/among kinds \(labels\.json\), got other/);
    await expect(readSentenceSets(join(folder, "none"), ["kinds"])).rejects.toThrow(/got nothing there/);
    await expect(readSentenceSets(join(folder, "labels.json"), ["kinds"])).rejects.toThrow(/got a file/);
    await write("labels.json", '{"kinds":["only"]}');
    await expect(readSentenceSets(folder, ["kinds"])).rejects.toThrow(/labels\.json, got kinds: Too small/);
    await expect(classify.create({})).rejects.toThrow(/^classify: expected valid options, got data: expected .*--data/);
  });
});

const published = fileURLToPath(new URL("sent_classification", sharedData));
const there = existsSync(published);
if (!there) console.log("classify.test: ../shared/data is absent; the test of the published sets is skipped");

describe.skipIf(!there)("the published sets", () => {
  it("make the default stream", async () => {
    const task = await classify.create({ data: published, limit: 300, testLimit: 100 });
    expect(task.topics.map(({ name, documents }) => [name, documents.length])).toEqual([
      ["sst2", 300],
      ["subj", 300],
      ["mpqa", 300],
      ["trec", 300],
    ]);
    expect(task.protocol).toContain("description/entity/abbreviation/human/location/number");
  });

  it.each(["mr", "sst5"])("%s does not meet SST-2", async (name) => {
    await expect(classify.create({ data: published, sets: ["sst2", name] })).rejects.toThrow(
      new RegExp(`got sst2 and ${name}, which share \\d+ of \\d+ sentences`),
    );
  });
});
