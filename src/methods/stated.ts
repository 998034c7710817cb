/** Facts and questions as token ids: a prompt as it stands before its answer, and the answer with its end. */
import type { Tokenizer } from "../checkpoint/tokenizer.ts";
import { textIds } from "../models/answer.ts";
import type { Document, Query, StatedFact } from "./method.ts";
import { answeredIn, promptOf } from "./prompt.ts";

/** An answer's tokens: a blank, its text, a line break. */
export const answerIds = (tokenizer: Tokenizer, answer: string): number[] =>
  tokenizer.encode(answer === "" ? "\n" : ` ${answer.trim()}\n`, { addSpecialTokens: false });

/** What the model reads for a prompt. */
export const promptIdsOf = (tokenizer: Tokenizer, prompt: Query): number[] => textIds(tokenizer, promptOf(prompt));

/** The facts that a document tells, or the answered questions in its text; none for any other text. */
export function factsOf({ text, facts }: Document): readonly StatedFact[] {
  if (facts) return facts;
  return answeredIn(text).map(({ question, answer }) => ({ prompt: { text: question }, target: answer }));
}
