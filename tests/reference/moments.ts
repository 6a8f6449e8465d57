// Twin of shaders/moments.wgsl: sums of the elements and of their squares, elements dealt out to chunks in turn.

/** [chunks, 2]. */
export function moments(x: ArrayLike<number>, chunks: number): Float64Array {
  const out = new Float64Array(2 * chunks);
  for (let i = 0; i < x.length; i++) {
    out[2 * (i % chunks)]! += x[i]!;
    out[2 * (i % chunks) + 1]! += x[i]! ** 2;
  }
  return out;
}
