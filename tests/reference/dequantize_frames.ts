// Twin of shaders/dequantize_frames.wgsl: the numbers that integers and scales stand for.

import { dequantizeRows, type QuantizedMatrix } from "./quantize_rows.ts";

/** x [frames, numbers], with given frames at their places. */
export function dequantizeFrames(
  x: ArrayLike<number>,
  { places, frames }: { places: readonly number[]; frames: readonly QuantizedMatrix[] },
): Float64Array {
  const out = Float64Array.from(x);
  frames.forEach((frame, i) => out.set(dequantizeRows(frame), places[i]! * frame.integers.length));
  return out;
}
