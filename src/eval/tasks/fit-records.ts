/**
 * Documents with questions about them, from files, for fits that practise on whole documents: each question is a fact of
 * its document. SQuAD files, and a user's JSON lines:
 *   {"id":"d1","text":"The rose was planted in 1911.","questions":[{"question":"When was it planted?","answer":"1911"}]}
 * Ids are unique; a document needs a question. Other fields are refused.
 */
import { z } from "zod";
import type { TextFile } from "../../checkpoint/text.ts";
import type { Document } from "../../methods/method.ts";
import { parseRecords, refuseRepeats } from "./records.ts";
import { paragraphsOf, parseSquad } from "./squad.ts";

const text = z.string().trim().min(1);
const line = z.strictObject({
  id: text,
  // As it is: blanks at its ends belong to it
  text: z.string().regex(/\S/, "expected text, got only blanks"),
  questions: z
    .array(z.strictObject({ question: text, answer: text }))
    .min(1, "expected at least one question, got none"),
});

/** The documents of a JSONL file. */
export function parseFitDocuments(file: TextFile): Document[] {
  const records = parseRecords("fit", file, line);
  refuseRepeats(
    "fit",
    file.path,
    records.map(({ place, value }) => ({ place, id: value.id })),
  );
  return records.map(({ value: { id, text: body, questions } }) => {
    const facts = questions.map(({ question, answer }) => ({ prompt: { text: question }, target: answer }));
    return { id, text: body, facts };
  });
}

/** The paragraphs of a SQuAD file; of several right answers the shortest, as MAC takes it. */
export function parseFitSquad(file: TextFile): Document[] {
  return paragraphsOf(parseSquad(file)).map(({ id, text: body, questions }) => {
    const facts = questions.map((one) => {
      const target = one.answers.reduce((shortest, answer) => (answer.length < shortest.length ? answer : shortest));
      return { prompt: { text: one.text }, target };
    });
    return { id, text: body, facts };
  });
}
