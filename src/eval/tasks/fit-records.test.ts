/** Documents with questions for fits: SQuAD files and JSON lines, and their faults named by line. */
import { describe, expect, it } from "vitest";
import { jsonLines, textFile } from "../../../tests/support/table-method.ts";
import { parseFitDocuments, parseFitSquad } from "./fit-records.ts";

const rose = { question: "When was the rose planted?", answer: "1911" };

describe("parseFitDocuments", () => {
  it("takes each question as a fact of its document", () => {
    const colour = { question: " Which colour has it? ", answer: " yellow" };
    const file = jsonLines(
      { id: "d1", text: "The rose was planted in 1911. ", questions: [rose, colour] },
      { id: "d2", text: "It was old.", questions: [{ question: "Was it old?", answer: "yes" }] },
    );
    expect(parseFitDocuments(file)).toEqual([
      {
        id: "d1",
        text: "The rose was planted in 1911. ",
        facts: [
          { prompt: { text: rose.question }, target: "1911" },
          { prompt: { text: "Which colour has it?" }, target: "yellow" },
        ],
      },
      { id: "d2", text: "It was old.", facts: [{ prompt: { text: "Was it old?" }, target: "yes" }] },
    ]);
  });

  it("names line and field of what is missing, empty, unknown or repeated", () => {
    const one = { id: "d1", text: "Old.", questions: [rose] };
    const faults: [unknown, RegExp][] = [
      [{ ...one, questions: [] }, /data\.jsonl, got line 2, field questions: expected at least one question, got none/],
      [{ ...one, text: "  " }, /line 2, field text: expected text, got only blanks/],
      [{ ...one, questions: [{ question: "Who?" }] }, /line 2, field questions\.0\.answer/],
      [{ ...one, answer: "1911" }, /line 2: Unrecognized key: "answer"/],
      [one, /expected unique ids in data\.jsonl, got "d1" in line 1 and again in line 2/],
    ];
    for (const [fault, message] of faults) expect(() => parseFitDocuments(jsonLines(one, fault))).toThrow(message);
  });
});

describe("parseFitSquad", () => {
  it("takes paragraphs once, of several right answers the shortest, unanswerable ones as unknown", () => {
    const qa = (id: string, ...answers: string[]) => ({
      id,
      question: `What is ${id}?`,
      answers: answers.map((text) => ({ text })),
    });
    const paragraphs = [
      {
        context: "Tea is green.",
        qas: [qa("a1", "very green", "green"), { id: "a2", question: "Why?", is_impossible: true }],
      },
      { context: "Nobody asks about this.", qas: [] },
    ];
    const again = [{ context: "Tea is green.", qas: [qa("a3", "tea")] }];
    const data = [
      { title: "Green_tea", paragraphs },
      { title: "Green_tea", paragraphs: again },
    ];
    expect(parseFitSquad(textFile("squad.json", JSON.stringify({ data })))).toEqual([
      {
        id: "Green tea-1",
        text: "Tea is green.",
        facts: [
          { prompt: { text: "What is a1?" }, target: "green" },
          { prompt: { text: "Why?" }, target: "unknown" },
          { prompt: { text: "What is a3?" }, target: "tea" },
        ],
      },
    ]);
  });
});
