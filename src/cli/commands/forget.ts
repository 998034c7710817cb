/** `mneme forget`: takes facts or documents out of the memory, by ids or by words. They stay in the history. */
import type { Command } from "commander";
import { UserError } from "../../errors.ts";
import { described } from "../../runs/ledger-fact.ts";
import type { Ledger } from "../../runs/ledger.ts";
import { openStoredMemory } from "../../runs/stored-memory.ts";
import { printChanges } from "../fact-lines.ts";
import { addMemoryFlag, type MemoryFlags } from "../memory-flags.ts";
import type { Session } from "../session.ts";

interface Flags extends MemoryFlags {
  readonly query?: string;
  readonly document?: string[];
}

export function define(command: Command): void {
  command
    .argument("[id...]", "facts or documents, by their ids in the log or the beginnings of them")
    .option("--query <words>", "the one fact or document that has these words")
    .option("--document <id...>", "documents, by the ids they were learned with");
  addMemoryFlag(command);
}

/** The id of the one live fact that has the words; where it is not one, candidates. */
function idByWords({ find }: Ledger, query: string): string {
  if (query.trim() === "") throw new UserError("forget: expected words, got none; give some of the fact's");
  const found = find(query);
  const exact = found.filter(({ score }) => score === 1);
  if (exact.length === 1) return exact[0].id;
  const near = (exact.length > 1 ? exact : found).slice(0, 5).map(described).join(", ");
  throw new UserError(
    `forget: expected words of one fact, got ${JSON.stringify(query)}, which ${exact.length} have; ` +
      (near === "" ? "`mneme log` lists facts" : `name one by its id: ${near}`),
  );
}

export async function run(command: Command, session: Session): Promise<Record<string, unknown>> {
  const [ids] = command.processedArgs as [string[]];
  const { memory: folder, query, document } = command.opts<Flags>();
  const given = [ids.length > 0, query !== undefined, document !== undefined].filter(Boolean).length;
  if (given !== 1) {
    const got = given === 0 ? "neither" : "both";
    throw new UserError(`forget: expected ids, --query or --document, got ${got}; give one of them`);
  }
  const memory = await openStoredMemory(folder);
  try {
    const { ledger } = memory;
    const named = (document ?? []).map((name) => ledger.resolveDocument(name, "forget").id);
    const changes = await memory.forget(...ids, ...named, ...(query === undefined ? [] : [idByWords(ledger, query)]));
    const facts = changes.map((one) => ({ ...ledger.resolve(one.id), ...one }));
    printChanges(session.output, facts);
    return { command: "forget", memory: folder, facts };
  } finally {
    await memory.close();
  }
}
