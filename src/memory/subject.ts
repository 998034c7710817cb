/**
 * When two prompts are the same: a prompt without its accidents, which are letter case, spaces, marks at the end.
 * Facts of one subject contradict each other; the later one holds.
 */
export const subjectOf = (prompt: string): string =>
  prompt
    .normalize("NFC")
    .toLowerCase()
    .replace(/\s+/gu, " ")
    .replace(/[\s.?!:;,…。？！：；，、]+$/u, "")
    .trim();
