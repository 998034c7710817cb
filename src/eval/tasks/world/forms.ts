/**
 * Forms: the ways in which a relation is stated and asked. A form is a core (of the relation) in a frame (common, or of
 * the topic's own voice). One global split, the same in every world and for every purpose: a third of the forms is held
 * out for testing, and no training or fit may see one. Every core and every frame is trained; the pairs held out are
 * not.
 */
import { commonFrames, questionFrames, type Topic, topicFrames } from "./phrases/fillers.ts";
import type { Phrases } from "./phrases/phrases.ts";

/** Which forms may be used. */
export type Split = "train" | "test";

export interface Form {
  /** Index into the relation's statements or questions. */
  readonly core: number;
  /** Index into the frames of the topic. */
  readonly frame: number;
  readonly split: Split;
}

/** The global split. A Latin pattern: with every three neighbouring frames of a core, one is held out. */
const splitOf = (core: number, frame: number): Split => ((core + frame) % 3 === 2 ? "test" : "train");

function allForms(cores: number, frames: number): Form[] {
  const forms: Form[] = [];
  for (let core = 0; core < cores; core++)
    for (let frame = 0; frame < frames; frame++) forms.push({ core, frame, split: splitOf(core, frame) });
  return forms;
}

/** All ways to state a relation in a topic: at least 96. */
export const statementForms = ({ statements }: Phrases): Form[] => allForms(statements.length, commonFrames.length + 4);

/** All ways to ask for the object: at least 24. */
export const questionForms = ({ questions }: Phrases): Form[] => allForms(questions.length, questionFrames.length);

const capitalised = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
const fill = (core: string, subject: string, object = ""): string =>
  core.replace(/\{([SO])\}/g, (_, slot: string) => (slot === "S" ? subject : object));

/** A sentence that states a fact. */
export function state(phrases: Phrases, topic: Topic, form: Form, subject: string, object: string): string {
  const frames = [...commonFrames, ...topicFrames[topic]];
  const clause = fill(phrases.statements[form.core], subject, object);
  return frames[form.frame].replace("{C}", () => capitalised(clause)).replace("{c}", () => clause);
}

const datedFrames = ["As of {y}, {c}.", "From {y} on, {c}.", "Since {y} it has been true that {c}."];

/** A sentence that states a fact which began to hold in a year. Its forms are split like the others. */
export function stateSince(
  phrases: Phrases,
  year: number,
  { core, frame }: { core: number; frame: number },
  subject: string,
  object: string,
): string {
  const clause = fill(phrases.statements[core], subject, object);
  return datedFrames[frame].replace("{y}", String(year)).replace("{c}", () => clause);
}

export const datedForms = ({ statements }: Phrases): Form[] => allForms(statements.length, datedFrames.length);

/** A question for the object. */
export function ask(phrases: Phrases, form: Form, subject: string): string {
  const clause = fill(phrases.questions[form.core], subject);
  return questionFrames[form.frame].replace("{Q}", () => capitalised(clause)).replace("{q}", () => clause);
}

/** A noun phrase that means the object of a fact: the subject of a question over two relations. */
export const describe = ({ descriptions }: Phrases, index: number, subject: string): string =>
  fill(descriptions[index % descriptions.length], subject);
