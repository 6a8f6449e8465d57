// Exact rewrites of convolution weights, done once when a graph is built: fold a 1x1 into the 3x3 after it, and
// fold a nearest x2 upsampling into the 3x3 after it. Sums run in f64, so the fold adds no error of its own.

/** A convolution's weight, [out, in, kernel height, kernel width]. */
export interface ConvWeight {
  readonly shape: readonly [number, number, number, number];
  readonly data: Float32Array;
}

/**
 * TGrow's 1x1 [groups x C, C] and the 3x3 [D, C] that follows on each group's frame, as one 3x3 [factor x D, C]:
 * output channel group t is frame t. With fewer frames wanted than groups stored, the last groups count, as in
 * TAEHV's `patch_tgrow_layers`. Exact, zero padding included, because neither has a bias.
 */
export function foldTimeGrowth(pointwise: ConvWeight, spatial: ConvWeight, factor: number): ConvWeight {
  const [growth, inner] = pointwise.shape;
  const [out] = spatial.shape;
  const skipped = growth - factor * inner;
  const data = new Float32Array(factor * out * inner * 9);
  const sums = new Float64Array(inner * 9);
  for (let t = 0; t < factor; t++)
    for (let o = 0; o < out; o++) {
      sums.fill(0);
      for (let m = 0; m < inner; m++)
        for (let c = 0; c < inner; c++) {
          const mix = pointwise.data[(skipped + t * inner + m) * inner + c] ?? 0;
          for (let k = 0; k < 9; k++)
            sums[c * 9 + k] = (sums[c * 9 + k] ?? 0) + mix * (spatial.data[(o * inner + m) * 9 + k] ?? 0);
        }
      data.set(sums, (t * out + o) * inner * 9);
    }
  return { shape: [factor * out, inner, 3, 3], data };
}

/**
 * The 3x3 that follows a nearest x2 upsampling, as four 2x2 kernels on the small image: kernel 2 a + b gives the
 * output pixels (2 y + a, 2 x + b) and reads rows y - 1 + a and y + a, columns x - 1 + b and x + b.
 */
export function foldUpsample(weight: ConvWeight): ConvWeight[] {
  const [out, inner] = weight.shape;
  return [0, 1, 2, 3].map((phase) => {
    const [down, right] = [phase >> 1, phase & 1];
    const data = new Float32Array(out * inner * 4);
    for (let plane = 0; plane < out * inner; plane++)
      for (let ky = 0; ky < 3; ky++)
        for (let kx = 0; kx < 3; kx++) {
          // Tap k of phase a lands on small row y + floor((a + k - 1) / 2); the kernel's first row is y - 1 + a.
          const row = (down + ky + 1) >> 1;
          const column = (right + kx + 1) >> 1;
          const at = plane * 4 + (row - down) * 2 + (column - right);
          data[at] = (data[at] ?? 0) + (weight.data[plane * 9 + ky * 3 + kx] ?? 0);
        }
    return { shape: [out, inner, 2, 2], data };
  });
}
