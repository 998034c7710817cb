/** Documents longer than the encoder, in chunks: whole sentences as long as they fit, pieces of those that do not. */
import type { Tokenizer } from "../../checkpoint/tokenizer.ts";

export interface Chunk {
  readonly text: string;
  readonly ids: readonly number[];
}

/** Ends of sentences, and line breaks. */
const breaks = /(?<=[.!?。！？]["'”’」)]?)\s+|\n+/u;

/** Chunks of at most `context` tokens, in order, that leave out nothing but blanks; none for a text of blanks. */
export function chunksOf(tokenizer: Tokenizer, text: string, context: number): Chunk[] {
  const encode = (part: string): number[] => tokenizer.encode(part, { addSpecialTokens: false });
  const whole = text.trim();
  if (whole === "") return [];
  const all = encode(whole);
  if (all.length <= context) return [{ text: whole, ids: all }];
  const chunks: Chunk[] = [];
  let open: Chunk | undefined;
  const close = (): void => {
    if (open) chunks.push(open);
    open = undefined;
  };
  for (const sentence of whole.split(breaks).filter((part) => part.trim() !== "")) {
    const joined: string = open ? `${open.text} ${sentence}` : sentence;
    const ids = encode(joined);
    if (ids.length <= context) {
      open = { text: joined, ids };
      continue;
    }
    close();
    const own = encode(sentence);
    for (let start = 0; start < own.length; start += context) {
      const piece = own.slice(start, start + context);
      const chunk = { text: own.length <= context ? sentence : tokenizer.decode(piece), ids: piece };
      if (start + context < own.length) chunks.push(chunk);
      else open = chunk;
    }
  }
  close();
  return chunks;
}
