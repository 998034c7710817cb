/**
 * Facts as Larimar reads and writes them: a prompt as it stands before its answer, and the answer with its end. A
 * document tells its facts, or they are the answered questions in its text.
 */
import { oneLine } from "../../checkpoint/files.ts";
import type { Tokenizer } from "../../checkpoint/tokenizer.ts";
import { UserError } from "../../errors.ts";
import { textIds } from "../../models/answer.ts";
import type { Document, Query, StatedFact } from "../method.ts";
import { answeredIn, promptOf } from "../prompt.ts";

/** An answer's tokens: a blank, its text, a line break. */
export const answerIds = (tokenizer: Tokenizer, answer: string): number[] =>
  tokenizer.encode(answer === "" ? "\n" : ` ${answer.trim()}\n`, { addSpecialTokens: false });

/** What the model reads for a prompt. */
export const promptIdsOf = (tokenizer: Tokenizer, prompt: Query): number[] => textIds(tokenizer, promptOf(prompt));

/** Refuses an answer that the base can not say: of several lines, or of characters that its tokenizer does not have. */
export function requireSayable(tokenizer: Tokenizer, target: string, name: string): void {
  const refuse = (got: string): never => {
    throw new UserError(
      `larimar: expected an answer that the base can say, got ${JSON.stringify(oneLine(target, 60))}${got} in ${name}; ` +
        "say it otherwise",
    );
  };
  const text = target.normalize("NFC").trim();
  if (/[\n\r]/.test(text)) refuse(" of several lines");
  const read = tokenizer.decode(answerIds(tokenizer, text), { skipSpecialTokens: true }).normalize("NFC").trim();
  if (read !== text) refuse(`, which its tokenizer reads back as ${JSON.stringify(oneLine(read, 60))},`);
}

/** The facts that a document tells, or the answered questions in its text; none for any other text. */
export function factsOf({ text, facts }: Document): readonly StatedFact[] {
  if (facts) return facts;
  return answeredIn(text).map(({ question, answer }) => ({ prompt: { text: question }, target: answer }));
}

/** The sentences of a text that tells no facts, each a fact whose answer is not marked. */
export const sentencesAsFacts = ({ text }: Document): StatedFact[] =>
  text
    .split(/(?<=[.!?]["'’”)]?)\s+|\n+/u)
    .map((sentence) => sentence.trim())
    .filter((sentence) => sentence !== "")
    .map((sentence) => ({ prompt: { text: sentence, form: "completion" }, target: "" }));
