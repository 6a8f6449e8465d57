// Twin of shaders/quantize_frames.wgsl: frames as integers of -127 to 127 with a scale for every group of neighbours.

import { type QuantizedMatrix, quantizeRows } from "./quantize_rows.ts";

/** Of x, frames of `numbers` each, those at some places: a group is a row of their own. */
export function quantizeFrames(
  x: Float32Array,
  { places, numbers, group }: { places: readonly number[]; numbers: number; group: number },
): QuantizedMatrix[] {
  return places.map((place) => quantizeRows(x.subarray(place * numbers, (place + 1) * numbers), group));
}

/** Frames in words: of each first the scales, then the integers. */
export function wordsOfFrames(frames: readonly QuantizedMatrix[]): Uint32Array {
  return Uint32Array.from(
    frames.flatMap(({ scales, integers }) => [
      ...new Uint32Array(Float32Array.from(scales).buffer),
      ...new Uint32Array(integers.slice().buffer),
    ]),
  );
}

/** What `wordsOfFrames` made words of. */
export function framesOfWords(
  words: Uint32Array,
  { frames, group }: { frames: number; group: number },
): QuantizedMatrix[] {
  const perFrame = words.length / frames;
  const numScales = perFrame / (1 + group / 4);
  return Array.from({ length: frames }, (_, frame) => {
    const own = words.slice(frame * perFrame, (frame + 1) * perFrame);
    const scales = Float64Array.from(new Float32Array(own.buffer, 0, numScales));
    return { scales, integers: new Int8Array(own.buffer, 4 * numScales) };
  });
}
