/** Facts and documents as people read them. */
import { formatPercent, truncate } from "../eval/format.ts";
import type { Fact, WriteReceipt } from "../runs/ledger-fact.ts";
import type { Changed } from "../runs/ledger-plans.ts";
import type { Output } from "./output.ts";

/** A text on one line of at most `width` columns, without what would command a terminal. */
export const shown = (text: string, width = Number.POSITIVE_INFINITY): string =>
  truncate(text.replace(/\s+/gu, " "), width);

type Said = Pick<Fact, "prompt" | "target" | "document">;

/** "Who counts the boats? -> Mara" on one line, of a document "harbour.txt: The harbour wakes before". */
export const factText = ({ prompt, target, document }: Said, width = 100): string =>
  `${shown(prompt, width)}${document ? ": " : " -> "}${shown(target, width)}`;

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

const became = {
  live: "is in the memory again",
  forgotten: "is forgotten",
  superseded: "gives way to another",
} as const;

/** Says what became of facts. */
export function printChanges({ print }: Output, changes: readonly (Changed & Said)[]): void {
  if (changes.length === 0) print("nothing changes");
  for (const one of changes) print(`${one.id}  ${became[one.after]}: ${factText(one)}`);
}
