/**
 * Questions with known answers: asking a method all of them at once, and judging what it said.
 * Exact match and F1 follow the SQuAD evaluation (https://arxiv.org/abs/1606.05250, section 5): lower case, without
 * punctuation and English articles, single blanks. Differs: all Unicode punctuation goes, not only that of ASCII, and
 * an answer of which nothing is left ("The", "?") is compared as it was written.
 */
import { oneLine } from "../checkpoint/files.ts";
import { byteLength } from "../checkpoint/text.ts";
import type { Tokenizer } from "../checkpoint/tokenizer.ts";
import { internal, UserError } from "../errors.ts";
import type { AnswerOptions, Method } from "../methods/method.ts";
import { promptOf } from "../methods/prompt.ts";
import { mean } from "./metrics.ts";
import type { AskedQuestion, Task } from "./task.ts";

export type { AskedQuestion };

/** A task whose questions can be looked at before anything is learned. */
export interface AskingTask extends Task {
  readonly questions: readonly AskedQuestion[];
  /** Room for an answer, as the task asks for it. */
  readonly maxTokens: number;
}

/** Means over questions, shares from 0 to 1. */
interface AnswerScores {
  readonly exactMatch: number;
  readonly f1: number;
  readonly count: number;
}

export interface AskedScores extends AnswerScores {
  readonly byKind: Readonly<Record<string, AnswerScores>>;
  /** What was answered, in the order asked. */
  readonly given: readonly string[];
}

/** An answer as it is compared. */
export function normaliseAnswer(text: string): string {
  const plain = text.normalize("NFC").toLowerCase();
  const bare = plain
    .replace(/[\p{P}$+<=>^`|~]/gu, "")
    .replace(/(?<![\p{L}\p{N}])(?:a|an|the)(?![\p{L}\p{N}])/gu, " ")
    .replace(/\s+/gu, " ")
    .trim();
  return bare === "" ? plain.trim() : bare;
}

const best = (answers: readonly string[], score: (answer: string) => number): number =>
  answers.length === 0 ? internal("questions: no answers to compare with") : Math.max(...answers.map(score));

/** 1 where the given answer is one of the right ones after normalisation, else 0. */
export function exactMatch(given: string, answers: readonly string[]): number {
  const said = normaliseAnswer(given);
  return best(answers, (answer) => (said === normaliseAnswer(answer) ? 1 : 0));
}

/** 1 where the given text begins with one of the right answers, whole words, after normalisation; else 0. */
export function prefixMatch(given: string, answers: readonly string[]): number {
  const said = `${normaliseAnswer(given)} `;
  return best(answers, (answer) => (said.startsWith(`${normaliseAnswer(answer)} `) ? 1 : 0));
}

/**
 * 1 where the given text, cut to the length of one of the right answers, is that answer after normalisation; else 0.
 * The exact match that MAC and MBC report (https://arxiv.org/abs/2403.04317, evaluation code): more lenient than
 * `exactMatch`, as whatever follows the answer is cut off, within a word as well.
 */
export function truncatedMatch(given: string, answers: readonly string[]): number {
  const said = normaliseAnswer(given);
  return best(answers, (answer) => (said.startsWith(normaliseAnswer(answer)) ? 1 : 0));
}

/** Harmonic mean of precision and recall over the words of the nearest right answer, 0 to 1. */
export function f1(given: string, answers: readonly string[]): number {
  const words = (text: string): string[] => normaliseAnswer(text).split(" ");
  const said = words(given);
  return best(answers, (answer) => {
    const right = words(answer);
    const left = new Map<string, number>();
    for (const word of right) left.set(word, (left.get(word) ?? 0) + 1);
    let common = 0;
    for (const word of said) {
      const count = left.get(word) ?? 0;
      if (count > 0) common++;
      left.set(word, count - 1);
    }
    return (2 * common) / (said.length + right.length);
  });
}

/** The mean of scores, of which there must be some. */
export const meanOf = (values: readonly number[]): number => mean(values) ?? internal("questions: mean of nothing");

/** Asks everything in one batch, greedily, and judges it. */
export async function askAll(
  method: Method,
  questions: readonly AskedQuestion[],
  options: AnswerOptions = {},
): Promise<AskedScores> {
  const { maxTokens = answerTokens(questions), ...rest } = options;
  const queries = questions.map(({ query }) => query);
  const given = await method.answer(queries, { maxTokens, ...rest });
  const judged = questions.map(({ kind, answers }, i) => {
    return { kind, exactMatch: exactMatch(given[i], answers), f1: f1(given[i], answers) };
  });
  const scores = (some: typeof judged): AnswerScores => ({
    exactMatch: meanOf(some.map((one) => one.exactMatch)),
    f1: meanOf(some.map((one) => one.f1)),
    count: some.length,
  });
  const kinds = [...new Set(judged.flatMap(({ kind }) => (kind === undefined ? [] : [kind])))];
  const byKind = Object.fromEntries(kinds.map((kind) => [kind, scores(judged.filter((one) => one.kind === kind))]));
  return { ...scores(judged), byKind, given };
}

/** Teacher forcing: mean share of the tokens of each first answer that are the model's first choice. */
export async function tokenAccuracy(
  method: Method,
  questions: readonly AskedQuestion[],
  options: AnswerOptions = {},
): Promise<number> {
  const pairs = questions.map(({ query, answers }) => ({ query, answer: answers[0] }));
  const rated = await method.rate(pairs, options);
  return meanOf(rated.map(({ correct, tokens }) => correct / tokens));
}

/** Tokens that the longest right answer needs, at two bytes or more a token: 8 to 64. */
export function answerTokens(questions: readonly Pick<AskedQuestion, "answers">[]): number {
  const longest = questions.reduce((most, { answers }) => Math.max(most, ...answers.map(byteLength)), 0);
  return Math.min(64, Math.max(8, Math.ceil(longest / 2)));
}

/** Refuses questions that a model of `context` tokens cannot hold with their answer. For use before learning. */
export function checkFits(
  tokenizer: Pick<Tokenizer, "encode" | "bosId">,
  context: number,
  questions: readonly AskedQuestion[],
  { maxTokens = answerTokens(questions) }: { maxTokens?: number } = {},
): void {
  const start = tokenizer.bosId === undefined ? 0 : 1;
  for (const { id, query, answers } of questions) {
    const count = (text: string): number => tokenizer.encode(text, { addSpecialTokens: false }).length;
    const asked = start + count(promptOf(query));
    const room = Math.max(maxTokens, ...answers.map((answer) => count(` ${answer}`)));
    if (asked + room <= context) continue;
    throw new UserError(
      `checkFits: expected questions that fit into the model's context of ${context} tokens, got ${asked} tokens and ` +
        `${room} for the answer in question ${oneLine(id, 60)} (${oneLine(query.text, 60)}); ` +
        "leave it out or use a model with a longer context",
    );
  }
}

/** Up to 16 prompts from all over the questions, for the diagnostics; their last 120 bytes are at most 120 tokens. */
export function probeTexts(questions: readonly AskedQuestion[]): string[] {
  const count = Math.min(16, questions.length);
  const some = Array.from({ length: count }, (_, i) => questions[Math.floor((i * questions.length) / count)]);
  return some.map(({ query }) => {
    const characters = [...promptOf(query)];
    let from = characters.length;
    let room = 120;
    while (from > 0 && byteLength(characters[from - 1]) <= room) room -= byteLength(characters[--from]);
    return characters.slice(from).join("");
  });
}
