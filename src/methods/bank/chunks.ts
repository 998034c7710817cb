/** Documents longer than the encoder, in chunks: whole sentences as long as they fit, pieces of those that do not. */
import type { SlotEncoder } from "./slot-encoder.ts";

export interface Chunk {
  readonly text: string;
  readonly ids: readonly number[];
}

/** Ends of sentences, and line breaks. */
const breaks = /(?<=[.!?。！？]["'”’」)]?)\s+|\n+/u;
/** No piece of a sentence is looked for beyond so many characters a token. */
const CHARACTERS = 8;

/** Chunks of at most `context` tokens, in order, that leave out nothing but blanks; none for a text of blanks. */
export function chunksOf(
  { context, documentIds }: Pick<SlotEncoder, "context" | "documentIds">,
  text: string,
): Chunk[] {
  const chunkOf = (part: string): Chunk => ({ text: part, ids: documentIds(part) });
  const fits = ({ ids }: Chunk): boolean => ids.length <= context;
  const whole = text.trim();
  if (whole === "") return [];
  const all = chunkOf(whole);
  if (fits(all)) return [all];

  /** The longest beginning of a long sentence that fits, by whole words if it has some: never part of a character. */
  const beginning = (characters: readonly string[]): Chunk => {
    const first = (count: number): Chunk => chunkOf(characters.slice(0, count).join(""));
    let [low, high] = [1, Math.min(characters.length - 1, CHARACTERS * context)];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (fits(first(middle))) low = middle;
      else high = middle - 1;
    }
    let count = low;
    while (count > 0 && !/\s/u.test(characters[count])) count--;
    const words = count > 0 ? first(count) : undefined;
    return words && fits(words) && words.text.trim() !== "" ? words : first(low);
  };

  const chunks: Chunk[] = [];
  let open: Chunk | undefined;
  for (const sentence of whole.split(breaks).filter((part) => part.trim() !== "")) {
    const joined = open && chunkOf(`${open.text} ${sentence}`);
    if (joined && fits(joined)) {
      open = joined;
      continue;
    }
    if (open) chunks.push(open);
    open = chunkOf(sentence.trim());
    while (!fits(open)) {
      const characters = [...open.text];
      const piece = beginning(characters);
      chunks.push(piece);
      open = chunkOf(
        characters
          .slice([...piece.text].length)
          .join("")
          .trim(),
      );
    }
  }
  if (open) chunks.push(open);
  return chunks;
}
