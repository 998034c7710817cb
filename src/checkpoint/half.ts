/**
 * float16 and bfloat16 as bits, to and from float32. Narrowing rounds to nearest, ties to even, with subnormals,
 * infinities and NaN as IEEE 754 wants them; widening is exact. All loops work on integer views, so that a NaN's
 * payload never passes through a floating-point register.
 */

const bitsOf = (values: Float32Array): Uint32Array => new Uint32Array(values.buffer, values.byteOffset, values.length);

/** float32 bits -> float16 bits. */
function narrowToHalf(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00 | ((magnitude >>> 13) & 0x1ff); // NaN, made quiet
  if (magnitude >= 0x47800000) return sign | 0x7c00; // 65536 and above
  if (magnitude >= 0x38800000) {
    // Normal: shift the exponent's bias from 127 to 15, round off 13 bits; a carry to infinity comes out right.
    const rebiased = magnitude - 0x38000000;
    return sign | ((rebiased + 0xfff + ((rebiased >>> 13) & 1)) >>> 13);
  }
  if (magnitude <= 0x33000000) return sign; // at most half of the smallest subnormal
  const shift = 126 - (magnitude >>> 23); // 14..24
  const mantissa = (magnitude & 0x7fffff) | 0x800000;
  const kept = mantissa >>> shift;
  const rest = mantissa & ((1 << shift) - 1);
  const tie = 1 << (shift - 1);
  return sign | (rest > tie || (rest === tie && (kept & 1) === 1) ? kept + 1 : kept);
}

/** float16 bits -> float32 bits. */
function widenHalf(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >>> 10) & 0x1f;
  const mantissa = half & 0x3ff;
  if (exponent === 0x1f) return (sign | 0x7f800000 | (mantissa << 13)) >>> 0;
  if (exponent > 0) return (sign | ((exponent + 112) << 23) | (mantissa << 13)) >>> 0;
  if (mantissa === 0) return sign >>> 0;
  const lead = Math.clz32(mantissa) - 21; // shifts that bring the leading one to bit 10
  return (sign | ((113 - lead) << 23) | (((mantissa << lead) & 0x3ff) << 13)) >>> 0;
}

let halfTable: Uint32Array | undefined;
const widenTable = (): Uint32Array => (halfTable ??= Uint32Array.from({ length: 65536 }, (_, half) => widenHalf(half)));

/** float32 values -> float16 bits. `out` may be given to avoid an allocation. */
export function float32ToFloat16(values: Float32Array, out: Uint16Array = new Uint16Array(values.length)): Uint16Array {
  const bits = bitsOf(values);
  for (let i = 0; i < bits.length; i++) out[i] = narrowToHalf(bits[i]);
  return out;
}

/** float32 values -> bfloat16 bits. */
export function float32ToBfloat16(
  values: Float32Array,
  out: Uint16Array = new Uint16Array(values.length),
): Uint16Array {
  const bits = bitsOf(values);
  for (let i = 0; i < bits.length; i++) {
    const b = bits[i];
    out[i] = (b & 0x7fffffff) > 0x7f800000 ? (b >>> 16) | 0x40 : (b + 0x7fff + ((b >>> 16) & 1)) >>> 16;
  }
  return out;
}

/** float16 bits -> float32 values. `halves` may be the upper half of `out`'s own buffer (see `upperHalf`). */
export function float16ToFloat32(
  halves: Uint16Array,
  out: Float32Array = new Float32Array(halves.length),
): Float32Array {
  const table = widenTable();
  const bits = bitsOf(out);
  for (let i = 0; i < halves.length; i++) bits[i] = table[halves[i]];
  return out;
}

/** bfloat16 bits -> float32 values. */
export function bfloat16ToFloat32(
  halves: Uint16Array,
  out: Float32Array = new Float32Array(halves.length),
): Float32Array {
  const bits = bitsOf(out);
  for (let i = 0; i < halves.length; i++) bits[i] = halves[i] << 16;
  return out;
}

/**
 * The place inside `out` where 16-bit values may be put to be widened to `out` without a second buffer: its upper
 * half. Widening goes forwards, and writing element i touches 16-bit places 2i and 2i+1, which are at most n+i,
 * the place just read.
 */
export const upperHalf = (out: Float32Array): Uint16Array =>
  new Uint16Array(out.buffer, out.byteOffset + out.length * 2, out.length);
