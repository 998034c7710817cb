/** What tasks of documents and questions have in common: topics of both, judged by exact match and F1 unless told. */
import { internal } from "../../errors.ts";
import type { Document, Method } from "../../methods/method.ts";
import { answerTokens, askAll, type AskedQuestion, type AskingTask, probeTexts } from "../questions.ts";
import type { EvaluateOptions, NamedScores } from "../task.ts";
import { fingerprintOf } from "./records.ts";

export interface AskedTopic<Q extends AskedQuestion = AskedQuestion> {
  readonly name: string;
  readonly documents: readonly Document[];
  /** At least one. */
  readonly questions: readonly Q[];
}

export interface AskingOptions<Q extends AskedQuestion = AskedQuestion> {
  readonly name: string;
  readonly topics: readonly AskedTopic<Q>[];
  readonly protocol: string;
  /** Name of the score that fills R. Default exactMatch. */
  readonly metric?: string;
  /** Room for an answer. Default: what the longest right one needs at two bytes a token. */
  readonly maxTokens?: number;
  /** Judges one topic; by default exact match and F1 of greedy answers. */
  readonly evaluate?: (
    method: Method,
    questions: readonly Q[],
    options: EvaluateOptions & { maxTokens: number },
  ) => Promise<NamedScores>;
}

async function exactAndF1(
  method: Method,
  questions: readonly AskedQuestion[],
  options: EvaluateOptions & { maxTokens: number },
): Promise<NamedScores> {
  const { exactMatch, f1 } = await askAll(method, questions, options);
  return { exactMatch, f1 };
}

/** Kinds of questions that every topic has: only they can be scored, as a score is of all topics or of none. */
export function commonKinds(topics: readonly { readonly questions: readonly AskedQuestion[] }[]): string[] {
  const kinds = new Set(topics.flatMap(({ questions }) => questions.map(({ kind }) => kind)));
  return [...kinds].filter(
    (kind): kind is string =>
      kind !== undefined && topics.every(({ questions }) => questions.some((one) => one.kind === kind)),
  );
}

/** The task of such topics, in their order; its unit is a share, higher is better. */
export function askingTask<Q extends AskedQuestion>({
  name,
  topics,
  protocol,
  metric = "exactMatch",
  maxTokens = answerTokens(topics.flatMap(({ questions }) => questions)),
  evaluate = exactAndF1,
}: AskingOptions<Q>): AskingTask {
  const questions = topics.flatMap((topic) => topic.questions);
  return {
    name,
    topics: topics.map((topic) => ({ name: topic.name, documents: topic.documents })),
    direction: "higher",
    unit: `share (${metric})`,
    // The facts of a document, and which one answers, say what texts and questions say: earlier results stay comparable
    fingerprint: fingerprintOf(
      name,
      protocol,
      metric,
      topics.map((topic) => ({
        ...topic,
        // JSON leaves out what is undefined
        documents: topic.documents.map((document) => ({ ...document, facts: undefined })),
        questions: topic.questions.map((one) => ({ ...one, query: { ...one.query, document: undefined } })),
      })),
    ),
    metric,
    protocol,
    questions,
    maxTokens,
    diagnosticTexts: probeTexts(questions),
    async evaluate(method, topicIndex, { signal } = {}) {
      const topic = topics[topicIndex] ?? internal(`${name}: no topic ${topicIndex} among ${topics.length}`);
      return evaluate(method, topic.questions, { signal, maxTokens });
    },
  };
}
