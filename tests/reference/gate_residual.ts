// Twin of shaders/gate_residual.wgsl: residual + gate * x, the gate repeated for every row.

/** residual, x [rows, columns] in rows of gate's length. */
export function gateResidual(
  residual: ArrayLike<number>,
  x: ArrayLike<number>,
  gate: ArrayLike<number>,
): Float64Array {
  return Float64Array.from(residual, (value, i) => value + gate[i % gate.length]! * x[i]!);
}
