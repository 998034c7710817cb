/** A fixed list of writes, corrections and forgets, and what a ledger holds after the first n of them. */
import type { FactStatus } from "../../src/runs/ledger-fact.ts";

export interface Deed {
  readonly do: "write" | "forget";
  readonly prompt: string;
  readonly target: string;
}

interface Line {
  readonly prompt: string;
  readonly target: string;
  status: FactStatus;
}

/** Every fact of the ledger, in the order of writing, after each number of deeds. */
export function ledgerAfter(deeds: readonly Deed[]): Line[] {
  const lines: Line[] = [];
  for (const { do: kind, prompt, target } of deeds) {
    const live = lines.find((line) => line.prompt === prompt && line.status === "live");
    if (live) live.status = kind === "forget" ? "forgotten" : "superseded";
    if (kind === "write") lines.push({ prompt, target, status: "live" });
  }
  return lines;
}

/** Each fifth deed corrects an earlier fact, each seventh forgets one. `name` sets writers apart. */
export function ledgerScript(count: number, name = ""): Deed[] {
  const deeds: Deed[] = [];
  const live = new Set<string>();
  for (let i = 0; i < count; i++) {
    const promptOf = (j: number): string => `Question ${j} of ${name}?`;
    const forget = i % 7 === 6 && live.has(promptOf(i - 3));
    const prompt = promptOf(forget ? i - 3 : i % 5 === 4 ? i - 2 : i);
    deeds.push({ do: forget ? "forget" : "write", prompt, target: `answer ${i}` });
    if (forget) live.delete(prompt);
    else live.add(prompt);
  }
  return deeds;
}
