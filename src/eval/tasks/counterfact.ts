/**
 * CounterFact (https://arxiv.org/abs/2202.05262): statements about known subjects edited to a false object, so that the
 * base cannot have known them. Read are JSONL or a JSON array, of flat records (one rephrasing, one neighbour each) or
 * of the original ones (`requested_rewrite`, several of each). How it is scored: edited.ts. Beside the paper's scores,
 * which compare the probabilities of the two objects, stand those of free answers: there the model must say them.
 */
import { z } from "zod";
import type { TextFile } from "../../checkpoint/text.ts";
import { defineTask } from "./definition.ts";
import type { EditedTask } from "./edited.ts";
import { type Edit, type EditingOptions, editingOptions, editingTask, readEdits } from "./editing.ts";
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
    ground_truth: text.optional(),
  })
  .transform(
    (one): Edit => ({
      id: `counterfact-${one.case_id}`,
      prompt: one.prompt,
      target: one.target_new,
      truth: one.ground_truth,
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
      truth: rewrite.target_true.str,
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

/** What must be said beside numbers on flat records. */
const flatNote =
  "paraphrases are the one rephrasing of flat records, mostly CounterFact's generation prompts: no paraphrase score of " +
  "ROME's";

type Given = Pick<EditingOptions, "batch" | "held" | "note">;

export const counterfactTask = (edits: readonly Edit[], options: Given = {}): EditedTask =>
  editingTask({ name: "counterfact", edits, ...options });

export const counterfact = defineTask({
  name: "counterfact",
  summary: "editing: statements with a new object, from a CounterFact file",
  options: editingOptions("CounterFact file, JSONL or JSON"),
  async create(given) {
    const { edits, ...rest } = await readEdits(given, parseCounterfact);
    const flat = edits.every(({ paraphrases }) => paraphrases.length === 1);
    return counterfactTask(edits, { ...rest, note: flat ? flatNote : undefined });
  },
});
