/** zsRE files in the form of KnowEdit, and the published one where it is there. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { jsonLines, sharedData, tableMethod, textFile } from "../../../tests/support/table-method.ts";
import { UserError } from "../../errors.ts";
import { readTextFile } from "../../checkpoint/text.ts";
import { parseZsre, zsre, zsreTask } from "./zsre.ts";

const record = {
  subject: "Oak",
  prompt: "Which family is Oak in?",
  target_new: "Rosaceae",
  ground_truth: ["Fagaceae"],
  rephrase_prompt: "To which family does Oak belong?",
  cond: "...",
  locality: {
    Relation_Specificity: [
      { prompt: "The rank of Oak is", ground_truth: ["genus"] },
      { prompt: "Oak rank", ground_truth: [["genus", "a genus"]] },
      { prompt: "Oak colour", ground_truth: [] },
    ],
  },
  portability: { Reasoning: [{ prompt: "What are plants of the family of Oak called?", ground_truth: "roses" }] },
};

it("reads records with answers of every form", () => {
  const edits = [
    {
      id: "zsre-1",
      prompt: record.prompt,
      target: "Rosaceae",
      truth: "Fagaceae",
      paraphrases: [record.rephrase_prompt],
      neighbourhood: [
        { text: "The rank of Oak is", answers: ["genus"] },
        { text: "Oak rank", answers: ["genus", "a genus"] },
      ],
      portability: [{ text: "What are plants of the family of Oak called?", answers: ["roses"] }],
    },
  ];
  expect(parseZsre(jsonLines(record))).toEqual(edits);
  expect(parseZsre(textFile("f.json", JSON.stringify([record], null, 2)))).toEqual(edits);
  const { locality: _one, portability: _other, ...bare } = record;
  expect(parseZsre(jsonLines(bare))[0]).toMatchObject({ neighbourhood: [], portability: [] });
});

it.each<[string, unknown, RegExp]>([
  ["no target", { ...record, target_new: undefined }, /line 2, field target_new: /],
  ["no rephrasing", { ...record, rephrase_prompt: " " }, /line 2, field rephrase_prompt: /],
  [
    "answer of another kind",
    { ...record, portability: { R: [{ prompt: "x", ground_truth: 3 }] } },
    /line 2, field portability\.R\.0\.ground_truth: /,
  ],
  ["prompts that are no list", { ...record, locality: { R: "x" } }, /line 2, field locality\.R: /],
])("names line and field: %s", (_, broken, message) => {
  expect(() => parseZsre(jsonLines(record, broken))).toThrow(UserError);
  expect(() => parseZsre(jsonLines(record, broken))).toThrow(message);
});

it("scores the edit, its rephrasing, what follows, and what should stay", async () => {
  const task = zsreTask(parseZsre(jsonLines(record)));
  expect(task.topics[0].documents[0].text).toBe("Question: Which family is Oak in?\nAnswer: Rosaceae\n");
  const method = tableMethod({ "The rank of Oak is": "genus" });
  await task.prepare(method);
  Object.assign(method.table, { [record.prompt]: "rosaceae", "The rank of Oak is": "Rosaceae" });
  expect(await task.evaluate(method, 0)).toMatchObject({
    efficacy: 1,
    paraphrase: 0,
    portability: 0,
    neighbourhood: 1 / 2,
    neighbourhoodTruth: 0,
  });
});

const published = fileURLToPath(new URL("zsre/zsre_knowedit_test.jsonl", sharedData));
const there = existsSync(published);
if (!there) console.log("zsre.test: ../shared/data is absent; the test of the published edits is skipped");

it.skipIf(!there)("reads the published edits", async () => {
  const edits = parseZsre(await readTextFile(published));
  expect(edits).toHaveLength(1304);
  expect(edits.flatMap(({ neighbourhood }) => neighbourhood)).toHaveLength(2608);
  expect(edits.flatMap(({ portability }) => portability)).toHaveLength(1304);
  expect((await zsre.create({ data: published })).topics).toHaveLength(10);
});
