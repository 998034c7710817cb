/** `mneme ask`: the answer with the memory and without it, and what of the memory was read for it. */
import type { Command } from "commander";
import { factText } from "../fact-lines.ts";
import { addFactFlags, type FactFlags, withFactMemory } from "../memory-flags.ts";
import { numberFlag, type Session } from "../session.ts";

interface Flags extends FactFlags {
  readonly maxTokens: number;
}

export function define(command: Command): void {
  command
    .argument("<question>", "with a question mark at its end a question, else a text to go on from")
    .option("--max-tokens <n>", "most new tokens", numberFlag({ min: 1, integer: true }), 24);
  addFactFlags(command);
}

export async function run(command: Command, session: Session): Promise<Record<string, unknown>> {
  const [question] = command.processedArgs as [string];
  const { memory: folder, model, maxTokens } = command.opts<Flags>();
  const { output, signal } = session;
  const { print, style } = output;
  const asked = await withFactMemory(command, session, (memory) => memory.ask(question, { maxTokens, signal }));
  const { answer, without, inScope, score, threshold, read, nearest } = asked;
  print(style("bold", answer));
  print(`without the memory: ${without}`);
  const scored = score === null ? "nothing is written" : `score ${score.toFixed(3)}, threshold ${threshold}`;
  print(`${inScope ? "in scope" : "out of scope"}: ${scored}`);
  for (const fact of read) print(`read: ${fact.id}  ${factText(fact)}`);
  if (!inScope && nearest) print(`nearest: ${nearest.id}  ${factText(nearest)}`);
  return { command: "ask", memory: folder, model, ...asked };
}
