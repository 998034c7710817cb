/**
 * CounterFact (https://arxiv.org/abs/2202.05262): statements about known subjects edited to a false object, so that the
 * base cannot have known them. Read are JSONL or a JSON array, of flat records (one rephrasing, one neighbour each) or
 * of the original ones (`requested_rewrite`, several of each). How it is scored: editing.ts. Differs from the paper,
 * which compares the probabilities of the two objects: here the model must say them.
 */
import { z } from "zod";
import { readTextFile, type TextFile } from "../../checkpoint/text.ts";
import { defineTask } from "./definition.ts";
import { type Edit, type EditingTask, editingOptions, editingTask } from "./editing.ts";
import { parseRecords, refuseRepeats } from "./records.ts";

const text = z.string().trim().min(1);
const caseId = z.union([z.int(), text]);

const flatRecord = z
  .object({
    case_id: caseId,
    prompt: text,
    target_new: text,
    rephrase_prompt: text,
    locality_prompt: text,
    locality_ground_truth: text,
  })
  .transform(
    (one): Edit => ({
      id: `counterfact-${one.case_id}`,
      prompt: one.prompt,
      target: one.target_new,
      paraphrases: [one.rephrase_prompt],
      neighbourhood: [{ text: one.locality_prompt, answers: [one.locality_ground_truth] }],
      portability: [],
    }),
  );

const originalRecord = z
  .object({
    case_id: caseId,
    requested_rewrite: z.object({
      prompt: text.includes("{}", "expected {} where the subject goes"),
      subject: text,
      target_new: z.object({ str: text }),
      target_true: z.object({ str: text }),
    }),
    paraphrase_prompts: z.array(text),
    neighborhood_prompts: z.array(text),
  })
  .transform(
    ({ case_id: id, requested_rewrite: rewrite, paraphrase_prompts: paraphrases, neighborhood_prompts }): Edit => ({
      id: `counterfact-${id}`,
      // A function, as "$&" in a subject would be read as a pattern
      prompt: rewrite.prompt.replace("{}", () => rewrite.subject),
      target: rewrite.target_new.str,
      paraphrases,
      neighbourhood: neighborhood_prompts.map((one) => ({ text: one, answers: [rewrite.target_true.str] })),
      portability: [],
    }),
  );

/** The edits of a file. */
export function parseCounterfact(file: TextFile): Edit[] {
  // A file is of one form throughout, so that a field that is missing is named by the form that was meant
  const schema: z.ZodType<Edit> = file.text.includes('"requested_rewrite"') ? originalRecord : flatRecord;
  const records = parseRecords("counterfact", file, schema);
  refuseRepeats(
    "counterfact",
    file.path,
    records.map(({ place, value }) => ({ place, id: value.id })),
  );
  return records.map(({ value }) => value);
}

export const counterfactTask = (edits: readonly Edit[], { batch }: { batch?: number } = {}): EditingTask =>
  editingTask({ name: "counterfact", edits, batch });

export const counterfact = defineTask({
  name: "counterfact",
  summary: "editing: statements with a new object, from a CounterFact file",
  options: editingOptions("CounterFact file, JSONL or JSON"),
  create: async ({ data, limit, batch }) =>
    counterfactTask(parseCounterfact(await readTextFile(data)).slice(0, limit), { batch }),
});
