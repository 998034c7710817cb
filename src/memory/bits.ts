/** Whole numbers packed into as many bits as they need, the lowest bit first: 512 codes are 9 bits, not 64. */
import { UserError } from "../errors.ts";

/** Bytes that `count` numbers of `bits` bits fill; the last byte may have bits to spare. */
export const packedBytes = (count: number, bits: number): number => Math.ceil((count * bits) / 8);

function checkBits(who: string, bits: number): void {
  if (Number.isInteger(bits) && bits >= 1 && bits <= 32) return;
  throw new UserError(`${who}: expected 1 to 32 bits, got ${bits}; a codebook has at most 2^32 codes`);
}

/** Numbers below 2^bits as bytes. The spare bits are 0. */
export function packBits(values: ArrayLike<number>, bits: number): Uint8Array<ArrayBuffer> {
  checkBits("packBits", bits);
  const out = new Uint8Array(packedBytes(values.length, bits));
  let at = 0; // of the next bit
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (!Number.isInteger(value) || value < 0 || value >= 2 ** bits) {
      throw new UserError(`packBits: expected whole numbers of ${bits} bits, got ${value} at ${i}; count the codes`);
    }
    let rest = value;
    for (let left = bits; left > 0; ) {
      const room = Math.min(8 - (at & 7), left);
      out[at >> 3] |= (rest & ((1 << room) - 1)) << (at & 7);
      rest >>>= room;
      left -= room;
      at += room;
    }
  }
  return out;
}

/** The first `count` numbers of what `packBits` made. */
export function unpackBits(bytes: Uint8Array, bits: number, count: number): Uint32Array<ArrayBuffer> {
  checkBits("unpackBits", bits);
  if (bytes.length < packedBytes(count, bits)) {
    throw new UserError(
      `unpackBits: expected ${packedBytes(count, bits)} bytes for ${count} numbers of ${bits} bits, got ${bytes.length}`,
    );
  }
  const out = new Uint32Array(count);
  let at = 0;
  for (let i = 0; i < count; i++) {
    let value = 0;
    for (let got = 0; got < bits; ) {
      const room = Math.min(8 - (at & 7), bits - got);
      value |= ((bytes[at >> 3] >>> (at & 7)) & ((1 << room) - 1)) << got;
      got += room;
      at += room;
    }
    out[i] = value;
  }
  return out;
}
