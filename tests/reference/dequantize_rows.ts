// Twin of shaders/dequantize_rows.wgsl: the numbers that integers and scales stand for.

import type { QuantizedMatrix } from "./quantize_rows.ts";

/** As many equal shares of the integers, in order, as there are scales. */
export function dequantizeRows({ integers, scales }: QuantizedMatrix): Float64Array {
  const share = integers.length / scales.length;
  return Float64Array.from(integers, (value, i) => value * scales[Math.floor(i / share)]!);
}
