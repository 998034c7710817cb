/** `mneme memory`: the memory as a whole: written to one file, taken from one, or in numbers. */
import { stat } from "node:fs/promises";
import { Argument, type Command } from "commander";
import { exists } from "../../checkpoint/files.ts";
import { UserError } from "../../errors.ts";
import { formatBytes } from "../../eval/format.ts";
import { memoryIdentityOf } from "../../methods/document-face.ts";
import { methods } from "../../methods/index.ts";
import { type ArchiveHeader, exportMemory, importMemory, readArchive } from "../../runs/ledger-archive.ts";
import type { LedgerCounts } from "../../runs/ledger-history.ts";
import type { Ledger } from "../../runs/ledger.ts";
import { describeMemory, noteMade, openStoredMemory } from "../../runs/stored-memory.ts";
import { documentRows, openWithProbes, recover } from "../document-stats.ts";
import {
  addMethodMemoryFlags,
  type MethodMemoryFlags,
  shownMoment,
  withLedger,
  withMemoryMethod,
} from "../memory-flags.ts";
import { slotsOfWrites } from "../memory-slots.ts";
import { table } from "../output.ts";
import type { Session } from "../session.ts";

interface Flags extends MethodMemoryFlags {
  readonly probe?: string;
  readonly verify?: boolean;
  readonly write?: string;
}

export function define(command: Command): void {
  command
    .addArgument(
      new Argument(
        "<action>",
        "export: write all that was written and its history to a file; import: take it from one into a new memory; " +
          "stats: numbers; recover: mend the bank of documents from the ledger; slots: what a write changed in a model's " +
          "memory layer",
      ).choices(["export", "import", "stats", "recover", "slots"]),
    )
    .argument("[file]", "of export and import")
    .option("--verify", "stats: check the history and compute the state anew")
    .option("--probe <probes.jsonl>", "stats of documents: what the memory is worth on questions with their answers");
  command.option("--write <id>", "slots: of this write alone");
  addMethodMemoryFlags(command);
}

/** "3 facts" or "3 documents". */
const kept = ({ identity, live }: Pick<ArchiveHeader, "identity" | "live">): string =>
  `${live} ${keepsDocuments(identity) ? "documents" : "facts"}`;

async function exported(file: string, flags: Flags, { output }: Session): Promise<Record<string, unknown>> {
  if (await exists(file)) {
    throw new UserError(`memory: expected a new file to export to, got ${file}, which is there; name another`);
  }
  const header = await withLedger(flags, (ledger) => exportMemory(ledger, file));
  const { size } = await stat(file);
  output.print(`${kept(header)} and ${header.events} events in ${file} (${formatBytes(size)})`);
  return { file, size, ...header };
}

async function imported(
  file: string,
  command: Command,
  { memory }: Flags,
  session: Session,
): Promise<Record<string, unknown>> {
  const { identity: found, made: there } = await readArchive(file);
  // Only who has the model and the module can use the facts: their hashes are compared
  const kinds = ["facts", "documents"] as const;
  const header = await withMemoryMethod(
    command,
    session,
    { identity: found, made: there },
    kinds,
    async (method, made) => {
      const taken = await importMemory(file, memory, { identity: memoryIdentityOf(method) });
      await withLedger({ memory }, (ledger) => noteMade(ledger, made));
      return taken;
    },
  );
  session.output.print(`${kept(header)} and ${header.events} events from ${file} in ${memory}`);
  return { file, ...header };
}

const keepsDocuments = ({ method = "" }: Ledger["identity"]): boolean => methods[method]?.documents !== undefined;

/** The rows that memories of all kinds have. */
function ledgerRows(identity: Ledger["identity"], counts: LedgerCounts, ledgerBytes: number): string[][] {
  const { live, forgotten, superseded, events, first, last } = counts;
  const span = first === null || last === null ? "" : `, ${shownMoment(first)} to ${shownMoment(last)}`;
  return [
    [
      keepsDocuments(identity) ? "documents" : "facts",
      `${live} live, ${forgotten} forgotten, ${superseded} superseded`,
    ],
    ["events", `${events}${span}`],
    ["ledger", formatBytes(ledgerBytes)],
  ];
}

/** What a memory of facts has beside those. */
function factRows({ placements, live, forgotten, superseded, vectorBytes }: LedgerCounts): string[][] {
  const memories = Object.keys(placements).length;
  const all = live + forgotten + superseded;
  return [
    ["memories", `${memories}${memories > 0 ? ` (${Object.values(placements).join(", ")} facts)` : ""}`],
    ["a fact", all === 0 ? "none yet" : `${formatBytes(vectorBytes / all)} of key and value`],
  ];
}

async function stats(command: Command, flags: Flags, session: Session): Promise<Record<string, unknown>> {
  const { output } = session;
  const { identity, made } = describeMemory(flags.memory);
  const documents = keepsDocuments(identity) ? await openWithProbes(command, flags, session) : undefined;
  if (!documents && flags.probe !== undefined) {
    throw new UserError(`memory: expected a memory of documents with --probe, got ${flags.memory}; leave it out`);
  }
  const { counts, origin, ledgerBytes } = await withLedger(flags, async (ledger) => {
    const { size } = await stat(ledger.file);
    return { counts: ledger.counts(), origin: ledger.origin, ledgerBytes: size };
  });
  let verified: { events: number; facts: number; equal: boolean } | undefined;
  if (flags.verify) {
    const memory = await openStoredMemory(flags.memory);
    try {
      verified = await memory.verify();
    } finally {
      await memory.close();
    }
  }
  const rows = [
    ...ledgerRows(identity, counts, ledgerBytes),
    ...(documents ? documentRows(documents) : factRows(counts)),
    ...Object.entries(identity),
    ...(made
      ? [["made with", made.model], ...Object.entries(made.options).map(([name, value]) => ["", `${name} ${value}`])]
      : []),
  ];
  if (verified) rows.push(["verified", verified.equal ? "history and state are as written" : "the state was another"]);
  for (const line of table([["", ""], ...rows]).slice(1)) output.print(line);
  return {
    ...counts,
    identity,
    origin,
    bytes: ledgerBytes,
    ...documents,
    ...(made && { made }),
    ...(verified && { verified }),
  };
}

export async function run(command: Command, session: Session): Promise<Record<string, unknown>> {
  const [action, file] = command.processedArgs as [string, string | undefined];
  const flags = command.opts<Flags>();
  const wantsFile = action === "export" || action === "import";
  if (wantsFile === (file === undefined)) {
    const [expected, got] = wantsFile ? ["a file", "none"] : ["no file", file];
    throw new UserError(
      `memory: expected ${expected} with ${action}, got ${got}; \`mneme memory --help\` has the form`,
    );
  }
  const actions: Record<string, () => Promise<Record<string, unknown>>> = {
    export: () => exported(file as string, flags, session),
    import: () => imported(file as string, command, flags, session),
    stats: () => stats(command, flags, session),
    recover: () => recover(flags, session),
    slots: () => withLedger(flags, (ledger) => slotsOfWrites(ledger, flags.write, session)),
  };
  return { command: "memory", action, memory: flags.memory, ...(await actions[action]()) };
}
