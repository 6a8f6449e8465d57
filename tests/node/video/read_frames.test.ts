// Files written by the encoder and read back, in portions that do and do not divide their length.
import { afterAll, describe, expect, test } from "vitest";
import { InputError } from "../../../src/errors.ts";
import { createNodeFfmpeg } from "../../../src/video/ffmpeg_node.ts";
import type { FrameBatch } from "../../../src/video/frame_batch.ts";
import { readFrames, type ReadFramesOptions } from "../../../src/video/read_frames.ts";
import { createVideoEncoder } from "../../../src/video/video_encoder.ts";
import type { VideoFormat } from "../../../src/video/video_format.ts";
import { decode, psnr, syntheticFrames } from "./synthetic.ts";

const runtime = createNodeFfmpeg();
afterAll(() => runtime.dispose());

async function encode(format: VideoFormat, numFrames: number): Promise<Uint8Array> {
  const encoder = createVideoEncoder({ format, width: 64, height: 48, fps: 16, runtime, segmentFrames: 7 });
  await encoder.write(syntheticFrames(numFrames));
  return await encoder.finish();
}

async function collect(file: Uint8Array, options?: ReadFramesOptions): Promise<FrameBatch[]> {
  const batches: FrameBatch[] = [];
  for await (const batch of readFrames(runtime, file, options)) batches.push(batch);
  return batches;
}

describe.for([
  ["mp4", 38],
  ["webm", 40],
  ["gif", 26],
] as const)("readFrames() of %s", ([format, quality]) => {
  test("gives every frame once, whatever the portions", { timeout: 60_000 }, async () => {
    const file = await encode(format, 17);
    const whole = await collect(file);
    expect(whole).toMatchObject([{ width: 64, height: 48, numFrames: 17 }]);
    expect(psnr(whole[0]!.data, syntheticFrames(17).data)).toBeGreaterThan(quality);
    if (format !== "gif") expect(whole[0]!.data).toEqual(await decode(runtime, file));
    const parts = await collect(file, { portionFrames: 5 });
    expect(parts.map(({ numFrames }) => numFrames)).toEqual([5, 5, 5, 2]);
    expect(Buffer.concat(parts.map(({ data }) => data)).equals(whole[0]!.data)).toBe(true);
  });
});

test("readFrames() gives opaque frames", async () => {
  for (const format of ["mp4", "gif"] as const) {
    const [batch] = await collect(await encode(format, 3));
    expect(batch?.data.every((value, i) => i % 4 !== 3 || value === 255)).toBe(true);
  }
});

test("readFrames() refuses what holds no frames, and files cut short", async () => {
  await expect(collect(await encode("png", 3))).rejects.toThrow(/contact sheet: give an .mp4/);
  await expect(collect(new TextEncoder().encode("no video"))).rejects.toThrow(InputError);
  const file = await encode("webm", 17);
  await expect(collect(file.subarray(0, file.length / 2))).rejects.toThrow(InputError);
});

test("readFrames() stops at an abort", async () => {
  const file = await encode("mp4", 9);
  const controller = new AbortController();
  const frames = readFrames(runtime, file, { portionFrames: 3, signal: controller.signal });
  expect((await frames.next()).value).toMatchObject({ numFrames: 3 });
  controller.abort();
  await expect(frames.next()).rejects.toThrow(expect.objectContaining({ name: "AbortError" }));
});
