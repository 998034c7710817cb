/** `mneme log`: what happened to the facts of the memory, the latest first. */
import { type Command, Option } from "commander";
import type { EventKind } from "../../runs/ledger-fact.ts";
import { factText } from "../fact-lines.ts";
import { addMemoryFlag, type MemoryFlags, momentOf, shownMoment, withLedger } from "../memory-flags.ts";
import { table } from "../output.ts";
import { numberFlag, type Session } from "../session.ts";

interface Flags extends MemoryFlags {
  readonly limit: number;
  readonly since?: string;
  readonly until?: string;
  readonly before?: number;
  readonly kind?: EventKind;
}

const kinds: readonly EventKind[] = ["write", "supersede", "forget", "revert", "restore", "evict"];

export function define(command: Command): void {
  command
    .option("--limit <n>", "events at most", numberFlag({ min: 1, integer: true }), 20)
    .option("--since <time>", "only events from then on")
    .option("--until <time>", "only events up to then")
    .option("--before <event>", "only events before this one: the next page", numberFlag({ min: 1, integer: true }))
    .addOption(new Option("--kind <name>", "only events of this kind").choices(kinds));
  addMemoryFlag(command);
}

export async function run(command: Command, session: Session): Promise<Record<string, unknown>> {
  const flags = command.opts<Flags>();
  const { limit, before, kind } = flags;
  const { output } = session;
  const at = (text: string | undefined): number | undefined => (text === undefined ? text : momentOf("log", text));
  return withLedger(flags, (ledger) => {
    const events = ledger.log({
      limit,
      before,
      since: at(flags.since),
      until: at(flags.until),
      ...(kind && { kinds: [kind] }),
    });
    const rows = events.map((event) => [
      String(event.seq),
      shownMoment(event.time),
      event.kind,
      event.id,
      event.source,
      factText(event, 48),
    ]);
    const head = ["event", "time", "what", "fact", "source", ""];
    for (const line of rows.length === 0 ? ["nothing happened"] : table([head, ...rows], { right: [0] })) {
      output.print(line);
    }
    return { command: "log", memory: flags.memory, events };
  });
}
