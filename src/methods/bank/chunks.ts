/**
 * Documents longer than the encoder, in chunks: whole sentences as long as they fit, pieces of those that do not. What
 * comes later in a document seldom says again whom it is about, so every chunk but the first is read behind the
 * document's opening: its first line or sentence, or the beginning of that.
 */
import type { SlotEncoder } from "./slot-encoder.ts";

export interface Chunk {
  /** Its own part of the document. */
  readonly text: string;
  /** What is read for it: the opening and its part. */
  readonly told: string;
  /** Of `told`. */
  readonly ids: readonly number[];
}

/** Ends of sentences, and line breaks. */
const breaks = /(?<=[.!?。！？]["'”’」)]?)\s+|\n+/u;
/** No piece of a sentence is looked for beyond so many characters a token. */
const CHARACTERS = 8;

/** Part of a chunk's tokens that the opening may have. */
const OPENING = 1 / 4;

/**
 * Chunks of at most `context` tokens, in order, whose own parts leave out nothing but blanks; none for a text of blanks.
 */
export function chunksOf(
  { context, documentIds }: Pick<SlotEncoder, "context" | "documentIds">,
  text: string,
): Chunk[] {
  let opening = "";
  const chunkOf = (part: string): Chunk => {
    const told = `${opening}${part}`;
    return { text: part, told, ids: documentIds(told) };
  };
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

  const sentences = whole.split(breaks).filter((part) => part.trim() !== "");
  const chunks: Chunk[] = [];
  const close = (chunk: Chunk): void => {
    if (chunks.push(chunk) === 1) opening = openingOf(sentences, OPENING * context, documentIds);
  };
  let open: Chunk | undefined;
  for (const sentence of sentences) {
    const joined = open && chunkOf(`${open.text} ${sentence}`);
    if (joined && fits(joined)) {
      open = joined;
      continue;
    }
    if (open) close(open);
    open = chunkOf(sentence.trim());
    while (!fits(open)) {
      const characters = [...open.text];
      const piece = beginning(characters);
      close(piece);
      open = chunkOf(
        characters
          .slice([...piece.text].length)
          .join("")
          .trim(),
      );
    }
  }
  if (open) close(open);
  return chunks;
}

/** Fewer words are a title such as "Dr." and say too little. */
const FEW_WORDS = 3;

/** The beginning of a document that fits, in whole words, with a blank behind it; "" where not even one word does. */
function openingOf(sentences: readonly string[], most: number, idsOf: (text: string) => number[]): string {
  const words: string[] = [];
  for (const sentence of sentences) {
    if (words.length > FEW_WORDS) break;
    words.push(...sentence.trim().split(/\s+/u));
  }
  // A word has a token at least
  for (let count = Math.min(words.length, Math.floor(most)); count > 0; count--) {
    const text = `${words.slice(0, count).join(" ")} `;
    if (idsOf(text).length <= most) return text;
  }
  return "";
}
