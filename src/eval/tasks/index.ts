/** The catalogue of tasks. Adding one: a file with its definition, a line here, a test. */
import { UserError } from "../../errors.ts";
import { didYouMean } from "../../models/nearest.ts";
import { classify } from "./classify.ts";
import { counterfact } from "./counterfact.ts";
import type { TaskDefinition } from "./definition.ts";
import { documents } from "./documents.ts";
import { memoryText } from "./memory-text.ts";
import { squad } from "./squad.ts";
import { squadDocuments } from "./squad-documents.ts";
import { text } from "./text.ts";
import { tokens } from "./tokens.ts";
import { worldBase } from "./world-base.ts";
import { worldContext } from "./world-context.ts";
import { worldDocuments } from "./world-documents.ts";
import { worldDrift } from "./world-drift.ts";
import { worldEdits } from "./world-edits.ts";
import { worldFacts } from "./world-facts.ts";
import { worldForgetting } from "./world-forgetting.ts";
import { worldSequence } from "./world-sequence.ts";
import { worldTopics } from "./world-topics.ts";
import { zsre } from "./zsre.ts";

export const tasks: Readonly<Record<string, TaskDefinition>> = {
  text,
  tokens,
  classify,
  squad,
  "squad-documents": squadDocuments,
  counterfact,
  zsre,
  documents,
  "world-topics": worldTopics,
  "world-documents": worldDocuments,
  "world-drift": worldDrift,
  "world-edits": worldEdits,
  "world-sequence": worldSequence,
  "world-facts": worldFacts,
  "world-forgetting": worldForgetting,
  "world-context": worldContext,
  "world-base": worldBase,
  "memory-text": memoryText,
};

export function taskNamed(name: string): TaskDefinition {
  if (Object.hasOwn(tasks, name)) return tasks[name];
  const known = Object.keys(tasks);
  throw new UserError(
    `task: expected one of ${known.join(", ")}, got ${JSON.stringify(name)}${didYouMean(name, known)}`,
  );
}
