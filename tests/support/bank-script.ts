/** A fixed list of appends, replacements and deletions in a bank, and what it holds after the first n of them. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Bank, type BankEntry, openBank } from "../../src/memory/bank.ts";
import { randomStream } from "../../src/tensor/random.ts";

const [tokens, width, codes, limit] = [6, 4, 40, 50];

/** A bank that is written anew every few deeds, and full soon. */
export async function scriptBank(folder: string): Promise<Bank> {
  const limited = { limit: { entries: limit }, slack: 500 };
  // Killing a process tells nothing of fsync
  const bank = await openBank(folder, { keys: { width: 4, bits: 8 }, durability: "process", ...limited });
  const data = randomStream(1, "codes").fillNormal(new Float32Array(codes * width));
  await bank.addCodebook({ kind: "token", tokens, width, codes, books: 1, data });
  return bank;
}

function entriesOf(i: number, document: string): BankEntry[] {
  const random = randomStream(i, "entry");
  return Array.from({ length: 1 + (i % 3) }, () => ({
    document,
    time: i,
    key: new Float32Array(4),
    version: 1,
    indices: Uint32Array.from({ length: tokens }, () => random.integer(codes)),
  }));
}

/** Each fifth deed replaces an earlier document, each seventh deletes one; each of them is one write. */
export async function doDeed(bank: Bank, i: number): Promise<void> {
  const earlier = `document ${i - 3}`;
  if (i % 7 === 6 && bank.has(earlier)) await bank.delete(earlier);
  else await bank.replace(entriesOf(i, i % 5 === 4 ? earlier : `document ${i}`));
}

/** Documents with their times and indices after n deeds, each chunk a line: worked out on a plain array. */
export function bankAfter(n: number): string[] {
  let live: BankEntry[] = [];
  for (let i = 0; i < n; i++) {
    const earlier = `document ${i - 3}`;
    const without = live.filter(({ document }) => document !== earlier);
    if (i % 7 === 6 && without.length < live.length) {
      live = without;
      continue;
    }
    const entries = entriesOf(i, i % 5 === 4 ? earlier : `document ${i}`);
    if (i % 5 === 4) live = without;
    while (live.length + entries.length > limit) live = live.filter(({ document }) => document !== live[0].document);
    live.push(...entries);
  }
  return live.map(lineOf);
}

export const lineOf = ({ document, time, indices }: BankEntry): string => `${document} ${time} ${indices.join(" ")}`;

/** How often each code is in use among lines. */
export function countsOf(lines: readonly string[]): Float64Array {
  const counts = new Float64Array(codes);
  for (const line of lines) for (const index of line.split(" ").slice(-tokens)) counts[Number(index)]++;
  return counts;
}

/** Bytes of all files in a folder but the lock of a bank. */
export const folderBytes = (folder: string): number =>
  readdirSync(folder)
    .filter((name) => name !== "bank.lock")
    .reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
