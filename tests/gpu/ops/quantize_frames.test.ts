import { expect, test } from "vitest";
import { readBuffer } from "../../../src/gpu/readback.ts";
import { Recorder } from "../../../src/gpu/recorder.ts";
import {
  type Int8Frames,
  quantizeFrames,
  type QuantizeFramesOptions,
} from "../../../src/ops/quantize_frames.ts";
import { binding, freeTensor } from "../../../src/tensor/tensor.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { framesOfWords, quantizeFrames as twin } from "../../reference/quantize_frames.ts";
import type { QuantizedMatrix } from "../../reference/quantize_rows.ts";
import { FLOAT_TYPES, useGpu } from "../device.ts";
import { type Operand, withOperands } from "./run_op.ts";

const gpu = useGpu();

/** Of five frames two runs. */
const PLACES = [0, 3, 4];

/** Fewer fours in a group than threads; more, and frames that share workgroups with others and leave some of one idle. */
const SHAPES = [
  { tokensPerFrame: 3, columns: 24, group: 12 },
  { tokensPerFrame: 7, columns: 264, group: 88 },
] as const;

const WORKGROUPS: readonly QuantizeFramesOptions[] = [
  {},
  { workgroup: { lanes: 8, groups: 32 } },
  { workgroup: { lanes: 2, groups: 4 } },
];

async function quantized(
  { tensor }: Operand,
  frames: Int8Frames,
  options: QuantizeFramesOptions,
): Promise<QuantizedMatrix[]> {
  const recorder = new Recorder(gpu(), "test");
  const out = quantizeFrames(recorder, tensor, frames, options);
  recorder.keep(out.buffer);
  await recorder.submit();
  const { buffer, offset } = binding(out);
  const size = 4 * out.shape[0]! * out.shape[1]!;
  const words = new Uint32Array(await readBuffer(gpu(), { buffer, offset, size }));
  freeTensor(gpu(), out);
  return framesOfWords(words, { frames: frames.places.length, group: frames.group });
}

for (const dtype of FLOAT_TYPES) {
  test.each(SHAPES)(
    `quantize_frames agrees with its twin, ${dtype}, $tokensPerFrame rows of $columns in groups of $group`,
    async ({ tokensPerFrame, columns, group }) => {
      await withOperands(gpu(), async (operands) => {
        const x = operands.random([5 * tokensPerFrame, columns], { dtype });
        const want = twin(x.values, { places: PLACES, numbers: tokensPerFrame * columns, group });
        for (const options of WORKGROUPS) {
          const got = await quantized(x, { places: PLACES, tokensPerFrame, group }, options);
          want.forEach(({ scales, integers }, frame) => {
            expect(relativeL2(got[frame]!.scales, scales)).toBeLessThan(1e-6);
            // A quotient within 1e-6 of a half may be rounded either way.
            const off = got[frame]!.integers.map((value, i) => Math.abs(value - integers[i]!));
            expect(off.filter((by) => by > 0).length).toBeLessThanOrEqual(1);
            expect(Math.max(...off)).toBeLessThanOrEqual(1);
          });
        }
      });
    },
  );
}

test("a group of zeros is zeros, and does not touch its neighbours", async () => {
  await withOperands(gpu(), async (operands) => {
    const x = operands.of([1, 8], Float32Array.of(0, 0, 0, 0, 0.5, 0.26, -0.5, 0));
    const [frame] = await quantized(x, { places: [0], tokensPerFrame: 1, group: 4 }, {});
    expect([...frame!.integers]).toEqual([0, 0, 0, 0, 127, 66, -127, 0]);
    expect(frame!.scales[0]).toBeGreaterThan(0);
  });
});

test("quantize_frames refuses frames that are not there, and groups that do not divide rows", async () => {
  await withOperands(gpu(), async (operands) => {
    const recorder = new Recorder(gpu(), "test");
    const { tensor } = operands.random([6, 24]);
    const frames = { places: [0, 2], tokensPerFrame: 2, group: 12 };
    for (const wrong of [{ places: [0, 3] }, { group: 16 }, { group: 6 }]) {
      expect(() => quantizeFrames(recorder, tensor, { ...frames, ...wrong })).toThrow(
        "must be in it, and rows be whole groups",
      );
    }
  });
});
