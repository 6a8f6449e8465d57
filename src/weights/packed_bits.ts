// Integers of 1 to 8 bits in one little-endian stream, lowest bits first: how MLX packs quantised weights into U32 words
// (https://github.com/ml-explore/mlx, quantized matmul). A row of whole groups fills whole words, so rows can be cut out.

/** One byte per integer. 8 bits are returned as they are, not copied. */
export function unpackBits(packed: Uint8Array, bits: number): Uint8Array {
  if (bits === 8) return packed;
  const out = new Uint8Array(Math.floor((packed.byteLength * 8) / bits));
  const mask = 2 ** bits - 1;
  let next = 0;
  let buffer = 0;
  let held = 0;
  for (let i = 0; i < out.length; i++) {
    if (held < bits) {
      buffer |= (packed[next++] ?? 0) << held;
      held += 8;
    }
    out[i] = buffer & mask;
    buffer >>>= bits;
    held -= bits;
  }
  return out;
}

/** The reverse; integers must be below 2^bits. The last byte is filled up with zeros. */
export function packBits(integers: Uint8Array, bits: number): Uint8Array {
  if (bits === 8) return integers;
  const out = new Uint8Array(Math.ceil((integers.length * bits) / 8));
  let next = 0;
  let buffer = 0;
  let held = 0;
  for (const integer of integers) {
    buffer |= integer << held;
    held += bits;
    if (held < 8) continue;
    out[next++] = buffer & 0xff;
    buffer >>>= 8;
    held -= 8;
  }
  if (held > 0) out[next] = buffer;
  return out;
}
