/** Facts as people read them. */
import { formatPercent, truncate } from "../eval/format.ts";
import type { Fact, WriteReceipt } from "../runs/ledger-fact.ts";
import type { Changed } from "../runs/ledger-memory.ts";
import type { Output } from "./output.ts";

/** "Who counts the boats? -> Mara" on one line. */
export const factText = ({ prompt, target }: Pick<Fact, "prompt" | "target">, width = 100): string =>
  `${truncate(prompt.replace(/\s+/gu, " "), width)} -> ${truncate(target.replace(/\s+/gu, " "), width)}`;

/** What a receipt says, a line each. */
export function receiptLines({ answer, probability, probes, together }: WriteReceipt): string[] {
  const lines: string[] = [];
  if (answer) lines.push(`answer: ${JSON.stringify(answer.before)} before, ${JSON.stringify(answer.after)} after`);
  if (probability) {
    const [before, after] = [probability.before, probability.after].map((share) => formatPercent(share, 2));
    lines.push(`probability of the target: ${before} before, ${after} after`);
  }
  if (probes) {
    const { count, changed, drift = 0 } = probes;
    const whose = typeof together === "number" ? ` by the ${together} facts written together` : "";
    lines.push(
      `${count} unrelated prompts${whose}: ${changed} ${changed === 1 ? "answer" : "answers"} changed, likelihoods by ` +
        `${drift === 0 ? "nothing" : `${drift.toPrecision(2)} nats per token`}`,
    );
  }
  return lines;
}

const became = { live: "is in the memory again", forgotten: "is forgotten", superseded: "gives way to another" } as const;

/** Says what became of facts. */
export function printChanges({ print }: Output, changes: readonly (Changed & Pick<Fact, "prompt" | "target">)[]): void {
  if (changes.length === 0) print("nothing changes");
  for (const one of changes) print(`${one.id}  ${became[one.after]}: ${factText(one)}`);
}
