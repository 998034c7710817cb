/**
 * The documents that a method keeps as they are, write by write: for methods that change no weights and put texts into
 * the prompt instead. Every write has a receipt, and can be forgotten without a trace.
 */
import { join } from "node:path";
import { z } from "zod";
import { UserError } from "../errors.ts";
import { writeFileAtomic } from "../checkpoint/files.ts";
import { makeFolder } from "./folders.ts";
import { contentsOf, hashOf, receiptId } from "./identity.ts";
import type { Document, Method, MethodEvent, ObserveOptions, Receipt } from "./method.ts";

const documentSchema = z.object({
  id: z.string(),
  text: z.string(),
  topic: z.string().optional(),
  time: z.number().optional(),
});

const stateSchema = z.object({
  writes: z.int().min(0),
  kept: z.array(z.object({ receipt: z.string(), documents: z.array(documentSchema) })),
});

export interface DocumentStoreOptions {
  /** The method, for receipts and errors. */
  readonly name: string;
  /** Tokens of a text, for receipts. */
  readonly tokensOf: (text: string) => number;
  /**
   * Called with what was just added; when it fails or stops, the write leaves nothing. Returns the floating-point
   * operations that it took.
   */
  readonly onAdd?: (documents: readonly Document[], signal?: AbortSignal) => Promise<number>;
  /** Called with what is about to go. */
  readonly onForget?: (documents: readonly Document[]) => void;
}

export interface DocumentStore extends Pick<Method, "observe" | "bytes"> {
  /** In the order in which they were learned. */
  documents(): Document[];
  forget(id: string): Promise<void>;
  json(): Readonly<Record<string, unknown>>;
  /** Replaces everything; `onAdd` and `onForget` are not called. */
  restore(json: Readonly<Record<string, unknown>>): void;
}

export function documentStore({ name, tokensOf, onAdd, onForget }: DocumentStoreOptions): DocumentStore {
  let kept: { receipt: string; documents: readonly Document[] }[] = [];
  /** Writes ever made: the same documents learned twice get two receipts. */
  let writes = 0;
  return {
    documents: () => kept.flatMap(({ documents }) => documents),
    async *observe(given: readonly Document[], { signal }: ObserveOptions = {}): AsyncGenerator<MethodEvent> {
      const started = performance.now();
      // Copies of their own: later calls find them by identity
      const documents = given.map((document) => ({ ...document }));
      const id = receiptId(name, hashOf([writes, contentsOf(documents)]));
      const flops = signal?.aborted ? 0 : ((await onAdd?.(documents, signal)) ?? 0);
      const stopped = signal?.aborted ? "interrupted" : "done";
      if (stopped === "done") {
        kept.push({ receipt: id, documents });
        writes++;
      } else {
        onForget?.(documents);
      }
      const receipt: Receipt = {
        id,
        documents: documents.map((document) => document.id),
        steps: 0,
        tokens: documents.reduce((sum, { text }) => sum + tokensOf(text), 0),
        seconds: (performance.now() - started) / 1000,
        finalLoss: 0,
        stopped,
        flops,
      };
      yield { type: "receipt", receipt };
    },
    async forget(id) {
      const found = kept.find(({ receipt }) => receipt === id);
      if (!found) {
        const last = kept.at(-1)?.receipt;
        throw new UserError(
          `${name}: expected the id of a receipt to forget, got ${JSON.stringify(id)}; ${last === undefined ? "nothing is kept" : `the last one is ${last}`}`,
        );
      }
      onForget?.(found.documents);
      kept = kept.filter((write) => write !== found);
    },
    bytes: () => kept.flatMap(({ documents }) => documents).reduce((sum, { text }) => sum + Buffer.byteLength(text), 0),
    json: () => ({ writes, kept }),
    restore(json) {
      const parsed = stateSchema.safeParse(json);
      if (!parsed.success) {
        throw new UserError(
          `${name}: expected a state with its documents, got none or another method's ` +
            `(${parsed.error.issues[0]?.path.join(".") || "kept"}); restore it with its own method`,
        );
      }
      ({ kept, writes } = parsed.data);
    },
  };
}

/** Save for methods that change no weights: their documents, one JSON object per line. */
export async function saveDocuments(method: Method, folder: string): Promise<string> {
  const { kept } = stateSchema.parse((await method.state()).json);
  const lines = kept.flatMap(({ receipt, documents }) =>
    documents.map((document) => `${JSON.stringify({ ...document, receipt })}\n`),
  );
  await makeFolder(folder);
  await writeFileAtomic(join(folder, "documents.jsonl"), lines.join(""));
  return `documents as JSON lines (${method.name} changes no weights): ${join(folder, "documents.jsonl")}`;
}
