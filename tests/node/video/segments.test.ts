// Segments made apart, by workers that know nothing of each other, joined by a third.
import { afterAll, expect, test } from "vitest";
import { InputError } from "../../../src/errors.ts";
import { createNodeFfmpeg } from "../../../src/video/ffmpeg_node.ts";
import { probe, readMetadata } from "../../../src/video/inspect.ts";
import { encodeSegment, joinSegments, type VideoSegment } from "../../../src/video/segments.ts";
import { createVideoEncoder } from "../../../src/video/video_encoder.ts";
import { syntheticFrames } from "./synthetic.ts";

const runtimes = [createNodeFfmpeg(), createNodeFfmpeg(), createNodeFfmpeg()] as const;
afterAll(() => runtimes.forEach((runtime) => runtime.dispose()));

const SPEC = { width: 64, height: 48, fps: 16 };

test.for(["mp4", "webm", "gif", "png"] as const)(
  "joinSegments() makes the same %s of two workers' segments as one encoder",
  async (format) => {
    const spec = { ...SPEC, format };
    const metadata = { prompt: "a red ball" };
    const encoder = createVideoEncoder({ ...spec, metadata, runtime: runtimes[0], segmentFrames: 8 });
    await encoder.write(syntheticFrames(17));
    const expected = await encoder.finish();

    const segments = await Promise.all([
      encodeSegment(runtimes[1], spec, syntheticFrames(8)),
      encodeSegment(runtimes[2], spec, syntheticFrames(8, 64, 48, 8)),
      encodeSegment(runtimes[1], spec, syntheticFrames(1, 64, 48, 16)),
    ]);
    const file = await joinSegments(runtimes[0], spec, structuredClone(segments), { metadata });
    expect(Buffer.compare(file, expected)).toBe(0);
    expect(readMetadata(file)).toEqual(metadata);
  },
);

test("joinSegments() copies the segments' packets: none is encoded again", async () => {
  const spec = { ...SPEC, format: "mp4" } as const;
  const packets = async (file: Uint8Array): Promise<string[]> => {
    const lines: string[] = [];
    await runtimes[0].run(
      [
        "-i",
        "file",
        "-c",
        "copy",
        "-bsf:v",
        "h264_mp4toannexb,filter_units=pass_types=1-5",
        "-f",
        "framemd5",
        "-",
      ],
      {
        inputs: { file },
        onLog: (line, stream) =>
          stream === "stdout" && !line.startsWith("#") && lines.push(line.split(",").at(-1)!),
      },
    );
    return lines;
  };
  const a = await encodeSegment(runtimes[1], spec, syntheticFrames(5));
  const b = await encodeSegment(runtimes[2], spec, syntheticFrames(4, 64, 48, 5));
  const joined = await joinSegments(runtimes[0], spec, [a, b]);
  expect(await packets(joined)).toEqual([...(await packets(a.bytes)), ...(await packets(b.bytes))]);
});

test("joinSegments() refuses a segment of another size, codec or number of frames", async () => {
  const spec = { ...SPEC, format: "mp4" } as const;
  const good = await encodeSegment(runtimes[0], spec, syntheticFrames(2));
  const small = await encodeSegment(runtimes[0], { ...spec, width: 32 }, syntheticFrames(2, 32, 48));
  const vp9 = await encodeSegment(runtimes[0], { ...spec, format: "webm" }, syntheticFrames(2));
  const join = (...segments: VideoSegment[]) => joinSegments(runtimes[0], spec, segments);
  await expect(join(good, small)).rejects.toThrow(
    /^Segment 1 has 2 frames of h264 32x48: expected 2 frames of h264 64x48/,
  );
  await expect(join(vp9)).rejects.toThrow(/^Segment 0 has 2 frames of vp9/);
  await expect(join({ ...good, numFrames: 3 })).rejects.toThrow(/expected 3 frames/);
  await expect(join({ ...good, bytes: good.bytes.subarray(0, 300) })).rejects.toThrow(/truncated or damaged/);
  await expect(join()).rejects.toThrow(InputError);
});

test("encodeSegment() moves a buffer of its own and copies a part of a larger one", async () => {
  const spec = { ...SPEC, format: "mp4" } as const;
  const own = syntheticFrames(1);
  await encodeSegment(runtimes[0], spec, own);
  expect(own.data.length).toBe(0);
  const larger = syntheticFrames(2);
  await encodeSegment(runtimes[0], spec, {
    ...larger,
    numFrames: 1,
    data: larger.data.subarray(0, 64 * 48 * 4),
  });
  expect(larger.data.length).toBe(2 * 64 * 48 * 4);
});

test("progress counts the frames of all segments", async () => {
  const seen: number[] = [];
  const options = { ...SPEC, format: "mp4", runtime: runtimes[0], segmentFrames: 4 } as const;
  const encoder = createVideoEncoder({ ...options, onProgress: (done) => seen.push(done) });
  await encoder.write(syntheticFrames(9));
  await encoder.finish();
  expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  expect(seen).toEqual(expect.arrayContaining([4, 8, 9]));
});

test("60 segments in a row leave the runtime sound", async () => {
  for (let round = 0; round < 60; round++) {
    await encodeSegment(runtimes[0], { ...SPEC, format: round % 2 ? "webm" : "mp4" }, syntheticFrames(2));
  }
  const spec = { ...SPEC, format: "mp4" } as const;
  const file = await joinSegments(runtimes[0], spec, [
    await encodeSegment(runtimes[0], spec, syntheticFrames(2)),
  ]);
  expect(probe(file).frames).toBe(2);
});
