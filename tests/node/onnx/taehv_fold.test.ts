import { expect, test } from "vitest";
import { foldTimeGrowth, foldUpsample, type ConvWeight } from "../../../src/onnx/taehv_fold.ts";

const weight = (...shape: [number, number, number, number]): ConvWeight => ({
  shape,
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => Math.sin(i * 1.7 + shape[0])),
});

test("a folded growth maps one pixel of each channel as the 1x1 and the 3x3 do in turn", () => {
  const [pointwise, spatial] = [weight(6, 3, 1, 1), weight(4, 3, 3, 3)];
  const folded = foldTimeGrowth(pointwise, spatial, 2);
  expect(folded.shape).toEqual([8, 3, 3, 3]);
  for (let t = 0; t < 2; t++)
    for (let o = 0; o < 4; o++)
      for (let c = 0; c < 3; c++)
        for (let k = 0; k < 9; k++) {
          let sum = 0;
          for (let m = 0; m < 3; m++)
            sum += pointwise.data[(t * 3 + m) * 3 + c]! * spatial.data[(o * 3 + m) * 9 + k]!;
          expect(folded.data[((t * 4 + o) * 3 + c) * 9 + k]).toBeCloseTo(sum, 6);
        }
});

test("with fewer frames wanted than stored, the last group of channels counts", () => {
  const [pointwise, spatial] = [weight(6, 3, 1, 1), weight(4, 3, 3, 3)];
  const both = foldTimeGrowth(pointwise, spatial, 2);
  const last = foldTimeGrowth(pointwise, spatial, 1);
  expect(last.shape).toEqual([4, 3, 3, 3]);
  expect(last.data).toEqual(both.data.slice(4 * 3 * 9));
});

test("the four phase kernels give what a 3x3 gives on the enlarged image", () => {
  const kernel = weight(1, 1, 3, 3);
  const [height, width] = [3, 4];
  const small = Array.from({ length: height * width }, (_, i) => Math.cos(i * 2.3));
  const at = (row: number, column: number): number =>
    row < 0 || column < 0 || row >= height || column >= width ? 0 : small[row * width + column]!;
  const phases = foldUpsample(kernel);
  for (let row = 0; row < 2 * height; row++)
    for (let column = 0; column < 2 * width; column++) {
      let expected = 0;
      for (let ky = 0; ky < 3; ky++)
        for (let kx = 0; kx < 3; kx++)
          expected +=
            kernel.data[ky * 3 + kx]! * at(Math.floor((row + ky - 1) / 2), Math.floor((column + kx - 1) / 2));
      const [a, b] = [row % 2, column % 2];
      const phase = phases[2 * a + b]!.data;
      let folded = 0;
      for (let ky = 0; ky < 2; ky++)
        for (let kx = 0; kx < 2; kx++)
          folded += phase[ky * 2 + kx]! * at((row >> 1) - 1 + a + ky, (column >> 1) - 1 + b + kx);
      expect(folded).toBeCloseTo(expected, 5);
    }
});
