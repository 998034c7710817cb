/**
 * `mneme revert`: takes back what happened to a fact last, or puts the whole memory back to an earlier moment. With
 * --replay a write goes under others that stand on it, which are learned again: that alone needs a model.
 */
import type { Command } from "commander";
import { UserError } from "../../errors.ts";
import type { Changed } from "../../runs/ledger-plans.ts";
import { openStoredMemory, type StoredMemory } from "../../runs/stored-memory.ts";
import { printChanges } from "../fact-lines.ts";
import { addMethodMemoryFlags, type MethodMemoryFlags, momentOf, withMemory } from "../memory-flags.ts";
import type { Session } from "../session.ts";

interface Flags extends MethodMemoryFlags {
  readonly to?: string;
  readonly replay?: boolean;
}

export function define(command: Command): void {
  command
    .argument("[id]", "a fact or a document, by its id in the log or the beginning of it")
    .option("--to <moment>", "a time, or the number of an event, both as `mneme log` shows them");
  command.option("--replay", "learn again what was written after it, where that stands on it");
  addMethodMemoryFlags(command, ["facts"]);
}

const revertTo = (memory: StoredMemory, to: string): Promise<Changed[]> =>
  memory.revertTo(/^\d+$/.test(to) ? { event: Number(to) } : { time: momentOf("revert", to) });

async function replayed(command: Command, session: Session, id: string): Promise<Record<string, unknown>> {
  const { output, progress, signal } = session;
  const { memory: folder } = command.opts<Flags>();
  return withMemory<Record<string, unknown>>(command, session, {
    async facts(memory) {
      const onProgress = (_: string, done: number, total: number): void =>
        progress.update({ label: "learning again", done, total });
      const { changed, again } = await memory.replayWithout(id, { signal, onProgress });
      progress.clear();
      const [fact] = changed.map((one) => ({ ...memory.ledger.resolve(one.id), ...one }));
      printChanges(output, [fact]);
      for (const { before, after } of again) output.print(`${before} was learned again without it, as ${after}`);
      return { command: "revert", memory: folder, facts: [fact], again };
    },
  });
}

export async function run(command: Command, session: Session): Promise<Record<string, unknown>> {
  const [id] = command.processedArgs as [string | undefined];
  const { memory: folder, to, replay = false } = command.opts<Flags>();
  if ((id === undefined) === (to === undefined)) {
    const got = id === undefined ? "neither" : "both";
    throw new UserError(`revert: expected the id of a fact or --to, got ${got}; give one of them`);
  }
  if (replay && id === undefined)
    throw new UserError("revert: expected the id of a fact with --replay, got --to, which needs none; leave it out");
  if (replay) return replayed(command, session, id as string);
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
