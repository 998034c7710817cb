/** A fixed list of learning, replacing and forgetting documents, and what a memory holds after the first n deeds. */
import { type DocumentMemory, openDocumentMemory } from "../../src/runs/document-memory.ts";
import { bankMethod } from "./bank-method.ts";

/** The memory, and what closes it with its method. */
export async function scriptDocuments(folder: string): Promise<{ memory: DocumentMemory; close: () => Promise<void> }> {
  const method = await bankMethod({ own: `${folder}-own` });
  // Killing a process tells nothing of fsync
  const memory = await openDocumentMemory(folder, method, { durability: "process" });
  return {
    memory,
    async close() {
      await memory.close();
      await method.dispose();
    },
  };
}

const textOf = (i: number): string => `Text ${i} of ${"many ".repeat(i % 9)}words`;
const isForget = (i: number): boolean => i % 7 === 6;
/** Every fifth deed replaces an earlier document. */
const namesOf = (i: number): string[] => [
  `document ${i % 5 === 4 ? i - 3 : i}`,
  ...(i % 3 === 0 ? [`second ${i}`] : []),
];

/** Each deed is one acknowledged change: one or two documents in together, or one forgotten. */
export async function doDocumentDeed(memory: DocumentMemory, i: number): Promise<void> {
  const { ledger } = memory;
  const gone = namesOf(i - 3)[0];
  if (isForget(i) && ledger.rows.liveAbout(gone)) await memory.forget(ledger.resolveDocument(gone).id);
  else await memory.learn(namesOf(i).map((id) => ({ id, text: textOf(i) })));
}

/** Documents and texts after n deeds, sorted. */
export function documentsAfter(n: number): string[] {
  const live = new Map<string, string>();
  for (let i = 0; i < n; i++) {
    const gone = namesOf(i - 3)[0];
    if (isForget(i) && live.has(gone)) live.delete(gone);
    else for (const id of namesOf(i)) live.set(id, textOf(i));
  }
  return [...live].map(([id, text]) => `${id}: ${text.trim()}`).toSorted();
}

export const documentsOf = ({ ledger }: DocumentMemory): string[] =>
  ledger
    .list()
    .map(({ prompt, target }) => `${prompt}: ${target}`)
    .toSorted();
