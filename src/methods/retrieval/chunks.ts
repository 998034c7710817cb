/** Documents in pieces of whole sentences that a prompt can hold; a sentence that is too long is cut between words. */

/** Pieces that can be joined: sentences, or the words of one that exceeds the limit. */
function* pieces(text: string, limit: number, tokensOf: (text: string) => number): Generator<string> {
  const sentences = new Intl.Segmenter("en", { granularity: "sentence" });
  for (const { segment } of sentences.segment(text)) {
    if (tokensOf(segment) <= limit) yield segment;
    else yield* segment.match(/\s*\S+\s*$|\s*\S+/g) ?? [];
  }
}

/**
 * Consecutive parts of `text`, without the blanks around them, of at most `limit` tokens each. Only a single word
 * longer than that stays whole.
 */
export function chunksOf(text: string, limit: number, tokensOf: (text: string) => number): string[] {
  const chunks: string[] = [];
  let current = "";
  const flush = (): void => {
    if (current.trim() !== "") chunks.push(current.trim());
    current = "";
  };
  for (const piece of pieces(text, limit, tokensOf)) {
    if (current !== "" && tokensOf((current + piece).trim()) > limit) flush();
    current += piece;
  }
  flush();
  return chunks;
}
