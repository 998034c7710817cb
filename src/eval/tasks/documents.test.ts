/** A user's own file: what it becomes, and every way in which it can be wrong. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { jsonLines, tableMethod, textFile } from "../../../tests/support/table-method.ts";
import { UserError } from "../../errors.ts";
import { documents, documentsTask, parseDocuments } from "./documents.ts";

const document = (id: string, topic: string, more = {}) => ({
  type: "document",
  id,
  topic,
  text: `Text of ${id}.\n`,
  ...more,
});
const question = (id: string, topic: string, more = {}) => ({
  type: "question",
  id,
  topic,
  question: `What is ${id}?`,
  answers: [`answer ${id}`],
  ...more,
});
const good = [
  document("d1", "garden", { time: 1911 }),
  question("q1", "garden", { answers: ["1911", "in 1911"] }),
  question("s1", "sea"),
  document("d2", "sea"),
  document("d3", "garden"),
  question("q2", "garden"),
];

describe("documents", () => {
  const task = documentsTask(parseDocuments(jsonLines(...good)));

  it("topics in the order in which they appear, with their documents and questions", async () => {
    expect(task.topics).toEqual([
      {
        name: "garden",
        documents: [
          { id: "d1", topic: "garden", text: "Text of d1.\n", time: 1911 },
          { id: "d3", topic: "garden", text: "Text of d3.\n" },
        ],
      },
      { name: "sea", documents: [{ id: "d2", topic: "sea", text: "Text of d2.\n" }] },
    ]);
    const method = tableMethod({ "What is q1?": "In 1911.", "What is q2?": "answer" });
    expect(await task.evaluate(method, 0)).toEqual({ exactMatch: 0.5, f1: (1 + 2 / 3) / 2 });
  });

  it("the fingerprint follows texts, answers and order", () => {
    const print = (...records: unknown[]): string => documentsTask(parseDocuments(jsonLines(...records))).fingerprint;
    expect(print(...good)).toBe(task.fingerprint);
    expect(print(...good.slice(1), good[0])).not.toBe(task.fingerprint);
    expect(print(...good.slice(0, 5), question("q2", "garden", { answers: ["x"] }))).not.toBe(task.fingerprint);
    expect(print({ ...good[0], time: 1912 }, ...good.slice(1))).not.toBe(task.fingerprint);
  });

  it("a limit takes the first questions of each topic, and topics as far as it reaches", () => {
    const ids = (limit: number): string[] =>
      documentsTask(parseDocuments(jsonLines(...good)), { limit }).questions.map(({ id }) => id);
    expect(ids(2)).toEqual(["q1", "s1"]);
    expect(ids(1)).toEqual(["q1"]);
    expect(ids(9)).toEqual(["q1", "q2", "s1"]);
  });

  it.each<[string, unknown[], RegExp]>([
    ["no answers", [question("q", "t", { answers: [] })], /line 1, field answers: expected at least one answer/],
    ["empty answer", [question("q", "t", { answers: ["a", " "] })], /line 1, field answers\.1: /],
    ["answers missing", [question("q", "t", { answers: undefined })], /line 1, field answers: .*array/],
    ["unknown type", [good[0], { type: "fact", id: "x" }], /line 2, field type: /],
    ["no type", [{ id: "x" }], /line 1, field type: /],
    ["unknown field", [document("d", "t", { tiem: 3 })], /line 1: Unrecognized key: "tiem"/],
    ["blank text", [document("d", "t", { text: " \n" })], /line 1, field text: expected text, got only blanks/],
    ["number as id", [document("d", "t", { id: 4 })], /line 1, field id: /],
    ["text as time", [document("d", "t", { time: "1911" })], /line 1, field time: /],
    ["no topic", [document("d", "")], /line 1, field topic: /],
    ["repeated question", [...good, question("q1", "sea")], /"q1" in line 2 and again in line 7/],
    ["repeated document", [...good, document("d1", "sea")], /"d1" in line 1 and again in line 7/],
    ["no question for a topic", [...good, document("x", "sky")], /got no question for topic "sky" \(line 7\); add one/],
    ["no document for a topic", [...good, question("x", "sky")], /got no document for topic "sky" \(line 7\)/],
    ["not an object", ["words"], /line 1: /],
  ])("refuses in one line: %s", (_, records, message) => {
    const parse = () => parseDocuments(jsonLines(...records));
    expect(parse).toThrow(UserError);
    expect(parse).toThrow(message);
    expect(parse).not.toThrow(/\n/);
  });

  it("names malformed lines, missing and empty files", async () => {
    expect(() => parseDocuments(textFile("x.jsonl", `${JSON.stringify(good[0])}\n{"type":`))).toThrow(
      /^documents: expected JSON in x\.jsonl, line 2, got .+; repair the file$/,
    );
    const folder = await mkdtemp(join(tmpdir(), "mneme-documents-"));
    const data = join(folder, "own.jsonl");
    await expect(documents.create({ data })).rejects.toThrow(/got nothing there/);
    await writeFile(data, " \n");
    await expect(documents.create({ data })).rejects.toThrow(/got an empty file/);
    await writeFile(data, jsonLines(...good).text);
    expect((await documents.create({ data })).fingerprint).toBe(task.fingerprint);
    await rm(folder, { recursive: true });
    await expect(documents.create({ dta: data })).rejects.toThrow(/^documents: expected valid options, got data: /);
  });
});
