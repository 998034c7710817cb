/**
 * Edits from files: what CounterFact and zsRE have in common. A topic is a batch of edits, learned together as their
 * statements, or all edits one by one while other facts are held (`single`). How they are scored: edited.ts.
 */
import { z } from "zod";
import { readTextFile, type TextFile } from "../../checkpoint/text.ts";
import { UserError } from "../../errors.ts";
import type { Document } from "../../methods/method.ts";
import { answeredQuestion, queryOf } from "../../methods/prompt.ts";
import { commonKinds } from "./asking.ts";
import { dataOption } from "./definition.ts";
import { editedTask, type EditedTask, type EditedTopic, editProtocol, type EditQuestion } from "./edited.ts";

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
  /** The answer that it takes the place of. */
  readonly truth?: string;
  readonly paraphrases: readonly string[];
  /** Prompts that the edit should leave alone, with their true answers. */
  readonly neighbourhood: readonly Prompt[];
  /** Prompts whose answer follows from the edit. */
  readonly portability: readonly Prompt[];
}

export interface EditingOptions {
  readonly name: string;
  readonly edits: readonly Edit[];
  /** Edits per topic. Default 10. */
  readonly batch?: number;
  /** One edit at a time, while these are held. */
  readonly held?: readonly Edit[];
  /** What is to be known of the records, for the protocol. */
  readonly note?: string;
}

/** Options of tasks that read edits from a file. */
export const editingOptions = (file: string) =>
  z.object({
    data: dataOption(file),
    limit: z.int().min(1).default(100).describe("most edits in all, the first of the file"),
    batch: z.int().min(1).default(10).describe("edits learned together"),
    single: z.boolean().default(false).describe("one edit at a time: written, asked about and taken back"),
    held: z.int().min(1).default(256).describe("other facts that are held meanwhile, where edits are single"),
    heldData: z.string().optional().describe("file of those (default: what follows the edits in their own file)"),
  });

type GivenOptions = z.output<ReturnType<typeof editingOptions>>;

/** The edits that the options ask for. */
export async function readEdits(
  { data, limit, batch, single, held, heldData }: GivenOptions,
  parse: (file: TextFile) => Edit[],
): Promise<Pick<EditingOptions, "edits" | "batch" | "held">> {
  const all = parse(await readTextFile(data));
  const edits = all.slice(0, limit);
  if (!single) return { edits, batch };
  const rest = heldData === undefined ? all.slice(limit) : parse(await readTextFile(heldData));
  const taken = new Set(edits.map(({ prompt }) => prompt));
  const others = rest.filter(({ prompt }) => !taken.has(prompt) && taken.add(prompt)).slice(0, held);
  if (others.length < held) {
    throw new UserError(
      `editing: expected ${held} other facts to hold, got ${others.length} in ${heldData ?? `${data} after the edits`}; ` +
        "name another file with --held-data, or lower --held or --limit",
    );
  }
  return { edits, held: others };
}

/** What is learned of an edit: its question with the answer, or its statement with a full stop. */
function statement({ id, prompt, target }: Edit, topic: string): Document {
  const { text, form } = queryOf(prompt);
  const written = form === "question" ? answeredQuestion(text, target) : `${text} ${target}.\n`;
  return { id, text: written, topic, facts: [{ prompt: { text, form }, target }] };
}

function questionsOf(edit: Edit, number: number, topic: string): EditQuestion[] {
  const ask = (kind: string, prompts: readonly Prompt[], rival?: string): EditQuestion[] =>
    prompts.map(({ text, answers }, i) => {
      const asked = {
        id: `${edit.id}/${kind}-${i + 1}`,
        kind,
        edit: number,
        query: { ...queryOf(text), topic },
        answers,
      };
      return rival === undefined ? asked : { ...asked, rival };
    });
  const answers = [edit.target];
  return [
    ...ask("efficacy", [{ text: edit.prompt, answers }], edit.truth),
    ...ask(
      "paraphrase",
      edit.paraphrases.map((text) => ({ text, answers })),
      edit.truth,
    ),
    ...ask("portability", edit.portability),
    ...ask("neighbourhood", edit.neighbourhood, edit.truth && edit.target),
  ];
}

/** The stream of these edits, in their order. A prompt that was edited before is left out: it would undo that edit. */
export function editingTask({ name, edits, batch: size = 10, held, note }: EditingOptions): EditedTask {
  const prompts = new Set<string>();
  const distinct = edits.filter(({ prompt }) => !prompts.has(prompt) && prompts.add(prompt));
  const batches = (): EditedTopic[] =>
    Array.from({ length: Math.ceil(distinct.length / size) }, (_, b) => {
      const from = b * size;
      const batch = distinct.slice(from, from + size);
      const topic = batch.length === 1 ? `edit ${from + 1}` : `edits ${from + 1}-${from + batch.length}`;
      return {
        name: topic,
        documents: batch.map((edit) => statement(edit, topic)),
        questions: batch.flatMap((edit, i) => questionsOf(edit, i, topic)),
      };
    });
  const oneByOne = (others: readonly Edit[]): EditedTopic => {
    const topic = `${others.length} held facts`;
    return {
      name: topic,
      documents: others.map((edit) => statement(edit, topic)),
      single: distinct.map((edit) => statement(edit, topic)),
      questions: distinct.flatMap((edit, i) => questionsOf(edit, i, topic)),
    };
  };
  const all = held ? [oneByOne(held)] : batches();
  // Every topic has the same scores: what some batch lacks is not asked at all
  const common = commonKinds(all);
  const topics = all.map((batch) => {
    return { ...batch, questions: batch.questions.filter(({ kind }) => common.includes(kind)) };
  });
  const left = edits.length - distinct.length;
  // Words that were not learned, wherever there are such: the learned prompt itself may be known by heart
  const metric = distinct.every(({ paraphrases }) => paraphrases.length > 0) ? "paraphrase" : "efficacy";
  const protocol = [
    editProtocol({ forced: true, held: held?.length }),
    ...(note === undefined ? [] : [note]),
    metric === "paraphrase" ? "R is of paraphrases" : "R is of the learned prompts, as not every edit has paraphrases",
    ...(left > 0 ? [`${left} repeated prompts left out`] : []),
  ].join("; ");
  return editedTask({ name, topics, metric, protocol, forced: true });
}
