/** `mneme memory`: the memory as a whole: written to one file, taken from one, or in numbers. */
import { stat } from "node:fs/promises";
import { Argument, type Command } from "commander";
import { exists } from "../../checkpoint/files.ts";
import { UserError } from "../../errors.ts";
import { formatBytes } from "../../eval/format.ts";
import { factFaceOf } from "../../methods/fact-face.ts";
import { openStoredMemory } from "../../runs/fact-memory.ts";
import { exportMemory, importMemory, readArchive } from "../../runs/ledger-archive.ts";
import { addFactFlags, type FactFlags, shownMoment, withFactMethod, withLedger } from "../memory-flags.ts";
import { table } from "../output.ts";
import type { Session } from "../session.ts";

interface Flags extends FactFlags {
  readonly verify?: boolean;
}

export function define(command: Command): void {
  command
    .addArgument(
      new Argument(
        "<action>",
        "export: write all facts and their history to a file; import: take them from one into a new memory; stats: numbers",
      ).choices(["export", "import", "stats"]),
    )
    .argument("[file]", "of export and import")
    .option("--verify", "stats: check the history and compute the state anew");
  addFactFlags(command);
}

async function exported(file: string, flags: Flags, { output }: Session): Promise<Record<string, unknown>> {
  if (await exists(file)) {
    throw new UserError(`memory: expected a new file to export to, got ${file}, which is there; name another`);
  }
  const header = await withLedger(flags, (ledger) => exportMemory(ledger, file));
  const { size } = await stat(file);
  output.print(`${header.live} facts and ${header.events} events in ${file} (${formatBytes(size)})`);
  return { file, size, ...header };
}

async function imported(
  file: string,
  command: Command,
  { memory }: Flags,
  session: Session,
): Promise<Record<string, unknown>> {
  const { identity: found } = await readArchive(file);
  // Only who has the model and the module can use the facts: their hashes are compared
  const header = await withFactMethod(command, session, found, (method) =>
    importMemory(file, memory, { identity: factFaceOf(method).identity }),
  );
  session.output.print(`${header.live} facts and ${header.events} events from ${file} in ${memory}`);
  return { file, ...header };
}

async function stats(flags: Flags, { output }: Session): Promise<Record<string, unknown>> {
  const { counts, identity, origin, bytes } = await withLedger(flags, async (ledger) => {
    const { size } = await stat(ledger.file);
    return { counts: ledger.counts(), identity: ledger.identity, origin: ledger.origin, bytes: size };
  });
  const { live, forgotten, superseded, events, first, last, placements } = counts;
  const memories = Object.keys(placements).length;
  let verified: { events: number; facts: number; equal: boolean } | undefined;
  if (flags.verify) {
    const memory = await openStoredMemory(flags.memory);
    try {
      verified = memory.verify();
    } finally {
      await memory.close();
    }
  }
  const all = live + forgotten + superseded;
  const rows = [
    ["facts", `${live} live, ${forgotten} forgotten, ${superseded} superseded`],
    ["memories", `${memories}${memories > 0 ? ` (${Object.values(placements).join(", ")} facts)` : ""}`],
    ["events", `${events}${first === null || last === null ? "" : `, ${shownMoment(first)} to ${shownMoment(last)}`}`],
    ["ledger", formatBytes(bytes)],
    ["a fact", all === 0 ? "none yet" : `${formatBytes(counts.vectorBytes / all)} of key and value`],
    ...Object.entries(identity),
  ];
  if (verified) rows.push(["verified", verified.equal ? "history and state are as written" : "the state was another"]);
  for (const line of table([["", ""], ...rows]).slice(1)) output.print(line);
  return { ...counts, identity, origin, bytes, ...(verified && { verified }) };
}

export async function run(command: Command, session: Session): Promise<Record<string, unknown>> {
  const [action, file] = command.processedArgs as [string, string | undefined];
  const flags = command.opts<Flags>();
  if ((action === "stats") !== (file === undefined)) {
    const [expected, got] = action === "stats" ? ["no file", file] : ["a file", "none"];
    throw new UserError(
      `memory: expected ${expected} with ${action}, got ${got}; \`mneme memory --help\` has the form`,
    );
  }
  const work = async (): Promise<Record<string, unknown>> => {
    if (action === "stats") return stats(flags, session);
    return action === "export"
      ? exported(file as string, flags, session)
      : imported(file as string, command, flags, session);
  };
  return { command: "memory", action, memory: flags.memory, ...(await work()) };
}
