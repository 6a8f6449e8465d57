// Every format: encode, read the file back with ffmpeg, compare with what went in.
import { afterAll, describe, expect, test } from "vitest";
import { contactSheet } from "../../../src/video/contact_sheet.ts";
import { createNodeFfmpeg } from "../../../src/video/ffmpeg_node.ts";
import { probe } from "../../../src/video/inspect.ts";
import { createVideoEncoder, type VideoEncoderOptions } from "../../../src/video/video_encoder.ts";
import { decode, packetTimes, psnr, syntheticFrames } from "./synthetic.ts";

const runtime = createNodeFfmpeg();
afterAll(() => runtime.dispose());

const [WIDTH, HEIGHT] = [64, 48];

/** Writes synthetic frames `batch` at a time. */
async function encode(
  numFrames: number,
  batch: number,
  options: Partial<VideoEncoderOptions>,
): Promise<Uint8Array> {
  const encoder = createVideoEncoder({
    format: "mp4",
    width: WIDTH,
    height: HEIGHT,
    fps: 16,
    runtime,
    ...options,
  });
  for (let first = 0; first < numFrames; first += batch) {
    await encoder.write(syntheticFrames(Math.min(batch, numFrames - first), WIDTH, HEIGHT, first));
  }
  return await encoder.finish();
}

/** [frames, frames per segment, frames per batch]: one segment, exact multiples, a rest of one, batches across. */
const CASES = [
  [1, 64, 1],
  [5, 4, 4],
  [17, 8, 5],
  [17, 1, 4],
  [33, 64, 4],
  [33, 4, 4],
  [65, 13, 9],
  [65, 21, 65],
] as const;

describe.for([
  { format: "mp4", codec: "h264", clock: 1e-9, quality: 38 },
  { format: "webm", codec: "vp9", clock: 0.5e-3, quality: 40 }, // WebM counts whole milliseconds
  { format: "gif", codec: "gif", clock: 5e-3, quality: 26 }, // and GIF hundredths of a second, of 256 colours
] as const)("createVideoEncoder() for $format", ({ format, codec, clock, quality }) => {
  test.for(CASES)(
    "writes %i frames, equally spaced, in segments of %i",
    async ([numFrames, segmentFrames, batch]) => {
      const file = await encode(numFrames, batch, { format, segmentFrames });

      const info = probe(file);
      expect(info).toMatchObject({
        container: format,
        codec,
        width: WIDTH,
        height: HEIGHT,
        frames: numFrames,
      });
      const isStill = format === "gif" && numFrames === 1; // such a GIF has no delay
      expect(Math.abs(info.duration! - (isStill ? 0 : numFrames / 16))).toBeLessThanOrEqual(2 * clock);

      const { shown, decoded } = await packetTimes(runtime, file);
      expect(shown.length).toBe(numFrames);
      const worst = Math.max(...shown.map((time, i) => Math.abs(time - i / 16)));
      expect(worst).toBeLessThanOrEqual(clock * 1.001);
      const steps = decoded.slice(1).map((time, i) => time - decoded[i]!);
      for (const step of steps) expect(Math.abs(step - 1 / 16)).toBeLessThanOrEqual(2 * clock);

      const frames = await decode(runtime, file);
      expect(psnr(frames, syntheticFrames(numFrames, WIDTH, HEIGHT).data)).toBeGreaterThan(quality);
    },
  );
});

describe("createVideoEncoder() for mp4 and webm", () => {
  test.for([12.5, 24, 29.97, 60])(
    "keeps %f frames per second without drift over 24 segments",
    async (fps) => {
      for (const format of ["mp4", "webm"] as const) {
        const file = await encode(48, 48, { format, fps, segmentFrames: 2 });
        expect(probe(file).fps).toBe(fps);
        const { shown } = await packetTimes(runtime, file);
        const worst = Math.max(...shown.map((time, i) => Math.abs(time - i / fps)));
        expect(worst).toBeLessThanOrEqual(format === "mp4" ? 1e-9 : 0.5001e-3);
      }
    },
  );

  test("a lower crf gives a larger and closer file", async () => {
    const reference = syntheticFrames(5, WIDTH, HEIGHT).data;
    for (const format of ["mp4", "webm"] as const) {
      const [fine, coarse] = [
        await encode(5, 5, { format, crf: 4 }),
        await encode(5, 5, { format, crf: 45 }),
      ];
      expect(fine.length).toBeGreaterThan(1.5 * coarse.length);
      const gain =
        psnr(await decode(runtime, fine), reference) - psnr(await decode(runtime, coarse), reference);
      expect(gain).toBeGreaterThan(5);
    }
  });

  test("the mp4 says that it is BT.709 in limited range, and its index comes first", async () => {
    const file = await encode(5, 5, {});
    const lines: string[] = [];
    const options = { inputs: { file }, onLog: (line: string) => lines.push(line) };
    await runtime.run(["-loglevel", "info", "-i", "file", "-f", "null", "-"], options);
    expect(lines.join("\n")).toMatch(/Video: h264 \(High\).*yuv420p\(tv, bt709, progressive\), 64x48/);
    const text = Buffer.from(file).toString("latin1");
    expect(text.indexOf("moov")).toBeLessThan(text.indexOf("mdat"));
  });

  test("equal input gives equal bytes", async () => {
    for (const format of ["mp4", "webm", "gif", "png"] as const) {
      const again = () => encode(9, 4, { format, segmentFrames: 4, metadata: { seed: 1 } });
      expect(await again()).toEqual(await again());
    }
  });
});

describe("createVideoEncoder() for png", () => {
  test.for([
    [1, 1, 1],
    [5, 5, 1],
    [13, 4, 3],
    [33, 4, 4],
  ] as const)("tiles %i frames in %i columns and %i rows", async ([numFrames, columns, rows]) => {
    const file = await encode(numFrames, 4, { format: "png", segmentFrames: 8 });
    const width = columns * WIDTH + (columns - 1) * 2;
    const height = rows * HEIGHT + (rows - 1) * 2;
    expect(probe(file)).toMatchObject({ container: "png", width, height, frames: 1, fps: null });
    const sheet = await decode(runtime, file);
    for (const [tile, frame] of contactSheet(numFrames).frames.entries()) {
      const { data } = syntheticFrames(1, WIDTH, HEIGHT, frame);
      for (let y = 0; y < HEIGHT; y++) {
        const at =
          ((Math.floor(tile / columns) * (HEIGHT + 2) + y) * width + (tile % columns) * (WIDTH + 2)) * 4;
        const row = data.subarray(y * WIDTH * 4, (y + 1) * WIDTH * 4);
        expect(Buffer.compare(sheet.subarray(at, at + WIDTH * 4), row)).toBe(0); // lossless
      }
    }
  });
});
