/** Names for what was learned: hashes of everything that made it, so that equal work has equal names. */
import { createHash } from "node:crypto";
import type { Document } from "./method.ts";

/** SHA-256 (hexadecimal) of plain JSON values. */
export function hashOf(...values: readonly unknown[]): string {
  const hash = createHash("sha256");
  for (const value of values) hash.update(JSON.stringify(value));
  return hash.digest("hex");
}

/** What of documents counts as their identity. */
export const contentsOf = (documents: readonly Document[]): unknown => documents.map(({ id, text }) => [id, text]);

/** The id of the receipt for a write: `hash` is of all that makes it another write than others. */
export const receiptId = (method: string, hash: string): string => `${method}-${hash.slice(0, 12)}`;
