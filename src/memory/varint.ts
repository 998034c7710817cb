/** Whole numbers in as few bytes as they need: seven bits each, the lowest first, the eighth says that more follow. */

/** From 0 up to 2^53 - 1. */
export function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  bytes.push(rest);
  return bytes;
}

/** The number at a place and how many bytes it fills; undefined where there is no whole one of at most 53 bits. */
export function readVarint(
  bytes: Uint8Array,
  at: number,
): { readonly value: number; readonly size: number } | undefined {
  let value = 0;
  for (let i = 0, weight = 1; i < 8 && at + i < bytes.length; i++, weight *= 128) {
    value += (bytes[at + i] & 127) * weight;
    if (bytes[at + i] < 128) return value <= Number.MAX_SAFE_INTEGER ? { value, size: i + 1 } : undefined;
  }
  return undefined;
}

/** Signed numbers so that small ones stay small: 0, -1, 1, -2, ... become 0, 1, 2, 3, ... */
export const zigzag = (value: number): number => (value < 0 ? -2 * value - 1 : 2 * value);
export const unzigzag = (value: number): number => (value % 2 === 0 ? value / 2 : -(value + 1) / 2);
