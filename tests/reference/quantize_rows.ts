// Twin of shaders/quantize_rows.wgsl: rows as integers of -127 to 127 and one scale each.

/** Integers [rows, columns] and scales [rows]. */
export interface QuantizedMatrix {
  readonly integers: Int8Array;
  readonly scales: Float64Array;
}

/** Of x [rows, columns]. */
export function quantizeRows(x: ArrayLike<number>, columns: number): QuantizedMatrix {
  const rows = x.length / columns;
  const integers = new Int8Array(x.length);
  const scales = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    let largest = 0;
    for (let c = 0; c < columns; c++) largest = Math.max(largest, Math.abs(x[row * columns + c]!));
    const scale = Math.max(largest / 127, 2 ** -126);
    scales[row] = scale;
    for (let c = 0; c < columns; c++)
      integers[row * columns + c] = roundToEven(x[row * columns + c]! / scale);
  }
  return { integers, scales };
}

function roundToEven(value: number): number {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** The numbers that integers and scales stand for: as many equal shares of the integers, in order, as there are scales. */
export function dequantizeRows({ integers, scales }: QuantizedMatrix): Float64Array {
  const share = integers.length / scales.length;
  return Float64Array.from(integers, (value, i) => value * scales[Math.floor(i / share)]!);
}
