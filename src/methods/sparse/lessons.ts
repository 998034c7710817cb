/**
 * What is learned in one go: a fact, or a chunk of a document, in as many wordings as there are. Each wording is a row of
 * a batch, padded alone: side by side in one context, all but the first would be told by those before them
 * (https://arxiv.org/abs/2510.15103, section 4.1).
 */
import type { Tokenizer } from "../../checkpoint/tokenizer.ts";
import { UserError } from "../../errors.ts";
import { type Batch, batchOf, cutRows, joinDocuments } from "../batches.ts";
import type { Document, StatedFact } from "../method.ts";
import { answeredQuestion, promptOf } from "../prompt.ts";

export interface LessonOptions {
  readonly tokenizer: Tokenizer;
  readonly eosId: number;
  /** Most tokens of a row: a longer wording is several, and a text without wordings a lesson for each. */
  readonly contextLength: number;
  /** Most wordings in a batch. */
  readonly batchSize: number;
  /** "answer": what is learned is the answer alone, where a wording has one. */
  readonly loss: "full" | "answer";
}

/** A batch of wordings. */
export interface WordingBatch extends Batch {
  /** [B, T], 0 on padding, whatever the loss counts. */
  readonly present: Float32Array;
  /** B. */
  readonly rows: number;
}

export interface Lesson {
  readonly document: string;
  /** Different ones, of which a long one may be several. */
  readonly wordings: number;
  /** Are all wordings that were given one and the same, said more than once? */
  readonly repeated: boolean;
  /** The batch of the n-th step on it: its next wordings, from the first again after the last. */
  batchAt(step: number): WordingBatch;
}

interface Row {
  readonly ids: Uint16Array | Int32Array;
  /** Targets [from, to) count. */
  readonly from: number;
  readonly to: number;
}

const encode = (tokenizer: Tokenizer, text: string): number[] => tokenizer.encode(text, { addSpecialTokens: false });

/** Where the last answer of a wording lies, in tokens, with what ends it; undefined where it has none. */
function answerIn(tokenizer: Tokenizer, text: string, answers: readonly string[]): [number, number] | undefined {
  const [at, answer] = answers
    .map((one) => [one.trim() === "" ? -1 : text.lastIndexOf(one.trim()), one.trim()] as const)
    .reduce((best, one) => (one[0] > best[0] ? one : best), [-1, ""] as const);
  if (at < 0) return undefined;
  const before = encode(tokenizer, text.slice(0, at).trimEnd()).length;
  return [before, encode(tokenizer, text.slice(0, at + answer.length)).length + 1];
}

/** A text as a row, or several where it is longer than a row may be. */
function rowsOf(text: string, answers: readonly string[], options: LessonOptions): Row[] {
  const { tokenizer, eosId, contextLength, loss } = options;
  const rows = cutRows(joinDocuments([encode(tokenizer, text)], { eosId, bosId: tokenizer.bosId }), contextLength);
  const answer = loss === "answer" && rows.rowCount === 1 ? answerIn(tokenizer, text, answers) : undefined;
  return Array.from({ length: rows.rowCount }, (_, i) => {
    const ids = rows.row(i);
    const last = ids.length - 1;
    // Token i of the text is target i, as the row begins with one more
    return answer ? { ids, from: answer[0], to: Math.min(answer[1], last) } : { ids, from: 0, to: last };
  });
}

function lessonOf(document: string, rows: readonly Row[], repeated: boolean, options: LessonOptions): Lesson {
  const B = Math.min(options.batchSize, rows.length);
  return {
    document,
    wordings: rows.length,
    repeated,
    batchAt(step) {
      const chosen = Array.from({ length: B }, (_, b) => rows[(step * B + b) % rows.length]);
      const batch = batchOf(
        chosen.map(({ ids }) => ids),
        options,
      );
      const T = batch.ids.length / B;
      const mask = new Float32Array(B * T);
      for (const [b, { from, to }] of chosen.entries()) mask.fill(1, b * T + from, b * T + to);
      const targetCount = chosen.reduce((sum, { from, to }) => sum + to - from, 0);
      return { ...batch, rows: B, present: batch.mask, mask, targetCount, read: batch.targetCount };
    },
  };
}

/** A fact as it may be asked for, each time with its answer; a prompt that is no question is gone on with. */
function saidWays({ prompt, target, rephrased = [] }: StatedFact): string[] {
  return [prompt, ...rephrased].map((query) =>
    (query.form ?? "question") === "question" ? answeredQuestion(query.text, target) : `${promptOf(query)} ${target}\n`,
  );
}

const unique = (texts: readonly string[]): string[] => [...new Set(texts.map((text) => text.trim()))];

/** A lesson for each chunk of a text, which is all the wording there is. */
const lessonsOfText = (name: string, text: string, options: LessonOptions): Lesson[] =>
  rowsOf(text, [], options).map((row) => lessonOf(name, [row], false, options));

/** The lesson of a fact, all the ways in which it is asked for; a text that goes on from its beginning, by chunks. */
export function lessonsOfFact(fact: StatedFact, name: string, options: LessonOptions): Lesson[] {
  const said = [...new Set(saidWays(fact))];
  const isText = said.length === 1 && fact.prompt.form === "completion";
  const rows = said.flatMap((text) => rowsOf(text, [fact.target], options));
  if (isText && rows.length > 1) return lessonsOfText(name, said[0], options);
  return [lessonOf(name, rows, said.length < 1 + (fact.rephrased?.length ?? 0), options)];
}

/** The lessons of a document: one of its wordings or of the facts it states, else one for each chunk of its text. */
export function lessonsOf({ id, text, facts = [], restated = [] }: Document, options: LessonOptions): Lesson[] {
  const answers = facts.map(({ target }) => target);
  const given = restated.length > 0 ? restated : facts.length > 0 ? [text, ...facts.flatMap(saidWays)] : [];
  const wordings = unique(given).filter((one) => one !== "");
  if (wordings.length > 0) {
    const rows = wordings.flatMap((one) => rowsOf(`${one}\n`, answers, options));
    return [lessonOf(id, rows, given.length > 1 && wordings.length === 1, options)];
  }
  if (text.trim() === "")
    throw new UserError(`sparse-memory: expected a text in ${id}, got an empty one; leave it out`);
  return lessonsOfText(id, text, options);
}
