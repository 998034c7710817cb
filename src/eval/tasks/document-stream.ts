/**
 * A stream of documents with questions about each, in the published protocol of MAC (https://arxiv.org/abs/2403.04317)
 * and memory bank compression (https://arxiv.org/abs/2601.00756): all documents are learned, then all questions asked.
 * In smaller batches, the first column of R is their retention curve. Questions name the document that answers them.
 */
import { z } from "zod";
import type { Document } from "../../methods/method.ts";
import { askAll, type AskedQuestion, type AskingTask, meanOf, truncatedMatch } from "../questions.ts";
import { type AskedTopic, askingTask } from "./asking.ts";

/** A document and what is asked about it. */
export interface AskedDocument {
  readonly document: Document;
  readonly questions: readonly AskedQuestion[];
}

/** The documents of the published streams. */
export const publishedCount = 1665;

export const streamOptions = {
  batch: z
    .int()
    .positive()
    .optional()
    .describe("documents learned together: a topic, asked about after every batch; all unless given"),
  limit: z.int().positive().optional().describe("questions per topic, at most; all unless given"),
};

export interface DocumentStreamOptions extends z.output<z.ZodObject<typeof streamOptions>> {
  readonly name: string;
  /** Takes so many of the questions. */
  readonly choose: (questions: readonly AskedQuestion[], count: number) => AskedQuestion[];
  /** What is asked, in words. */
  readonly asked: string;
  /** Room for an answer; by default what the longest right one needs. */
  readonly maxTokens?: number;
}

/** The task of these documents, in their order. */
export function documentStream(
  all: readonly AskedDocument[],
  { name, batch = Math.max(1, all.length), limit, choose, asked, maxTokens }: DocumentStreamOptions,
): AskingTask {
  const topics = Array.from({ length: Math.ceil(all.length / batch) }, (_, t): AskedTopic => {
    const own = all.slice(t * batch, (t + 1) * batch);
    const questions = own.flatMap(({ document, questions: some }) =>
      some.map((one) => ({ ...one, query: { ...one.query, document: document.id } })),
    );
    return {
      name: `documents ${t * batch + 1} to ${t * batch + own.length}`,
      documents: own.map(({ document }) => document),
      questions: choose(questions, limit ?? questions.length),
    };
  });
  return askingTask({
    name,
    topics,
    metric: "f1",
    maxTokens,
    protocol:
      `free greedy answers to ${asked}; exactMatch: strict; truncatedMatch: as MAC and MBC count it, the answer cut to ` +
      "the length of the right one",
    async evaluate(method, questions, asking) {
      const { exactMatch, f1, given } = await askAll(method, questions, asking);
      const lenient = meanOf(given.map((answer, i) => truncatedMatch(answer, questions[i].answers)));
      return { f1, exactMatch, truncatedMatch: lenient };
    },
  });
}
