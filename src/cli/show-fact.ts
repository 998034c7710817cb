/** One fact or document as `mneme show` has it: what it says, its receipt, what became of it. */
import { formatBytes } from "../eval/format.ts";
import { factText, receiptLines, shown } from "./fact-lines.ts";
import { type MemoryFlags, shownMoment, withLedger } from "./memory-flags.ts";
import { table } from "./output.ts";
import type { Session } from "./session.ts";

export function showFact(id: string, flags: MemoryFlags, { output }: Session): Promise<Record<string, unknown>> {
  const { print, style } = output;
  return withLedger(flags, (ledger) => {
    const fact = ledger.show(id);
    const { rephrasings, receipt, document, events, supersedes, supersededBy, bytes, source, status } = fact;
    print(`${style("bold", fact.id)}  ${factText(fact, Number.POSITIVE_INFINITY)}`);
    const rows = [
      ["status", supersededBy === null ? status : `${status} by ${supersededBy}`],
      ["written", `${shownMoment(fact.time)}${source === "" ? "" : ` by ${source}`}`],
      ...rephrasings.map((text) => ["also asked", shown(text)]),
      ...supersedes.map((old) => ["took the place of", `${old.id}  ${factText(old)}`]),
      ...(document
        ? [
            ["text", `${formatBytes(document.bytes)}, SHA-256 ${document.sha256}`],
            [
              "read as",
              `${document.tokens} tokens in ${document.chunks} ${document.chunks === 1 ? "chunk" : "chunks"}`,
            ],
            ["entries", formatBytes(bytes.value)],
          ]
        : [["key and value", `${formatBytes(bytes.key)}, ${formatBytes(bytes.value)}`]]),
      ...(receipt ? receiptLines(receipt).map((line) => ["receipt", line]) : [["receipt", "none"]]),
      ...events.map(({ seq, kind, time }) => [`event ${seq}`, `${kind}, ${shownMoment(time)}`]),
    ];
    for (const line of table([["", ""], ...rows]).slice(1)) print(line);
    return { memory: flags.memory, ...fact };
  });
}
