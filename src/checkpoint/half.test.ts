import { describe, expect, test, vi } from "vitest";
import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16, upperHalf } from "./half.ts";

// Generous: a busy machine must not fail a test of correctness.
vi.setConfig({ testTimeout: 60_000 });

/** The value of float16 bits by the definition of the format. */
function halfValue(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  if (exponent === 31) return mantissa === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

const floatFromBits = (bits: number): number => new Float32Array(Uint32Array.of(bits).buffer)[0];
const bitsOfFloat = (value: number): number => new Uint32Array(Float32Array.of(value).buffer)[0];

describe("float16", () => {
  test("widening equals the format's definition for all 65,536 values, in place too", () => {
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const wide = float16ToFloat32(all);
    const inPlace = new Float32Array(65536);
    upperHalf(inPlace).set(all);
    float16ToFloat32(upperHalf(inPlace), inPlace);
    for (let i = 0; i < 65536; i++)
      if (!Object.is(wide[i], halfValue(i))) expect([i, wide[i]]).toEqual([i, halfValue(i)]);
    expect(new Uint32Array(inPlace.buffer)).toEqual(new Uint32Array(wide.buffer));
  });

  test("every float16 survives the round trip bit by bit (signalling NaN becomes quiet)", () => {
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const back = float32ToFloat16(float16ToFloat32(all));
    for (let i = 0; i < 65536; i++) {
      const wanted = Number.isNaN(halfValue(i)) ? i | 0x200 : i;
      if (back[i] !== wanted) expect([i, back[i]]).toEqual([i, wanted]);
    }
  });

  test("rounds to nearest, ties to even, between every two neighbours", () => {
    const values: number[] = [];
    const wanted: number[] = [];
    for (let low = 0; low < 0x7c00; low++) {
      // Above 65504 the next step would be 65536, which overflows to infinity.
      const next = low === 0x7bff ? 65536 : halfValue(low + 1);
      const middle = (halfValue(low) + next) / 2; // exact in float32
      const bits = bitsOfFloat(middle);
      values.push(floatFromBits(bits - 1), middle, floatFromBits(bits + 1));
      wanted.push(low, low % 2 === 0 ? low : low + 1, low + 1);
    }
    expect(float32ToFloat16(Float32Array.from(values))).toEqual(Uint16Array.from(wanted));
    expect(float32ToFloat16(Float32Array.from(values, (v) => -v))).toEqual(Uint16Array.from(wanted, (w) => w | 0x8000));
  });

  test("extremes", () => {
    const got = float32ToFloat16(Float32Array.of(Infinity, -Infinity, 3.4e38, 1e-45, -0, 65520, 65519.99));
    expect([...got]).toEqual([0x7c00, 0xfc00, 0x7c00, 0, 0x8000, 0x7c00, 0x7bff]);
    expect(float32ToFloat16(Float32Array.of(NaN))[0] & 0x7fff).toBeGreaterThan(0x7c00);
  });
});

describe("bfloat16", () => {
  test("widening appends sixteen zero bits; every value survives the round trip", () => {
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const wide = bfloat16ToFloat32(all);
    const bits = new Uint32Array(wide.buffer);
    for (let i = 0; i < 65536; i++) if (bits[i] !== i * 65536) expect([i, bits[i]]).toEqual([i, i * 65536]);
    const back = float32ToBfloat16(wide);
    for (let i = 0; i < 65536; i++) {
      const isNaNValue = (i & 0x7fff) > 0x7f80;
      if (back[i] !== (isNaNValue ? i | 0x40 : i)) expect([i, back[i]]).toEqual([i, i]);
    }
  });

  test("rounds to nearest, ties to even; overflow is infinity; a NaN with low bits only stays NaN", () => {
    const bits = Uint32Array.of(
      0x3f800000,
      0x3f807fff,
      0x3f808000,
      0x3f808001,
      0x3f818000,
      0x7f7fffff,
      0x00008001,
      0x7f800001,
      0xff7fffff,
    );
    const got = float32ToBfloat16(new Float32Array(bits.buffer));
    expect([...got]).toEqual([0x3f80, 0x3f80, 0x3f80, 0x3f81, 0x3f82, 0x7f80, 0x0001, 0x7fc0, 0xff80]);
  });
});
