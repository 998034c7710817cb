/**
 * A user's own documents and questions, as JSON lines in the order of learning:
 *   {"type":"document","id":"d1","topic":"garden","text":"The rose was planted in 1911.","time":1911}
 *   {"type":"question","id":"q1","topic":"garden","question":"When was the rose planted?","answers":["1911","in 1911"]}
 * Topics are learned in the order in which they first appear; each needs a document and a question. `time` is optional
 * (any increasing number); all other fields are needed, and others than these are refused. Ids are unique per type.
 */
import { z } from "zod";
import { readTextFile, type TextFile } from "../../checkpoint/text.ts";
import { UserError } from "../../errors.ts";
import type { AskingTask } from "../questions.ts";
import { type AskedTopic, askingTask } from "./asking.ts";
import { dataOption, defineTask } from "./definition.ts";
import { parseRecords, refuseRepeats, shareOut } from "./records.ts";

const text = z.string().trim().min(1);
const line = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("document"),
    id: text,
    topic: text,
    // As it is: blanks at its ends belong to it
    text: z.string().regex(/\S/, "expected text, got only blanks"),
    time: z.number().optional(),
  }),
  z.strictObject({
    type: z.literal("question"),
    id: text,
    topic: text,
    question: text,
    answers: z.array(text).min(1, "expected at least one answer, got none"),
  }),
]);

const options = z.object({
  data: dataOption("JSONL file of documents and questions"),
  limit: z
    .int()
    .min(1)
    .optional()
    .describe("most questions in all, spread over the topics, the first of each; all unless given"),
});

/** The topics of a file. */
export function parseDocuments(file: TextFile): AskedTopic[] {
  const records = parseRecords("documents", file, line);
  for (const type of ["document", "question"] as const) {
    const ids = records.flatMap(({ place, value }) => (value.type === type ? [{ place, id: value.id }] : []));
    refuseRepeats("documents", file.path, ids);
  }
  const names = [...new Set(records.map(({ value }) => value.topic))];
  return names.map((name) => {
    const own = records.filter(({ value }) => value.topic === name);
    const documents = own.flatMap(({ value }) => {
      if (value.type !== "document") return [];
      const { id, topic, text: body, time } = value;
      return [{ id, text: body, topic, ...(time === undefined ? {} : { time }) }];
    });
    const questions = own.flatMap(({ value }) => {
      if (value.type !== "question") return [];
      return [{ id: value.id, query: { text: value.question, topic: name }, answers: value.answers }];
    });
    for (const [kind, list] of [
      ["document", documents],
      ["question", questions],
    ] as const) {
      if (list.length > 0) continue;
      throw new UserError(
        `documents: expected a document and a question for each topic in ${file.path}, got no ${kind} for topic ` +
          `${JSON.stringify(name)} (${own[0].place}); add one`,
      );
    }
    return { name, documents, questions };
  });
}

/** The stream of these topics. */
export function documentsTask(
  topics: readonly AskedTopic[],
  { limit = Infinity }: { limit?: number } = {},
): AskingTask {
  const shares = shareOut(
    limit,
    topics.map(({ questions }) => questions.length),
  );
  const asked = topics.map((topic, i) => ({ ...topic, questions: topic.questions.slice(0, shares[i]) }));
  return askingTask({
    name: "documents",
    topics: asked.filter(({ questions }) => questions.length > 0),
    protocol: "exactMatch and f1 of free greedy answers after SQuAD normalisation; questions come without documents",
  });
}

export const documents = defineTask({
  name: "documents",
  summary: "your own documents and questions, from a JSONL file",
  options,
  create: async ({ data, limit }) => documentsTask(parseDocuments(await readTextFile(data)), { limit }),
});
