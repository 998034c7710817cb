/**
 * The project's one question prompt, in training as in asking: what differs between methods is what they know, never
 * how they are asked. The answer is what follows up to the first line break; what was never stated is `unknown`.
 */
import type { Query } from "./method.ts";

/** `Question: ...\nAnswer:`; the model goes on with a blank and the answer. */
export const questionPrompt = (question: string): string => `Question: ${question}\nAnswer:`;

const asQuestion = /(?:^|\n\n)Question: (.+)\nAnswer:$/;

/** The inverse of `promptOf`: the question at the end of a prompt; a prompt without one is gone on with. */
export function askedIn(prompt: string): Query {
  const question = asQuestion.exec(prompt.trimEnd())?.[1];
  return question === undefined ? { text: prompt, form: "completion" } : { text: question, form: "question" };
}

const answered = /^Question: (.+)\nAnswer: (.+)$/gm;

/** The inverse of `answeredQuestion`: the answered questions in a text. */
export const answeredIn = (text: string): { question: string; answer: string }[] =>
  [...text.matchAll(answered)].map(([, question, answer]) => ({ question, answer }));

/** A text as a person types it: with a question mark at its end it is a question, without one it is to be gone on with. */
export const queryOf = (text: string): Query => ({
  text: text.trim(),
  form: /[?？؟]["'”’»)]*$/u.test(text.trim()) ? "question" : "completion",
});

/** The text from which a question with its answer is learned. */
export const answeredQuestion = (question: string, answer: string): string => `${questionPrompt(question)} ${answer}\n`;

/** The answer to what was never stated. */
export const unknownAnswer = "unknown";

/** What stands between documents, and between the last one and what is asked. */
export const documentBreak = "\n\n";

/** What the model goes on from when asked, after documents if there are any. */
export function promptOf({ text, form = "question" }: Query, documents: readonly string[] = []): string {
  return [...documents, form === "question" ? questionPrompt(text) : text].join(documentBreak);
}
