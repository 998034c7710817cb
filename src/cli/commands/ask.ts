/** `mneme ask`: the answer with the memory and without it, and what of the memory was read for it. */
import type { Command } from "commander";
import type { AskedDocuments } from "../../runs/document-memory.ts";
import type { Asked } from "../../runs/fact-memory.ts";
import { factText, shown } from "../fact-lines.ts";
import { addMethodMemoryFlags, type MethodMemoryFlags, withMemory } from "../memory-flags.ts";
import type { Output } from "../output.ts";
import { numberFlag, type Session, shownPath } from "../session.ts";

interface Flags extends MethodMemoryFlags {
  readonly maxTokens: number;
}

export function define(command: Command): void {
  command
    .argument("<question>", "with a question mark at its end a question, else a text to go on from")
    .option("--max-tokens <n>", "most new tokens", numberFlag({ min: 1, integer: true }), 24);
  addMethodMemoryFlags(command);
}

function printAnswers({ print, style }: Output, { answer, without }: Asked | AskedDocuments): void {
  print(style("bold", shown(answer)));
  print(`without the memory: ${shown(without)}`);
}

function printFacts({ print }: Output, { inScope, score, threshold, read, nearest }: Asked): void {
  const scored = score === null ? "nothing is written" : `score ${score.toFixed(3)}, threshold ${threshold}`;
  print(`${inScope ? "in scope" : "out of scope"}: ${scored}`);
  for (const fact of read) print(`read: ${fact.id}  ${factText(fact)}`);
  if (!inScope && nearest) print(`nearest: ${nearest.id}  ${factText(nearest)}`);
}

function printDocuments({ print }: Output, { read, documents }: AskedDocuments): void {
  if (documents === 0) print("nothing is in the memory");
  else if (read.length === 0) print("nothing was read: no document in the memory is near enough to the question");
  for (const { id, document, opening, weight } of read) {
    print(`read: ${weight.toFixed(3)}  ${id}  ${shown(document, 40)}: ${shown(opening, 60)}`);
  }
  if (documents > read.length && read.length > 0) print(`${documents} documents are in the memory`);
}

export async function run(command: Command, session: Session): Promise<Record<string, unknown>> {
  const [question] = command.processedArgs as [string];
  const { memory: folder, maxTokens } = command.opts<Flags>();
  const { output, signal } = session;
  return withMemory<Record<string, unknown>>(command, session, {
    async facts(memory, { model }) {
      const asked = await memory.ask(question, { maxTokens, signal });
      printAnswers(output, asked);
      printFacts(output, asked);
      return { command: "ask", memory: folder, model: shownPath(model), ...asked };
    },
    async documents(memory, { model }) {
      const asked = await memory.ask(question, { maxTokens, signal });
      printAnswers(output, asked);
      printDocuments(output, asked);
      return { command: "ask", memory: folder, model: shownPath(model), ...asked };
    },
  });
}
