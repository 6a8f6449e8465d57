// Rows of frames as int8 in arrays: how they travel from clip to clip when int8 is asked for. Of every frame there are
// first the scales, f32, one for each group of neighbours in a row, then the integers of -127 to 127. On WebGPU
// travelling_rows.ts makes and reads the very same.

/** How numbers are laid out. */
export interface Int8Layout {
  readonly frames: number;
  /** Neighbours that share a scale, a multiple of 4. */
  readonly group: number;
}

/** Bytes that so many numbers take. */
export function int8Bytes(numbers: number, group: number): number {
  return numbers + (4 * numbers) / group;
}

/** Rounds numbers, [frames, numbers of a frame]: each is at most half a step of 1/127 of its group's greatest off. */
export function int8FromFrames(values: Float32Array, { frames, group }: Int8Layout): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(int8Bytes(values.length, group));
  const numbers = values.length / frames;
  for (let frame = 0; frame < frames; frame++) {
    const { scales, integers } = frameOf(bytes, { frame, numbers, group });
    roundGroups(values.subarray(frame * numbers, (frame + 1) * numbers), scales, integers);
  }
  return bytes;
}

/** The numbers that `int8FromFrames` rounded. */
export function framesFromInt8(bytes: Uint8Array, { frames, group }: Int8Layout): Float32Array<ArrayBuffer> {
  const numbers = bytes.byteLength / frames / int8Bytes(1, group);
  const values = new Float32Array(frames * numbers);
  for (let frame = 0; frame < frames; frame++) {
    const { scales, integers } = frameOf(bytes, { frame, numbers, group });
    const start = frame * numbers;
    for (let i = 0; i < numbers; i++)
      values[start + i] = (integers[i] ?? 0) * (scales[Math.floor(i / group)] ?? 0);
  }
  return values;
}

/** Scales and integers of a frame. */
function frameOf(
  { buffer, byteOffset }: Uint8Array,
  { frame, numbers, group }: { readonly frame: number; readonly numbers: number; readonly group: number },
): { readonly scales: Float32Array; readonly integers: Int8Array } {
  const start = byteOffset + frame * int8Bytes(numbers, group);
  const scales = new Float32Array(buffer, start, numbers / group);
  return { scales, integers: new Int8Array(buffer, start + scales.byteLength, numbers) };
}

function roundGroups(values: Float32Array, scales: Float32Array, integers: Int8Array): void {
  const group = values.length / scales.length;
  for (let n = 0; n < scales.length; n++) {
    const start = n * group;
    let greatest = 0;
    for (let i = start; i < start + group; i++) greatest = Math.max(greatest, Math.abs(values[i] ?? 0));
    scales[n] = greatest / 127;
    const perStep = greatest === 0 ? 0 : 127 / greatest;
    for (let i = start; i < start + group; i++) integers[i] = Math.round((values[i] ?? 0) * perStep);
  }
}
