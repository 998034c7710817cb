/**
 * The published protocol of memory bank compression (document-stream.ts) on SQuAD (https://arxiv.org/abs/1606.05250):
 * the first paragraphs of a file, each once, then the questions about them.
 * Differs: an entry per paragraph, not per question; answers of 12 beams are greedy here.
 */
import { z } from "zod";
import { readTextFile } from "../../checkpoint/text.ts";
import { UserError } from "../../errors.ts";
import { randomStream } from "../../tensor/random.ts";
import type { AskingTask } from "../questions.ts";
import { dataOption, defineTask } from "./definition.ts";
import { documentStream, publishedCount, streamOptions } from "./document-stream.ts";
import { sampleInOrder } from "./records.ts";
import { type Article, paragraphsOf, parseSquad } from "./squad.ts";

const options = z.object({
  data: dataOption("SQuAD file, JSON of v1.1 or v2.0"),
  documents: z
    .int()
    .positive()
    .default(publishedCount)
    .describe("paragraphs, the first of the file; all if it has fewer"),
  ...streamOptions,
  dataSeed: z.int().min(0).default(0).describe("seed of the choice of questions"),
});

export function squadDocumentsTask(
  articles: readonly Article[],
  { documents, dataSeed, ...given }: Omit<z.output<typeof options>, "data">,
): AskingTask {
  const paragraphs = paragraphsOf(articles).slice(0, documents);
  if (paragraphs.length === 0)
    throw new UserError("squad-documents: expected questions, got none in any article; name another SQuAD file");
  const random = randomStream(dataSeed, "squad-documents");
  const asked = paragraphs.map(({ id, text, questions }) => ({
    document: { id, text },
    questions: questions.map((one) => ({ id: one.id, query: { text: one.text }, answers: one.answers })),
  }));
  return documentStream(asked, {
    ...given,
    name: "squad-documents",
    choose: (questions, count) => sampleInOrder(questions, count, random),
    asked: "the questions of SQuAD, without the paragraph (right for unanswerable ones is 'unknown')",
  });
}

export const squadDocuments = defineTask({
  name: "squad-documents",
  summary: "a stream of paragraphs from a SQuAD file, all learned, then all asked about",
  options,
  stream: { option: "dataSeed" },
  create: async ({ data, ...rest }) => squadDocumentsTask(parseSquad(await readTextFile(data)), rest),
});
