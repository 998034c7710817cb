/** The stream that the laboratory's measures share: small, of fixed size, with more than 100 questions. */
import { internal } from "../errors.ts";
import type { AskedQuestion, Task } from "../eval/task.ts";
import { taskNamed } from "../eval/tasks/index.ts";

export const labTask = {
  name: "world-topics",
  options: { world: 100, people: 16, topics: 3, tellings: 2, limit: 48, known: 32 },
} as const;

export interface LabTask extends Task {
  readonly questions: readonly AskedQuestion[];
  readonly maxTokens: number;
}

export async function createLabTask(): Promise<LabTask> {
  const task = await taskNamed(labTask.name).create(labTask.options);
  const { questions, maxTokens } = task;
  if (!questions || questions.length < 100 || maxTokens === undefined)
    return internal(`bench lab: ${questions?.length} questions`);
  return { ...task, questions, maxTokens };
}
