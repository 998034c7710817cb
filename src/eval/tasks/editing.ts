/**
 * Editing facts in batches: what CounterFact and zsRE have in common. A topic is a batch of edits, learned together as
 * their statements. Scores of a batch, each the mean over its edits, shares from 0 to 1:
 *   efficacy, paraphrase, portability   the free greedy answer to the edit's prompt, its rephrasings, its consequences;
 *   neighbourhood        prompts beside the edit whose answer is the one the method gave before any edit;
 *   neighbourhoodTruth   the same prompts answered with the ground truth;
 *   ...Tokens            teacher forcing: share of the right answer's tokens that are the first choice; the right
 * answer
 *                        of neighbourhoodTokens is the ground truth.
 * A question's answer must match exactly, the continuation of a statement must begin with the answer (normalised as
 * for SQuAD). The answers before any edit are taken by `prepare`; without them `neighbourhood` is left out
 * rather than guessed.
 */
import { z } from "zod";
import type { Document, Method, Query } from "../../methods/method.ts";
import { answeredQuestion } from "../../methods/prompt.ts";
import { type AskedQuestion, type AskingTask, exactMatch, meanOf, prefixMatch } from "../questions.ts";
import type { EvaluateOptions } from "../task.ts";
import { type AskedTopic, askingTask, commonKinds } from "./asking.ts";
import { dataOption } from "./definition.ts";

export interface Prompt {
  readonly text: string;
  /** Any of them is right. */
  readonly answers: readonly string[];
}

export interface Edit {
  readonly id: string;
  readonly prompt: string;
  /** The new answer. */
  readonly target: string;
  readonly paraphrases: readonly string[];
  /** Prompts that the edit should leave alone, with their true answers. */
  readonly neighbourhood: readonly Prompt[];
  /** Prompts whose answer follows from the edit. */
  readonly portability: readonly Prompt[];
}

export interface EditingTask extends AskingTask {
  /**
   * Takes what this method answers to the neighbourhood prompts. To be called with the method as it was made, before it
   * learns or is restored: a run that goes on asks again, as the same greedy answers come out.
   */
  prepare(method: Method, options?: EvaluateOptions): Promise<void>;
}

export interface EditingOptions {
  readonly name: string;
  readonly edits: readonly Edit[];
  /** Edits per topic. Default 10. */
  readonly batch?: number;
}

/** Options of tasks that read edits from a file. */
export const editingOptions = (file: string) =>
  z.object({
    data: dataOption(file),
    limit: z.int().min(1).default(100).describe("most edits in all, the first of the file"),
    batch: z.int().min(1).default(10).describe("edits learned together"),
  });

interface EditQuestion extends AskedQuestion {
  readonly kind: string;
  /** Number of the edit within its batch. */
  readonly edit: number;
}

/** A prompt with a question mark is a question; any other is a statement to go on from. */
const queryOf = (text: string, topic: string): Query => ({
  text: text.trim(),
  form: text.trim().endsWith("?") ? "question" : "completion",
  topic,
});

/** What is learned of an edit: its question with the answer, or its statement with a full stop. */
function statement({ id, prompt, target }: Edit, topic: string): Document {
  const { text, form } = queryOf(prompt, topic);
  const written = form === "question" ? answeredQuestion(text, target) : `${text} ${target}.\n`;
  return { id, text: written, topic, facts: [{ prompt: { text, form }, target }] };
}

function questionsOf(edit: Edit, number: number, topic: string): EditQuestion[] {
  const ask = (kind: string, prompts: readonly Prompt[]): EditQuestion[] =>
    prompts.map(({ text, answers }, i) => {
      return { id: `${edit.id}/${kind}-${i + 1}`, kind, edit: number, query: queryOf(text, topic), answers };
    });
  const answers = [edit.target];
  return [
    ...ask("efficacy", [{ text: edit.prompt, answers }]),
    ...ask(
      "paraphrase",
      edit.paraphrases.map((text) => ({ text, answers })),
    ),
    ...ask("portability", edit.portability),
    ...ask("neighbourhood", edit.neighbourhood),
  ];
}

const isRight = (given: string, { query, answers }: AskedQuestion): number =>
  (query.form === "question" ? exactMatch : prefixMatch)(given, answers);

/** What is compared of an answer: continuations wander off, so as many words as the longest true answer has. */
function compared(given: string, { query, answers }: AskedQuestion): string {
  if (query.form === "question") return given;
  const words = (text: string): string[] => text.split(/\s+/u).filter((word) => word !== "");
  const most = Math.max(...answers.map((answer) => words(answer).length));
  return words(given).slice(0, most).join(" ");
}

/** Mean over edits of the mean over each edit's prompts. */
function meanPerEdit(values: readonly { edit: number; value: number }[]): number {
  const edits = [...new Set(values.map(({ edit }) => edit))];
  return meanOf(edits.map((one) => meanOf(values.filter(({ edit }) => edit === one).map(({ value }) => value))));
}

/** The stream of these edits, in their order. A prompt that was edited before is left out: it would undo that edit. */
export function editingTask({ name, edits, batch: size = 10 }: EditingOptions): EditingTask {
  const prompts = new Set<string>();
  const distinct = edits.filter(({ prompt }) => !prompts.has(prompt) && prompts.add(prompt));
  const all = Array.from({ length: Math.ceil(distinct.length / size) }, (_, b): AskedTopic<EditQuestion> => {
    const from = b * size;
    const batch = distinct.slice(from, from + size);
    const topic = batch.length === 1 ? `edit ${from + 1}` : `edits ${from + 1}-${from + batch.length}`;
    return {
      name: topic,
      documents: batch.map((edit) => statement(edit, topic)),
      questions: batch.flatMap((edit, i) => questionsOf(edit, i, topic)),
    };
  });
  // Every topic has the same scores: what some batch lacks is not asked at all
  const common = commonKinds(all);
  const topics = all.map((batch) => {
    return { ...batch, questions: batch.questions.filter(({ kind }) => common.includes(kind)) };
  });
  const neighbours = topics.flatMap((batch) => batch.questions.filter(({ kind }) => kind === "neighbourhood"));
  /** Answers before any edit, by question id; each method has its own. */
  const before = new WeakMap<Method, ReadonlyMap<string, string>>();
  const left = edits.length - distinct.length;
  // Words that were not learned, wherever there are such: the learned prompt itself may be known by heart
  const metric = distinct.every(({ paraphrases }) => paraphrases.length > 0) ? "paraphrase" : "efficacy";
  const protocol =
    "efficacy, paraphrase, portability: free greedy answers, exact for questions, how statements go on; " +
    "neighbourhood: same answer (of statements: first words) as before any edit; neighbourhoodTruth: true answer; " +
    "...Tokens: share of right tokens under teacher forcing (neighbourhoodTokens: of the true answer); " +
    (metric === "paraphrase"
      ? "R is of paraphrases"
      : "R is of the learned prompts, as not every edit has paraphrases") +
    (left > 0 ? `; ${left} repeated prompts left out` : "");

  const task = askingTask({
    name,
    topics,
    metric,
    protocol,
    async evaluate(method, asked, { maxTokens, signal }) {
      const said = before.get(method);
      const queries = asked.map(({ query }) => query);
      const given = await method.answer(queries, { maxTokens, signal });
      const rated = await method.rate(
        asked.map(({ query, answers }) => ({ query, answer: answers[0] })),
        { signal },
      );
      const values = asked.flatMap((one, i) => {
        const { id, kind, edit } = one;
        const right = isRight(given[i], one);
        const forced = { score: `${kind}Tokens`, edit, value: rated[i].correct / rated[i].tokens };
        if (kind !== "neighbourhood") return [{ score: kind, edit, value: right }, forced];
        const truth = { score: "neighbourhoodTruth", edit, value: right };
        const earlier = said?.get(id);
        if (earlier === undefined) return [truth, forced];
        const kept = exactMatch(compared(given[i], one), [compared(earlier, one)]);
        return [{ score: kind, edit, value: kept }, truth, forced];
      });
      const names = [...new Set(values.map(({ score }) => score))];
      return Object.fromEntries(names.map((name) => [name, meanPerEdit(values.filter(({ score }) => score === name))]));
    },
  });
  return {
    ...task,
    async prepare(method, { signal } = {}) {
      const given = await method.answer(
        neighbours.map(({ query }) => query),
        { maxTokens: task.maxTokens, signal },
      );
      before.set(method, new Map(neighbours.map(({ id }, i) => [id, given[i]])));
    },
  };
}
