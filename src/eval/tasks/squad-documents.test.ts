/** Paragraphs of SQuAD as one stream: each once, all learned, then asked about. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { sharedData, tableMethod, textFile } from "../../../tests/support/table-method.ts";
import { taskNamed } from "./index.ts";
import { parseSquad } from "./squad.ts";
import { squadDocumentsTask } from "./squad-documents.ts";

const qa = (id: string, answer: string) => ({ id, question: `What is ${id}?`, answers: [{ text: answer }] });
const data = [
  {
    title: "Green_tea",
    paragraphs: [
      { context: "Tea is green.", qas: [qa("a1", "green"), qa("a2", "two words")] },
      { context: "Nobody asks about this.", qas: [] },
      { context: "Tea is old.", qas: [qa("a3", "old")] },
    ],
  },
  { title: "Iron", paragraphs: [{ context: "Iron rusts.", qas: [qa("b1", "rust")] }] },
  { title: "Leaves", paragraphs: [{ context: "Tea is green.", qas: [qa("c1", "leaves")] }] },
];
const articles = parseSquad(textFile("squad.json", JSON.stringify({ data })));

describe("squadDocumentsTask", () => {
  it("learns each paragraph that is asked about once; questions name theirs", async () => {
    const task = squadDocumentsTask(articles, { documents: 9, batch: 9, dataSeed: 0 });
    expect(task.topics).toEqual([
      {
        name: "documents 1 to 3",
        documents: [
          { id: "Green tea-1", text: "Tea is green." },
          { id: "Green tea-3", text: "Tea is old." },
          { id: "Iron-1", text: "Iron rusts." },
        ],
      },
    ]);
    expect(task.questions.map(({ id, query }) => [id, query.document])).toEqual([
      ["a1", "Green tea-1"],
      ["a2", "Green tea-1"],
      ["c1", "Green tea-1"],
      ["a3", "Green tea-3"],
      ["b1", "Iron-1"],
    ]);
    const method = tableMethod({ "What is a1?": "green", "What is a2?": "two", "What is b1?": "rusted" });
    const scores = await task.evaluate(method, 0);
    expect(scores.exactMatch).toBeCloseTo(1 / 5, 12);
    expect(scores.f1).toBeCloseTo((1 + 2 / 3) / 5, 12);
    expect(scores.truncatedMatch).toBeCloseTo(2 / 5, 12);
  });

  it("the first of the file, in batches, with some of the questions", () => {
    const task = squadDocumentsTask(articles, { documents: 2, batch: 1, limit: 2, dataSeed: 0 });
    expect(task.topics.map(({ name, documents }) => [name, documents.length])).toEqual([
      ["documents 1 to 1", 1],
      ["documents 2 to 2", 1],
    ]);
    expect(task.questions).toHaveLength(3);
    expect(() => squadDocumentsTask([], { documents: 2, batch: 1, dataSeed: 0 })).toThrow(
      /expected questions, got none/,
    );
  });

  const shared = fileURLToPath(new URL("squad/squad_dev_shared.json", sharedData));
  if (!existsSync(shared)) console.log("skipped: ../shared/data/squad is not there");
  it.skipIf(!existsSync(shared))("takes the shared articles whole", async () => {
    const task = await taskNamed("squad-documents").create({ data: shared });
    expect(task.topics.map(({ documents }) => documents.length)).toEqual([1230]);
    expect(task.questions).toHaveLength(6555);
    const ids = new Set(task.topics[0].documents.map(({ id }) => id));
    for (const { query } of task.questions ?? []) expect(ids).toContain(query.document);
  });
});
