/** `mneme show`: one run, or one fact of the memory: four to twelve hexadecimal digits are the id of a fact. */
import type { Command } from "commander";
import { addMemoryFlag, type MemoryFlags } from "../memory-flags.ts";
import type { Session } from "../session.ts";
import { addStoreFlags, type StoreFlags } from "../store-flags.ts";

export function define(command: Command): void {
  command.argument("<name>", "name or folder of a run, or id of a fact (4 to 12 hexadecimal digits)");
  addStoreFlags(command);
  addMemoryFlag(command);
}

export async function run(command: Command, session: Session): Promise<Record<string, unknown>> {
  const [name] = command.processedArgs as [string];
  const flags = command.opts<StoreFlags & MemoryFlags>();
  const shown = /^[0-9a-f]{4,12}$/i.test(name)
    ? await (await import("../show-fact.ts")).showFact(name, flags, session)
    : await (await import("../show-run.ts")).showRun(name, flags, session);
  return { command: "show", ...shown };
}
