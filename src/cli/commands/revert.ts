/** `mneme revert`: takes back what happened to a fact last, or puts the whole memory back to an earlier moment. */
import type { Command } from "commander";
import { UserError } from "../../errors.ts";
import type { Changed } from "../../runs/ledger-plans.ts";
import { openStoredMemory, type StoredMemory } from "../../runs/stored-memory.ts";
import { printChanges } from "../fact-lines.ts";
import { addMemoryFlag, type MemoryFlags, momentOf } from "../memory-flags.ts";
import type { Session } from "../session.ts";

interface Flags extends MemoryFlags {
  readonly to?: string;
}

export function define(command: Command): void {
  command
    .argument("[id]", "a fact or a document, by its id in the log or the beginning of it")
    .option("--to <moment>", "a time, or the number of an event, both as `mneme log` shows them");
  addMemoryFlag(command);
}

const revertTo = (memory: StoredMemory, to: string): Promise<Changed[]> =>
  memory.revertTo(/^\d+$/.test(to) ? { event: Number(to) } : { time: momentOf("revert", to) });

export async function run(command: Command, session: Session): Promise<Record<string, unknown>> {
  const [id] = command.processedArgs as [string | undefined];
  const { memory: folder, to } = command.opts<Flags>();
  if ((id === undefined) === (to === undefined)) {
    const got = id === undefined ? "neither" : "both";
    throw new UserError(`revert: expected the id of a fact or --to, got ${got}; give one of them`);
  }
  const memory = await openStoredMemory(folder);
  try {
    const changes = await (to === undefined ? memory.revert(id as string) : revertTo(memory, to));
    const facts = changes.map((one) => ({ ...memory.ledger.resolve(one.id), ...one }));
    printChanges(session.output, facts);
    return { command: "revert", memory: folder, facts };
  } finally {
    await memory.close();
  }
}
