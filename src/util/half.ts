// 16-bit floats as bit patterns: IEEE binary16 ("f16") and bfloat16 ("bf16") to and from f32, one by one and in bulk.
// Rounding is to nearest, ties to even; subnormals, infinities and NaN are kept. No typed array of halfs is assumed.

const SCRATCH_F32 = new Float32Array(1);
const SCRATCH_BITS = new Uint32Array(SCRATCH_F32.buffer);

/** Largest finite f16. Anything from 65520 up rounds to infinity. */
export const F16_MAX = 65504;

/** The f16 bits nearest to `value` (ties to even); infinity above the f16 range. */
export function f16FromF32(value: number): number {
  SCRATCH_F32[0] = value;
  return f16FromF32Bits(SCRATCH_BITS[0] ?? 0);
}

/** The value of f16 `bits`; exact. */
export function f32FromF16(bits: number): number {
  return f16Table()[bits & 0xffff] ?? Number.NaN;
}

/** The value of bf16 `bits`; exact. */
export function f32FromBf16(bits: number): number {
  SCRATCH_BITS[0] = (bits & 0xffff) << 16;
  return SCRATCH_F32[0] ?? Number.NaN;
}

/** f16 bits of every element, rounded to nearest even. */
export function f16ArrayFromF32(values: Float32Array): Uint16Array<ArrayBuffer> {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < out.length; i++) out[i] = f16FromF32Bits(bits[i] ?? 0);
  return out;
}

/** The values of f16 bits; exact. */
export function f32ArrayFromF16(bits: Uint16Array): Float32Array<ArrayBuffer> {
  const table = f16Table();
  const out = new Float32Array(bits.length);
  for (let i = 0; i < out.length; i++) out[i] = table[bits[i] ?? 0] ?? 0;
  return out;
}

/** The values of bf16 bits; exact. */
export function f32ArrayFromBf16(bits: Uint16Array): Float32Array<ArrayBuffer> {
  const out = new Float32Array(bits.length);
  const outBits = new Uint32Array(out.buffer);
  for (let i = 0; i < outBits.length; i++) outBits[i] = (bits[i] ?? 0) << 16;
  return out;
}

/** Index of the first infinity or NaN among f16 bits; -1 when all are finite. */
export function indexOfNonFiniteF16(bits: Uint16Array): number {
  for (let i = 0; i < bits.length; i++) if (((bits[i] ?? 0) & 0x7c00) === 0x7c00) return i;
  return -1;
}

/** Index of the first infinity or NaN; -1 when all are finite. Looks at the bits, so no value is canonicalised. */
export function indexOfNonFiniteF32(values: Float32Array): number {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < bits.length; i++) if (((bits[i] ?? 0) & 0x7f800000) === 0x7f800000) return i;
  return -1;
}

function f16FromF32Bits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude >= 0x7f800000) return sign | (magnitude > 0x7f800000 ? 0x7e00 : 0x7c00);
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // 65520, half a step above F16_MAX
  if (magnitude >= 0x38800000) {
    // Normal: re-bias the exponent by 127 - 15 and round 23 mantissa bits to 10; a carry may reach the exponent.
    return sign | ((magnitude + 0xfff + ((magnitude >>> 13) & 1) - 0x38000000) >>> 13);
  }
  if (magnitude < 0x33000000) return sign; // below 2^-25: nearer to 0 than to the least subnormal, 2^-24
  const shift = 126 - (magnitude >>> 23);
  const mantissa = (magnitude & 0x7fffff) | 0x800000;
  const truncated = mantissa >>> shift;
  const remainder = mantissa & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  const roundUp = remainder > half || (remainder === half && (truncated & 1) === 1);
  return sign | (truncated + (roundUp ? 1 : 0));
}

let table: Float32Array | undefined;

/** All 65,536 f16 values (256 KB), made at first use: a lookup beats bit arithmetic about threefold. */
function f16Table(): Float32Array {
  if (table === undefined) {
    table = new Float32Array(65536);
    for (let bits = 0; bits < 65536; bits++) table[bits] = decodeF16(bits);
  }
  return table;
}

function decodeF16(bits: number): number {
  const sign = (bits & 0x8000) === 0 ? 1 : -1;
  const exponent = (bits >>> 10) & 0x1f;
  const mantissa = bits & 0x3ff;
  if (exponent === 0x1f) return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  return sign * (1024 + mantissa) * 2 ** (exponent - 25);
}
