/**
 * zsRE for editing, in the form of KnowEdit (zero-shot relation extraction, https://arxiv.org/abs/1706.04115; KnowEdit,
 * https://arxiv.org/abs/2401.01286): questions with a new answer, rephrased questions, other relations of the subject
 * that should stay, and questions about what follows. JSONL or a JSON array. How it is scored: edited.ts.
 * Differs from KnowEdit, which scores under teacher forcing only: here that is a score of its own (...Tokens).
 */
import { z } from "zod";
import type { TextFile } from "../../checkpoint/text.ts";
import { defineTask } from "./definition.ts";
import type { EditedTask } from "./edited.ts";
import { type Edit, type EditingOptions, editingOptions, editingTask, type Prompt, readEdits } from "./editing.ts";
import { parseRecords } from "./records.ts";

const text = z.string().trim().min(1);
/** One answer, several, or several with spellings of each. */
const answers = z.union([
  text.transform((one) => [one]),
  z.array(z.union([text, z.array(text)])).transform((list) => list.flat()),
]);
/** Prompts by kind: which kind is not told apart. */
const promptsByKind = z
  .record(z.string(), z.array(z.object({ prompt: text, ground_truth: answers })))
  .default({})
  .transform((kinds): Prompt[] =>
    Object.values(kinds)
      .flat()
      .flatMap((one) => (one.ground_truth.length > 0 ? [{ text: one.prompt, answers: one.ground_truth }] : [])),
  );

const record = z.object({
  prompt: text,
  target_new: text,
  rephrase_prompt: text,
  ground_truth: answers.optional(),
  locality: promptsByKind,
  portability: promptsByKind,
});

/** The edits of a file. Records have no id; they are known by their number. */
export function parseZsre(file: TextFile): Edit[] {
  return parseRecords("zsre", file, record).map(({ value }, i) => ({
    id: `zsre-${i + 1}`,
    prompt: value.prompt,
    target: value.target_new,
    truth: value.ground_truth?.[0],
    paraphrases: [value.rephrase_prompt],
    neighbourhood: value.locality,
    portability: value.portability,
  }));
}

export const zsreTask = (edits: readonly Edit[], options: Pick<EditingOptions, "batch" | "held"> = {}): EditedTask =>
  editingTask({ name: "zsre", edits, ...options });

export const zsre = defineTask({
  name: "zsre",
  summary: "editing: questions with a new answer and what follows from it, from a KnowEdit zsRE file",
  options: editingOptions("zsRE file in the form of KnowEdit, JSONL or JSON"),
  async create(given) {
    const { edits, ...rest } = await readEdits(given, parseZsre);
    return zsreTask(edits, rest);
  },
});
