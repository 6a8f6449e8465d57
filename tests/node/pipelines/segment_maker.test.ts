// Segments of one video made apart and out of order, against one decoder and one encoder for all of it.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openOrtInNode } from "../../../src/onnx/ort_runtime_node.ts";
import { memoryFrames, taehvDecoderConfig, type TaehvConfigJson } from "../../../src/onnx/taehv_config.ts";
import { createTaehvDecoder, type TaehvDecoder } from "../../../src/onnx/taehv_decoder.ts";
import { sliceFrames } from "../../../src/parallel/latent_frames.ts";
import { decodeLatents, type Latents } from "../../../src/pipelines/decode_latents.ts";
import { createSegmentMaker, firstNeeded, type SegmentTask } from "../../../src/pipelines/segment_maker.ts";
import { segmentFrames, segmentRanges } from "../../../src/pipelines/video_segments.ts";
import { createNodeFfmpeg } from "../../../src/video/ffmpeg_node.ts";
import { probe } from "../../../src/video/inspect.ts";
import { joinSegments, type VideoSegment } from "../../../src/video/segments.ts";
import { createVideoEncoder } from "../../../src/video/video_encoder.ts";
import { memoryCheckpoint, randomTaehv } from "../../reference/random_taehv.ts";
import { normalNumbers } from "../../reference/random_wan.ts";

const ort = await openOrtInNode({ provider: "wasm", numThreads: 2 });
const CHECKPOINT = memoryCheckpoint(
  randomTaehv({ latentChannels: 3, widths: [5, 4, 3, 2], groups: [1, 2, 2], patchSize: 1 }),
);
const FRAMES = 35;
const SHAPE = [3, FRAMES, 2, 4] as const;
const LATENTS: Latents = {
  data: normalNumbers(3 * FRAMES * 2 * 4, 4),
  shape: SHAPE,
};
const SPEC = { width: 32, height: 16, fps: 16 };

function openDecoder(config?: TaehvConfigJson): Promise<TaehvDecoder> {
  return createTaehvDecoder({ checkpoint: CHECKPOINT, config, ort, latentHeight: 2, latentWidth: 4 });
}

function part(start: number, end: number): Latents {
  const data = sliceFrames(LATENTS.data, SHAPE, { start, end });
  return { data, shape: [SHAPE[0], end - start, SHAPE[2], SHAPE[3]] };
}

describe("how far a decoder's memories reach back", () => {
  const growth: [string, TaehvConfigJson, number][] = [
    ["four frames a latent frame", {}, 8],
    ["one", { decoder_time_upscale: [false, false], frames_to_trim: 0 }, 9],
    ["two, at the end", { decoder_time_upscale: [false, false, true] }, 9],
    ["two, early", { decoder_time_upscale: [false, true, false] }, 8],
  ];
  test.each(growth)("%s", async (_, json, expected) => {
    const reach = memoryFrames(taehvDecoderConfig(CHECKPOINT, json));
    expect(reach).toBe(expected);
    const [whole, late] = [await openDecoder(json), await openDecoder(json)];
    const memoriesAfter = async (decoder: TaehvDecoder, first: number): Promise<string> => {
      await decoder.reset(first);
      for await (const _batch of framesFrom(decoder, first, 12)) continue;
      return JSON.stringify((await decoder.readState()).memories.map((memory) => [...memory]));
    };
    const known = await memoriesAfter(whole, 0);
    expect(await memoriesAfter(late, 12 - reach)).toBe(known);
    expect(await memoriesAfter(late, 12 - reach + 1)).not.toBe(known);
    await Promise.all([whole.dispose(), late.dispose()]);
  });

  async function* framesFrom(decoder: TaehvDecoder, start: number, end: number): AsyncGenerator<unknown> {
    for (let frame = start; frame < end; frame++) yield await decoder.decode(part(frame, frame + 1).data);
  }
});

describe("a video's segments", () => {
  test("of trained length are one; longer ones are cut evenly, in sizes that memory holds", () => {
    const cut = (frames: number, width = 128, height = 128): number[] =>
      segmentRanges(frames, { width, height }).map(({ start, end }) => end - start);
    expect([cut(5), cut(9), cut(13), cut(16)]).toEqual([[5], [9], [13], [16]]);
    expect(cut(33)).toEqual([11, 11, 11]);
    expect(cut(577)).toHaveLength(37);
    expect(cut(577).reduce((a, b) => a + b)).toBe(577);
    expect(cut(21, 832, 480)).toEqual([7, 7, 7]);
    expect(cut(3, 16384, 16384)).toEqual([1, 1, 1]);
  });

  test("hold all frames", () => {
    const ranges = segmentRanges(FRAMES, SPEC);
    expect(ranges.map(segmentFrames).reduce((a, b) => a + b)).toBe(4 * (FRAMES - 1) + 1);
  });
});

describe("segments made apart", () => {
  const ffmpegs = [createNodeFfmpeg(), createNodeFfmpeg(), createNodeFfmpeg()] as const;
  const decoders: TaehvDecoder[] = [];
  const ranges = segmentRanges(FRAMES, SPEC);
  beforeAll(async () => {
    for (let i = 0; i < 3; i++) decoders.push(await openDecoder());
  });
  afterAll(async () => {
    for (const ffmpeg of ffmpegs) ffmpeg.dispose();
    for (const decoder of decoders) await decoder.dispose();
  });

  function taskOf(index: number): SegmentTask {
    const range = ranges[index]!;
    const from = firstNeeded(range.start, decoders[0]!.config);
    return { range, from, latents: part(from, range.end) };
  }

  test.each(["mp4", "webm", "gif", "png"] as const)("give the same %s, byte for byte", async (format) => {
    const spec = { ...SPEC, format };
    const metadata = { prompt: "noise" };
    const encoder = createVideoEncoder({
      ...spec,
      metadata,
      runtime: ffmpegs[0],
      segmentFrames: ranges.map(segmentFrames),
    });
    for await (const batch of decodeLatents(decoders[0]!, LATENTS)) await encoder.write(batch);
    const expected = await encoder.finish();

    const [one, other] = [1, 2].map((i) => createSegmentMaker(decoders[i]!, ffmpegs[i]!, spec));
    const last = other!.make(taskOf(2));
    const first = one!.make(taskOf(1)).then(() => one!.make(taskOf(0)));
    const middle = one!.make(taskOf(1));
    const segments: VideoSegment[] = structuredClone(await Promise.all([first, middle, last]));
    const file = await joinSegments(ffmpegs[0], spec, segments, { metadata });
    expect(Buffer.compare(file, expected)).toBe(0);
    if (format !== "png") expect(probe(file).frames).toBe(4 * (FRAMES - 1) + 1);
  });

  test("go on without filling memories where the segment before has ended", async () => {
    const spec = { ...SPEC, format: "png" } as const;
    const maker = createSegmentMaker(decoders[1]!, ffmpegs[1], spec);
    const decoded = async (index: number): Promise<number> => {
      let frames = 0;
      await maker.make(taskOf(index), { onProgress: () => frames++ });
      return frames - 1; // the last one is the encoding's
    };
    expect([await decoded(1), await decoded(2), await decoded(1)]).toEqual([8 + 12, 12, 8 + 12]);
  });

  test("need the latents in front of them", async () => {
    const maker = createSegmentMaker(decoders[1]!, ffmpegs[1], { ...SPEC, format: "png" });
    const range = ranges[1]!;
    const task = { range, from: range.start, latents: part(range.start, range.end) };
    await expect(maker.make(task)).rejects.toThrow("needs latent frames from 3, not from 11");
    await expect(maker.make(taskOf(0), { signal: AbortSignal.abort() })).rejects.toThrow(
      expect.objectContaining({ name: "AbortError" }),
    );
  });
});
