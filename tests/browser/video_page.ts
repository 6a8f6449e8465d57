// The page of video.test.ts: encodes synthetic frames with the browser's runtime. Not a test.
import { createBrowserFfmpeg } from "../../src/video/ffmpeg_browser.ts";
import { createVideoEncoder } from "../../src/video/video_encoder.ts";
import type { VideoFormat } from "../../src/video/video_format.ts";
import { syntheticFrames } from "../node/video/synthetic.ts";

/** What the test calls through page.evaluate. */
export interface VideoPage {
  /** 9 frames of 64x48 in segments of 4; the file as base64. */
  encode(format: VideoFormat): Promise<string>;
  /** Starts a long encoding, aborts it after `ms`; the error's name and the milliseconds it took to come. */
  abort(ms: number): Promise<{ name: string; tookMs: number }>;
}

const runtime = createBrowserFfmpeg();

const videoPage: VideoPage = {
  async encode(format) {
    const options = {
      width: 64,
      height: 48,
      fps: 16,
      runtime,
      segmentFrames: 4,
      metadata: { prompt: "ü 🔴" },
    };
    const encoder = createVideoEncoder({ format, ...options });
    for (const first of [0, 3, 6]) await encoder.write(syntheticFrames(3, 64, 48, first));
    return btoa(String.fromCharCode(...(await encoder.finish())));
  },
  async abort(ms) {
    const controller = new AbortController();
    const encoder = createVideoEncoder({ format: "webm", width: 640, height: 480, fps: 16, runtime, crf: 4 });
    await encoder.write(syntheticFrames(16, 640, 480));
    const result = encoder.finish(controller.signal).catch((error: unknown) => error);
    await new Promise((resolve) => setTimeout(resolve, ms));
    const start = performance.now();
    controller.abort();
    const error = await result;
    return { name: error instanceof Error ? error.name : "none", tookMs: performance.now() - start };
  },
};

Object.assign(globalThis, { videoPage });
