// What an encoder refuses, how it stops, how ffmpeg's failures read.
import { afterAll, describe, expect, test } from "vitest";
import { InputError } from "../../../src/errors.ts";
import { createNodeFfmpeg } from "../../../src/video/ffmpeg_node.ts";
import { probe } from "../../../src/video/inspect.ts";
import { createVideoEncoder, type VideoEncoderOptions } from "../../../src/video/video_encoder.ts";
import { formatOfFileName } from "../../../src/video/video_format.ts";
import { syntheticFrames } from "./synthetic.ts";

const runtime = createNodeFfmpeg();
afterAll(() => runtime.dispose());

const OPTIONS: VideoEncoderOptions = { format: "mp4", width: 64, height: 48, fps: 16, runtime };

describe("createVideoEncoder() refuses", () => {
  test.for([
    [{ format: "avi" as "mp4" }, /Unknown video format "avi": choose one of mp4, webm, gif, png/],
    [{ width: 63 }, /width is 63: it must be an even number/],
    [{ height: 0 }, /height is 0/],
    [{ width: Number.NaN }, /width is NaN/],
    [{ width: 1e6 }, /width is 1000000/],
    [{ fps: 0 }, /fps is 0: mp4 takes 0.1 to 240/],
    [{ fps: Number.NaN }, /fps is NaN/],
    [{ fps: 60, format: "gif" as const }, /fps is 60: gif takes 0.1 to 50/],
    [{ crf: 0 }, /crf is 0: mp4 takes whole numbers from 1 to 51/],
    [{ crf: 18.5 }, /crf is 18.5/],
    [{ crf: 64, format: "webm" as const }, /crf is 64: webm takes whole numbers from 0 to 63/],
    [{ crf: 20, format: "gif" as const }, /crf does not apply to gif/],
    [{ segmentFrames: 0 }, /segmentFrames is 0/],
  ] as const)("%o", ([change, message]) => {
    const create = () => createVideoEncoder({ ...OPTIONS, ...change });
    expect(create).toThrow(InputError);
    expect(create).toThrow(message);
  });

  test("frames of another size, wrong byte counts, and no frames at all", async () => {
    const encoder = createVideoEncoder(OPTIONS);
    await expect(encoder.write(syntheticFrames(1, 32, 48))).rejects.toThrow(
      /frames are 32x48: this video is 64x48/,
    );
    await expect(encoder.write({ ...syntheticFrames(1), numFrames: 2 })).rejects.toThrow(
      /12288 bytes.*24576 bytes/,
    );
    await encoder.write({ ...syntheticFrames(1), numFrames: 0, data: new Uint8Array() });
    await expect(encoder.finish()).rejects.toThrow(InputError);
  });

  test("to go on after finish()", async () => {
    const encoder = createVideoEncoder(OPTIONS);
    await encoder.write(syntheticFrames(1));
    await encoder.finish();
    await expect(encoder.write(syntheticFrames(1))).rejects.toThrow(/finished or failed/);
    await expect(encoder.finish()).rejects.toThrow(/finished or failed/);
  });
});

test("write() keeps no hold of the caller's frames", async () => {
  const encoder = createVideoEncoder({ ...OPTIONS, format: "png" });
  const frames = syntheticFrames(1);
  await encoder.write(frames);
  frames.data.fill(0);
  const file = await encoder.finish();
  const black = createVideoEncoder({ ...OPTIONS, format: "png" });
  await black.write(frames);
  expect(Buffer.compare(file, await black.finish())).not.toBe(0);
});

test("formatOfFileName() reads the ending", () => {
  expect(formatOfFileName("a/b.c/Ball.MP4")).toBe("mp4");
  expect(formatOfFileName("sheet.png")).toBe("png");
  for (const name of ["ball", "ball.avi", "mp4", "dir.mp4/ball"])
    expect(() => formatOfFileName(name)).toThrow(InputError);
});

describe("stopping", () => {
  /** About 10 s of work in one segment. */
  async function startLarge(signal: AbortSignal): Promise<Uint8Array> {
    const encoder = createVideoEncoder({ ...OPTIONS, format: "webm", width: 640, height: 480, crf: 4 });
    const frame = syntheticFrames(2, 640, 480);
    for (let i = 0; i < 12; i++) await encoder.write(frame, signal);
    return await encoder.finish(signal);
  }

  test("an abort in the middle rejects at once, and the runtime works again", async () => {
    await runtime.load();
    const controller = new AbortController();
    const result = startLarge(controller.signal).then(
      () => "finished",
      (error: unknown) => error,
    );
    await new Promise((resolve) => setTimeout(resolve, 700));
    const start = performance.now();
    controller.abort();
    expect(await result).toMatchObject({ name: "AbortError" });
    expect(performance.now() - start).toBeLessThan(1000);
    const encoder = createVideoEncoder(OPTIONS);
    await encoder.write(syntheticFrames(5));
    expect(probe(await encoder.finish()).frames).toBe(5);
  });

  test("an abort during load() and before a run is an AbortError, with the signal's own reason", async () => {
    const fresh = createNodeFfmpeg();
    const controller = new AbortController();
    const loading = fresh.load(controller.signal);
    await Promise.resolve();
    controller.abort(new DOMException("Ctrl-C", "AbortError"));
    await expect(loading).rejects.toThrow("Ctrl-C");
    await expect(fresh.run(["-version"], { signal: controller.signal })).rejects.toThrow("Ctrl-C");
    await fresh.load();
    fresh.dispose();
  });

  test("dispose() rejects what is running", async () => {
    const fresh = createNodeFfmpeg();
    const loading = fresh.load();
    await Promise.resolve();
    fresh.dispose();
    await expect(loading).rejects.toMatchObject({ name: "AbortError" });
  });
});

test("a failing ffmpeg says why in one line, and the next run works", async () => {
  await expect(runtime.run(["-i", "nothing.mp4", "x.mp4"])).rejects.toThrow(
    /^ffmpeg failed \(exit code 1\): nothing.mp4: No such file or directory$/,
  );
  await expect(runtime.run(["-f", "lavfi", "-i", "nosuchsource", "x.mp4"])).rejects.toThrow(/nosuchsource/);
  const args = ["-f", "lavfi", "-i", "color=size=32x16:duration=0.2", "x.gif"];
  expect(probe((await runtime.run(args, { outputs: ["x.gif"] }))[0]!).frames).toBe(5);
});

test("33 frames of 128x128 take less than two seconds of CPU time once ffmpeg is loaded", async () => {
  const fresh = createNodeFfmpeg();
  await fresh.load();
  const encoder = createVideoEncoder({ ...OPTIONS, width: 128, height: 128, runtime: fresh });
  const frames = syntheticFrames(33, 128, 128);
  const before = process.cpuUsage(); // of all threads: what else the machine does has no part in it
  await encoder.write(frames);
  await encoder.finish();
  const { user, system } = process.cpuUsage(before);
  fresh.dispose();
  const seconds = (user + system) / 1e6;
  console.info(`33 frames of 128x128: ${seconds.toFixed(2)} s of CPU time`);
  expect(seconds).toBeLessThan(2);
});
