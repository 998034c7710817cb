/** Facts as Larimar writes them: answers that the base can say, and sentences where a document tells no facts. */
import { oneLine } from "../../checkpoint/files.ts";
import type { Tokenizer } from "../../checkpoint/tokenizer.ts";
import { UserError } from "../../errors.ts";
import type { Document, StatedFact } from "../method.ts";
import { answerIds } from "../stated.ts";

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

/** The sentences of a text that tells no facts, each a fact whose answer is not marked. */
export const sentencesAsFacts = ({ text }: Document): StatedFact[] =>
  text
    .split(/(?<=[.!?]["'’”)]?)\s+|\n+/u)
    .map((sentence) => sentence.trim())
    .filter((sentence) => sentence !== "")
    .map((sentence) => ({ prompt: { text: sentence, form: "completion" }, target: "" }));
