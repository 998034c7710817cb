/**
 * SQuAD (v1.1 https://arxiv.org/abs/1606.05250, v2.0 https://arxiv.org/abs/1806.03822) as a stream of articles, closed
 * book: the paragraphs of an article are learned, then its questions are asked without any paragraph in sight.
 * Differs from the papers, which show the paragraph. Unanswerable questions of v2.0 are asked as well; right is
 * "unknown", and they are counted apart.
 */
import { z } from "zod";
import { readTextFile, type TextFile } from "../../checkpoint/text.ts";
import { oneLine } from "../../checkpoint/files.ts";
import { UserError } from "../../errors.ts";
import { unknownAnswer } from "../../methods/prompt.ts";
import { randomStream } from "../../tensor/random.ts";
import { askAll, type AskedQuestion, type AskingTask } from "../questions.ts";
import { type AskedTopic, askingTask } from "./asking.ts";
import { dataOption, defineTask } from "./definition.ts";
import { fieldName, parseWhole, refuseRepeats, sampleInOrder, shareOut, uniqueNames } from "./records.ts";

const text = z.string().trim().min(1);
const question = z
  .object({
    id: text,
    question: text,
    answers: z.array(z.object({ text })).default([]),
    is_impossible: z.boolean().default(false),
  })
  .refine((one) => one.is_impossible || one.answers.length > 0, {
    path: ["answers"],
    message: "expected at least one answer, or is_impossible",
  });
const article = z.object({
  title: text,
  paragraphs: z.array(z.object({ context: text, qas: z.array(question) })).min(1),
});
const fileSchema = z.object({ data: z.array(article).min(1) });

export type Article = z.output<typeof article>;

const options = z.object({
  data: dataOption("SQuAD file, JSON of v1.1 or v2.0"),
  topics: z.int().min(1).default(5).describe("topics of the stream, from the first article on"),
  articles: z.int().min(1).default(1).describe("articles per topic"),
  limit: z
    .int()
    .min(1)
    .default(250)
    .describe("most questions in all, spread over the topics; learned are the paragraphs that they ask about"),
  dataSeed: z.int().min(0).default(0).describe("seed of the choice of questions"),
});

/** Titles as words, each of its own. */
const titlesOf = (articles: readonly Article[]): string[] =>
  uniqueNames(articles.map(({ title }) => title.replaceAll("_", " ")));

/** "article 3 (Normans), paragraph 2, question 1, field answers". */
function placeOf(path: readonly PropertyKey[], value: unknown): string {
  const [data, a, paragraphs, p, qas, q] = path;
  if (data !== "data" || a === undefined) return fieldName(path);
  const title = (value as { data: { title?: unknown }[] }).data[a as number]?.title;
  const parts = [`article ${Number(a) + 1}${typeof title === "string" ? ` (${oneLine(title, 40)})` : ""}`];
  let rest = path.slice(2);
  if (paragraphs === "paragraphs" && p !== undefined) {
    parts.push(`paragraph ${Number(p) + 1}`);
    rest = path.slice(4);
    if (qas === "qas" && q !== undefined) {
      parts.push(`question ${Number(q) + 1}`);
      rest = path.slice(6);
    }
  }
  if (rest.length > 0) parts.push(fieldName(rest));
  return parts.join(", ");
}

/** The articles of a file; faults name article, paragraph, question and field. */
export function parseSquad(file: TextFile): Article[] {
  const { data } = parseWhole("squad", file, fileSchema, placeOf);
  const ids = data.flatMap(({ paragraphs }, a) =>
    paragraphs.flatMap(({ qas }, p) =>
      qas.map(({ id }, q) => ({ id, place: placeOf(["data", a, "paragraphs", p, "qas", q], { data }) })),
    ),
  );
  refuseRepeats("squad", file.path, ids);
  return data;
}

/** Any of them is right. */
const rightAnswers = ({ is_impossible: impossible, answers }: z.output<typeof question>): string[] =>
  impossible ? [unknownAnswer] : [...new Set(answers.map((answer) => answer.text))];

/** A paragraph with the questions about it. */
export interface Paragraph {
  readonly id: string;
  readonly text: string;
  readonly questions: readonly { readonly id: string; readonly text: string; readonly answers: readonly string[] }[];
}

/** The paragraphs that are asked about, in order; of two with the same text, one that has the questions of both. */
export function paragraphsOf(articles: readonly Article[]): Paragraph[] {
  const titles = titlesOf(articles);
  const found = new Map<string, Paragraph>();
  for (const [a, { paragraphs }] of articles.entries())
    for (const [p, { context, qas }] of paragraphs.entries()) {
      if (qas.length === 0) continue;
      const { id, questions: before } = found.get(context) ?? { id: `${titles[a]}-${p + 1}`, questions: [] };
      const own = qas.map((one) => ({ id: one.id, text: one.question, answers: rightAnswers(one) }));
      found.set(context, { id, text: context, questions: [...before, ...own] });
    }
  return [...found.values()];
}

/** Closed-book answering over these articles. */
export function squadTask(
  all: readonly Article[],
  { topics, articles, limit, dataSeed }: Omit<z.output<typeof options>, "data">,
): AskingTask {
  const asked = all.filter(({ paragraphs }) => paragraphs.some(({ qas }) => qas.length > 0));
  if (asked.length === 0)
    throw new UserError("squad: expected questions, got none in any article; name another SQuAD file");
  const titles = titlesOf(asked);
  const groups = Array.from({ length: Math.min(topics, Math.ceil(asked.length / articles)) }, (_, g) => {
    const from = g * articles;
    const name = articles === 1 ? titles[from] : `${titles[from]} +${Math.min(articles, asked.length - from) - 1}`;
    return {
      name,
      paragraphs: asked.slice(from, from + articles).flatMap(({ paragraphs }, a) =>
        paragraphs.map(({ context, qas }, p) => {
          return { document: { id: `${titles[from + a]}-${p + 1}`, text: context, topic: name }, qas };
        }),
      ),
    };
  });
  const shares = shareOut(
    limit,
    groups.map(({ paragraphs }) => paragraphs.reduce((sum, { qas }) => sum + qas.length, 0)),
  );
  const chosen = groups.flatMap(({ name, paragraphs }, g): AskedTopic[] => {
    const candidates = paragraphs.flatMap(({ document, qas }) => qas.map((one) => ({ document, one })));
    const drawn = sampleInOrder(candidates, shares[g], randomStream(dataSeed, "squad", name));
    const questions = drawn.map(({ document, one }): AskedQuestion => {
      const { id, is_impossible: impossible } = one;
      const right = rightAnswers(one);
      const query = { text: one.question, topic: name, document: document.id };
      return { id, query, answers: right, kind: impossible ? "unknown" : "known" };
    });
    const documents = [...new Set(drawn.map(({ document }) => document))];
    return questions.length > 0 ? [{ name, documents, questions }] : [];
  });
  // Every topic has the same scores
  const countsUnknown = chosen.every(({ questions }) => questions.some(({ kind }) => kind === "unknown"));
  return askingTask({
    name: "squad",
    topics: chosen,
    protocol:
      "closed book: paragraphs learned, questions asked without them; exactMatch and f1 of free greedy answers over " +
      "all questions after SQuAD normalisation; right for unanswerable ones is 'unknown' (their share alone: unknown)",
    async evaluate(method, questions, { signal, maxTokens }) {
      const { exactMatch, f1, byKind } = await askAll(method, questions, { signal, maxTokens });
      return { exactMatch, f1, ...(countsUnknown ? { unknown: byKind.unknown.exactMatch } : {}) };
    },
  });
}

export const squad = defineTask({
  name: "squad",
  summary: "closed-book answering over a stream of articles, from a SQuAD file",
  options,
  stream: { option: "dataSeed" },
  create: async ({ data, ...rest }) => squadTask(parseSquad(await readTextFile(data)), rest),
});
