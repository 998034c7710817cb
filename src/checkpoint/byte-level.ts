/**
 * What GPT-2's byte-level tokenizers agree on: how text is cut into words before merging, and how each byte is shown
 * as one printable character, so that any text is a sequence of known symbols.
 */

/** GPT-2's word pattern: contractions, letters, numbers, other signs (each with a leading space), white space. */
export const wordPattern = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** Character of each byte: printable Latin-1 stays itself, the other 68 bytes become U+0100 and up in order. */
export const byteCharacters: readonly string[] = (() => {
  const printable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++));
})();
