/**
 * Writes made while something is measured, and taken back: by their receipts where a method forgets, by its state from
 * before where it does not. Afterwards the method is what it was, as `Task.evaluate` promises.
 */
import { internal } from "../errors.ts";
import type { Document, Method, Receipt } from "../methods/method.ts";
import type { EvaluateOptions } from "./task.ts";

/** Learns documents together; the receipt of the whole, none where it was stopped. */
async function learned(
  method: Method,
  documents: readonly Document[],
  { signal }: EvaluateOptions,
): Promise<Receipt | undefined> {
  let receipt: Receipt | undefined;
  for await (const event of method.observe(documents, { signal }))
    if (event.type === "receipt") receipt = event.receipt;
  return receipt?.stopped === "interrupted" ? undefined : receipt;
}

/** What `run` may do while it lasts. */
export interface Writer {
  /** Learns documents together. */
  write(documents: readonly Document[]): Promise<Receipt>;
  /** Forgets one of these writes, where the method can. */
  readonly forget?: (receipt: Receipt) => Promise<void>;
}

/** Runs with a writer; when `run` ends, however it does, what was written and not yet forgotten is taken back. */
export async function passing<T>(
  method: Method,
  run: (writer: Writer) => Promise<T>,
  options: EvaluateOptions = {},
): Promise<T> {
  const own = method.forget?.bind(method);
  const before = own ? undefined : await method.state();
  const written = new Set<string>();
  const forget =
    own &&
    (async ({ id }: Receipt): Promise<void> => {
      await own(id);
      written.delete(id);
    });
  try {
    return await run({
      async write(documents) {
        const receipt = await learned(method, documents, options);
        if (receipt) written.add(receipt.id);
        options.signal?.throwIfAborted();
        return receipt ?? internal(`${method.name}.observe ended without a receipt`);
      },
      forget,
    });
  } finally {
    // The last one first: a write may stand on an earlier one
    if (own) for (const id of [...written].reverse()) await own(id);
    if (before) await method.restore(before);
  }
}

/** Runs while documents are written. */
export const whileWritten = <T>(
  method: Method,
  documents: readonly Document[],
  run: () => Promise<T>,
  options: EvaluateOptions = {},
): Promise<T> =>
  passing(
    method,
    async ({ write }) => {
      await write(documents);
      return run();
    },
    options,
  );
