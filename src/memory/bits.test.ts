/** Packing by hand, and as a string of bits. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { packBits, packedBytes, unpackBits } from "./bits.ts";
import { readVarint, unzigzag, varint, zigzag } from "./varint.ts";

test("by hand", () => {
  // 5 = 101, 3 = 011, 7 = 111 from the lowest bit: 1 1111 0 1 -> byte 11 011 101, then 1
  expect([...packBits([5, 3, 7], 3)]).toEqual([0b11011101, 0b1]);
  expect([...packBits([511, 0, 1], 9)]).toEqual([255, 1, 4, 0]);
  expect([...packBits([0xdeadbeef], 32)]).toEqual([0xef, 0xbe, 0xad, 0xde]);
  expect([...packBits([], 7)]).toEqual([]);
  expect(() => packBits([1, 8], 3)).toThrow("packBits: expected whole numbers of 3 bits, got 8 at 1; count the codes");
  expect(() => packBits([1], 33)).toThrow(/^packBits: expected 1 to 32 bits, got 33/);
  expect(() => unpackBits(new Uint8Array(2), 9, 2)).toThrow(/expected 3 bytes for 2 numbers of 9 bits, got 2$/);
});

const numbers = fc
  .integer({ min: 1, max: 32 })
  .chain((bits) =>
    fc.tuple(fc.constant(bits), fc.array(fc.integer({ min: 0, max: 2 ** bits - 1 }), { maxLength: 40 })),
  );

test("any numbers come back, from exactly the bytes that their bits need", () => {
  fc.assert(
    fc.property(numbers, ([bits, values]) => {
      const bytes = packBits(values, bits);
      expect(bytes.length).toBe(packedBytes(values.length, bits));
      expect([...unpackBits(bytes, bits, values.length)]).toEqual(values);
      // The oracle: the whole as one binary number
      const text = values
        .map((value) => value.toString(2).padStart(bits, "0"))
        .toReversed()
        .join("");
      const whole = [...bytes]
        .map((byte) => byte.toString(2).padStart(8, "0"))
        .toReversed()
        .join("");
      expect(BigInt(`0b${whole || "0"}`)).toBe(BigInt(`0b${text || "0"}`));
    }),
  );
});

test("varints come back, and a broken one is none", () => {
  expect(varint(300)).toEqual([0b10101100, 0b10]);
  expect([0, -1, 1, -2].map(zigzag)).toEqual([0, 1, 2, 3]);
  fc.assert(
    fc.property(fc.maxSafeInteger(), fc.nat(3), (value, before) => {
      const bytes = Uint8Array.from([...Array.from({ length: before }, () => 200), ...varint(Math.abs(value))]);
      expect(readVarint(bytes, before)).toEqual({ value: Math.abs(value), size: bytes.length - before });
      expect(readVarint(bytes.subarray(0, -1), before)).toBeUndefined();
      const half = Math.trunc(value / 2);
      expect(unzigzag(zigzag(half)) - half).toBe(0);
    }),
  );
  expect(readVarint(new Uint8Array(9).fill(255), 0)).toBeUndefined();
});
