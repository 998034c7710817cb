/**
 * Rows of numbers as bytes: float32, float16, or int8 with a scale per row. What was read back is written as the same
 * bytes again, so a row that is put back after a change is the old one bit by bit.
 */
import { float16ToFloat32, float32ToFloat16 } from "../checkpoint/half.ts";
import { UserError } from "../errors.ts";

export const rowFormats = ["float32", "float16", "int8"] as const;
export type RowFormat = (typeof rowFormats)[number];

export interface RowCodec {
  readonly format: RowFormat;
  readonly width: number;
  /** Of a row. */
  readonly bytes: number;
  /** The row as bytes; refuses what is not finite or too large for the format. `name` is for the error. */
  encode(row: Float32Array, name: string): Uint8Array;
  decode(bytes: Uint8Array, out: Float32Array): void;
}

const largestHalf = 65504;
/** Smaller scales would lose the bits that make encoding repeatable. */
const leastScale = 2 ** -126;

/** Rounded up to 11 significant bits: 127 times it is exact in float32, so the scale of decoded numbers is itself. */
function shortScale(scale: number): number {
  const bits = new Uint32Array(1);
  const value = new Float32Array(bits.buffer);
  value[0] = Math.max(scale, leastScale);
  if (value[0] < scale) bits[0]++; // rounded down on the way to float32
  bits[0] = (bits[0] + 0x1fff) & ~0x1fff;
  return value[0];
}

function largest(row: Float32Array, name: string): number {
  let most = 0;
  for (let i = 0; i < row.length; i++) {
    const size = Math.abs(row[i]);
    if (!(size < Number.POSITIVE_INFINITY))
      throw new UserError(`slots: expected finite numbers, got ${row[i]} in ${name}; lower the learning rate`);
    if (size > most) most = size;
  }
  return most;
}

const codecs: { readonly [F in RowFormat]: (width: number) => Pick<RowCodec, "bytes" | "encode" | "decode"> } = {
  float32: (width) => ({
    bytes: 4 * width,
    encode(row, name) {
      largest(row, name);
      return new Uint8Array(row.slice().buffer);
    },
    decode(bytes, out) {
      new Uint8Array(out.buffer, out.byteOffset, 4 * width).set(bytes);
    },
  }),
  float16: (width) => ({
    bytes: 2 * width,
    encode(row, name) {
      const most = largest(row, name);
      if (most > largestHalf)
        throw new UserError(
          `slots: expected numbers up to ${largestHalf} (float16), got ${most} in ${name}; keep the table in float32`,
        );
      return new Uint8Array(float32ToFloat16(row.slice()).buffer);
    },
    decode(bytes, out) {
      float16ToFloat32(new Uint16Array(bytes.slice().buffer), out);
    },
  }),
  int8: (width) => ({
    bytes: 4 + width,
    encode(row, name) {
      const bytes = new Uint8Array(4 + width);
      const scale = shortScale(largest(row, name) / 127);
      if (scale === Number.POSITIVE_INFINITY)
        throw new UserError(`slots: expected numbers that int8 rows hold, got huge ones in ${name}; use float32`);
      new DataView(bytes.buffer).setFloat32(0, scale, true);
      const codes = new Int8Array(bytes.buffer, 4);
      for (let i = 0; i < width; i++) codes[i] = Math.round(row[i] / scale);
      return bytes;
    },
    decode(bytes, out) {
      const scale = new DataView(bytes.buffer, bytes.byteOffset).getFloat32(0, true);
      const codes = new Int8Array(bytes.buffer, bytes.byteOffset + 4, width);
      for (let i = 0; i < width; i++) out[i] = codes[i] * scale;
    },
  }),
};

export const createRowCodec = (format: RowFormat, width: number): RowCodec => ({
  format,
  width,
  ...codecs[format](width),
});
