/**
 * How many facts of one long text are recalled: a text about a new world is learned at once, and asked for in held-out
 * forms. What the context holds, a prompt can say; what it does not, a memory must (Larimar,
 * https://arxiv.org/abs/2403.11901, section 5.5 and Table 6: FastFacts). Differs: the facts are of a generated world, and
 * methods that write single facts are given them one by one beside the text, unless `stated` is off.
 */
import { z } from "zod";
import type { Task } from "../task.ts";
import { askingTask } from "./asking.ts";
import { defineTask, drawnByWorld } from "./definition.ts";
import { article } from "./world/render.ts";
import { answerRoom, knownTexts, rephrasingsOption, sample, trainVoice, worldOptions } from "./world/stream.ts";
import { writtenFacts } from "./world/written.ts";

const options = z.object({
  world: worldOptions({ world: 500, people: 60 }).world,
  facts: z.int().positive().max(20_000).default(256).describe("facts in the text"),
  rephrasings: rephrasingsOption,
  stated: z.boolean().default(true).describe("give the facts one by one beside the text to methods that write facts"),
  limit: z.int().positive().default(200).describe("questions, at most"),
});

function worldContextTask({ world, facts: count, rephrasings, stated, limit }: z.output<typeof options>): Task {
  const { facts, random } = writtenFacts({ world, count, statements: 0, rephrasings });
  const text = article(
    facts.map(({ fact }) => fact),
    trainVoice(random),
  );
  const document = { id: `world ${world}`, text: `${text}\n` };
  const task = askingTask({
    name: "world-context",
    maxTokens: answerRoom,
    topics: [
      {
        name: `${count} facts`,
        documents: [stated ? { ...document, facts: facts.flatMap((one) => one.document.facts ?? []) } : document],
        questions: sample(facts, limit, random).map(({ heldOut }) => heldOut),
      },
    ],
    protocol:
      `free greedy answers in held-out forms to facts of one text with ${count} of them; methods that write facts get ` +
      (stated ? `them one by one, each with ${rephrasings} other questions` : "the text alone"),
  });
  return { ...task, diagnosticTexts: knownTexts() };
}

export const worldContext = defineTask({
  name: "world-context",
  summary: "facts of one long text, asked in held-out words: what is recalled where the context ends",
  options,
  stream: drawnByWorld,
  create: async (given) => worldContextTask(given),
});
