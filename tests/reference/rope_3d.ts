// Twin of shaders/rope_3d.wgsl: rotates adjacent pairs of every head by the angle of the token's frame, row, column.

/** Positions on the three axes, and the pairs of a head that turn with each. */
export interface RopeProblem {
  /** [frames * height * width, heads * 2 * (pairs[0] + pairs[1] + pairs[2])]. */
  readonly x: ArrayLike<number>;
  readonly size: readonly [number, number, number];
  readonly pairs: readonly [number, number, number];
  readonly heads: number;
  /** The angle of pair `pair` of an axis at a position on it. */
  readonly angle: (axis: number, position: number, pair: number) => number;
}

/** As x. */
export function rope3d({ x, size, pairs, heads, angle }: RopeProblem): Float64Array {
  const out = new Float64Array(x.length);
  let at = 0;
  for (let frame = 0; frame < size[0]; frame++) {
    for (let row = 0; row < size[1]; row++) {
      for (let column = 0; column < size[2]; column++) {
        for (let head = 0; head < heads; head++) {
          [frame, row, column].forEach((position, axis) => {
            for (let pair = 0; pair < pairs[axis]!; pair++) {
              const theta = angle(axis, position, pair);
              const [a, b] = [x[at]!, x[at + 1]!];
              out[at++] = a * Math.cos(theta) - b * Math.sin(theta);
              out[at++] = a * Math.sin(theta) + b * Math.cos(theta);
            }
          });
        }
      }
    }
  }
  return out;
}

/** (cos, sin) pairs in the order of the kernel's table: all of axis 0, of axis 1, of axis 2. */
export function ropeTable({ size, pairs, angle }: Omit<RopeProblem, "x" | "heads">): Float32Array {
  const values: number[] = [];
  for (let axis = 0; axis < 3; axis++)
    for (let position = 0; position < size[axis]!; position++)
      for (let pair = 0; pair < pairs[axis]!; pair++)
        values.push(Math.cos(angle(axis, position, pair)), Math.sin(angle(axis, position, pair)));
  return Float32Array.from(values);
}
