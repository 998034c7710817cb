/** CounterFact files in both forms, and the published ones where they are there. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { jsonLines, sharedData, tableMethod, textFile } from "../../../tests/support/table-method.ts";
import { UserError } from "../../errors.ts";
import { readTextFile } from "../../checkpoint/text.ts";
import { counterfact, counterfactTask, parseCounterfact } from "./counterfact.ts";

const flat = {
  case_id: 7,
  prompt: "Ada works as a",
  target_new: "smith",
  subject: "Ada",
  ground_truth: "poet",
  rephrase_prompt: "The job of Ada is",
  locality_prompt: "Bo works as a",
  locality_ground_truth: "cook",
};
const original = {
  case_id: 8,
  pararel_idx: 1,
  requested_rewrite: {
    prompt: "{} works as a",
    relation_id: "P106",
    subject: "Mr. $& Co",
    target_new: { str: "smith", id: "Q1" },
    target_true: { str: "poet", id: "Q2" },
  },
  paraphrase_prompts: ["Once upon a time. Mr. $& Co is a", "They say that Mr. $& Co is a"],
  neighborhood_prompts: ["Bo works as a", "Cy works as a"],
  generation_prompts: ["Mr. $& Co likes"],
};

describe("parseCounterfact", () => {
  it("reads flat records", () => {
    expect(parseCounterfact(jsonLines(flat))).toEqual([
      {
        id: "counterfact-7",
        prompt: "Ada works as a",
        target: "smith",
        truth: "poet",
        paraphrases: ["The job of Ada is"],
        neighbourhood: [{ text: "Bo works as a", answers: ["cook"] }],
        portability: [],
      },
    ]);
  });

  it("reads original records, as lines or as an array", () => {
    const edits = parseCounterfact(textFile("f.json", JSON.stringify([original])));
    expect(edits).toEqual([
      {
        id: "counterfact-8",
        prompt: "Mr. $& Co works as a",
        target: "smith",
        truth: "poet",
        paraphrases: original.paraphrase_prompts,
        neighbourhood: original.neighborhood_prompts.map((text) => ({ text, answers: ["poet"] })),
        portability: [],
      },
    ]);
    expect(parseCounterfact(jsonLines(original))).toEqual(edits);
  });

  const rewrite = original.requested_rewrite;
  it.each<[string, unknown[], RegExp]>([
    ["missing field", [flat, { ...flat, case_id: 8, target_new: undefined }], /line 2, field target_new: /],
    ["empty field", [{ ...flat, locality_prompt: "" }], /line 1, field locality_prompt: /],
    ["wrong id", [{ ...flat, case_id: true }], /line 1, field case_id: /],
    ["repeated id", [flat, flat], /"counterfact-7" in line 1 and again in line 2/],
    [
      "no place for the subject",
      [{ ...original, requested_rewrite: { ...rewrite, prompt: "works as a" } }],
      /line 1, field requested_rewrite\.prompt: expected \{\} where the subject goes/,
    ],
    [
      "no target",
      [{ ...original, requested_rewrite: { ...rewrite, target_new: "x" } }],
      /field requested_rewrite\.target_new: .*object/,
    ],
  ])("names line and field: %s", (_, records, message) => {
    expect(() => parseCounterfact(jsonLines(...records))).toThrow(UserError);
    expect(() => parseCounterfact(jsonLines(...records))).toThrow(message);
  });
});

it("an edit that took scores 1 beside a neighbour that stayed", async () => {
  const task = counterfactTask(parseCounterfact(jsonLines(flat)));
  const method = tableMethod({ "Bo works as a": "cook in town" });
  await task.prepare(method);
  Object.assign(method.table, { "Ada works as a": "smith", "The job of Ada is": "smith", "Bo works as a": "cook" });
  // Right words have a probability of 1 there, a wrong one of exp(-1)
  const margin = 1 - Math.exp(-1);
  expect(await task.evaluate(method, 0)).toEqual({
    efficacy: 1,
    efficacyF1: 1,
    efficacyTokens: 1,
    efficacyScore: 1,
    efficacyMagnitude: margin,
    paraphrase: 1,
    paraphraseF1: 1,
    paraphraseTokens: 1,
    paraphraseScore: 1,
    paraphraseMagnitude: margin,
    neighbourhood: 1,
    neighbourhoodTruth: 1,
    neighbourhoodTokens: 1,
    neighbourhoodScore: 1,
    neighbourhoodMagnitude: margin,
    harmonicScore: 1,
  });
});

const published = fileURLToPath(new URL("counterfact/edit_1k.jsonl", sharedData));
const there = existsSync(published);
if (!there) console.log("counterfact.test: ../shared/data is absent; the test of the published edits is skipped");

it.skipIf(!there)("reads the published edits", async () => {
  const edits = parseCounterfact(await readTextFile(published));
  expect(edits).toHaveLength(1000);
  expect(counterfactTask(edits).protocol).toMatch(/; 1 repeated prompts left out$/);
  const task = await counterfact.create({ data: published, limit: 25, batch: 10 });
  expect(task.topics.map(({ name }) => name)).toEqual(["edits 1-10", "edits 11-20", "edits 21-25"]);
  expect(task.protocol).toMatch(/generation prompts: no paraphrase score of ROME's/);
  const single = await counterfact.create({ data: published, limit: 25, single: true, held: 100 });
  expect(single.topics.map(({ name, documents }) => [name, documents.length])).toEqual([["100 held facts", 100]]);
  await expect(counterfact.create({ data: published, limit: 990, single: true })).rejects.toThrow(
    /^editing: expected 256 other facts to hold, got \d+ in .* after the edits; name another file with --held-data/,
  );
});
