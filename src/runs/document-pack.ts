/**
 * What a ledger keeps of a bank, so that the bank can be made anew from it: the entries of a document as the bank's own
 * bytes, each behind its length, and the codebooks they point into.
 */
import { isDeepStrictEqual } from "node:util";
import { float16ToFloat32, float32ToFloat16 } from "../checkpoint/half.ts";
import { UserError } from "../errors.ts";
import { type BankEntry, packEntry, readEntry, readHead } from "../memory/bank-entry.ts";
import type { Codebook } from "../memory/codebook.ts";
import { readVarint, varint } from "../memory/varint.ts";
import type { EntryStore } from "../methods/document-face.ts";
import type { CodebookRow } from "./ledger-rows.ts";

type Format = Pick<EntryStore, "quantizer" | "keys">;

export const packEntries = (entries: readonly BankEntry[], { quantizer, keys }: Format): Uint8Array =>
  Buffer.concat(
    entries.flatMap((entry) => {
      const body = packEntry(entry, quantizer(entry.version), keys);
      return [Uint8Array.from(varint(body.length)), body];
    }),
  );

export function unpackEntries(bytes: Uint8Array, { quantizer, keys }: Format): BankEntry[] {
  const entries: BankEntry[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = readVarint(bytes, at);
    const body = bytes.subarray(at + (length?.size ?? 0), at + (length?.size ?? 0) + (length?.value ?? 0));
    const head = length && body.length === length.value ? readHead(body) : undefined;
    if (!length || !head) {
      throw new UserError(
        "memory: expected the entries of a document in the ledger, got something else; the ledger is damaged: import " +
          "an exported copy",
      );
    }
    entries.push(readEntry(body, head, quantizer(head.version), keys));
    at += length.size + length.value;
  }
  return entries;
}

const bytesOf = (array: Float32Array | Uint16Array): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

/** A codebook for the ledger, in float16 where that loses nothing. */
export function packCodebook(version: number, { data, ...shape }: Codebook): CodebookRow {
  const half = float32ToFloat16(data);
  const isHalf = isDeepStrictEqual(float16ToFloat32(half), Float32Array.from(data));
  return {
    version,
    shape: JSON.stringify(shape),
    bits: isHalf ? 16 : 32,
    data: bytesOf(isHalf ? half : Float32Array.from(data)),
  };
}

export function unpackCodebook({ shape, bits, data }: CodebookRow): Codebook {
  const own = Uint8Array.from(data).buffer; // where the bytes lie need not suit their type
  const numbers = bits === 16 ? float16ToFloat32(new Uint16Array(own)) : new Float32Array(own);
  return { ...(JSON.parse(shape) as Omit<Codebook, "data">), data: numbers };
}
