// Settings written into each format and read back; files that are damaged or something else.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { InputError } from "../../../src/errors.ts";
import { createNodeFfmpeg } from "../../../src/video/ffmpeg_node.ts";
import { probe, readMetadata } from "../../../src/video/inspect.ts";
import { createVideoEncoder } from "../../../src/video/video_encoder.ts";
import type { VideoFormat } from "../../../src/video/video_format.ts";
import { syntheticFrames } from "./synthetic.ts";

const runtime = createNodeFfmpeg();
afterAll(() => runtime.dispose());

const FORMATS: VideoFormat[] = ["mp4", "webm", "gif", "png"];

async function encode(format: VideoFormat, metadata: Record<string, unknown>): Promise<Uint8Array> {
  const encoder = createVideoEncoder({ format, width: 32, height: 16, fps: 10, runtime, metadata });
  await encoder.write(syntheticFrames(3, 32, 16));
  return await encoder.finish();
}

const PROMPTS = {
  plain: "a red ball bounces on grass",
  quotes: `"double" 'single' \\backslash\\ =;#[section] %d 100% $HOME`,
  lines: "one\ntwo\r\nthree\ttab \u0000 \u0007 \u007f \u2028 end",
  unicode: "ein großer Bär, 大きな赤いボール, мяч, كرة حمراء",
  emoji: "🔴⚽ on 🌱 👩‍🚀 🇨🇭",
  lonelySurrogate: "broken \ud83d half",
  long: "4 kB: ".padEnd(4096, "längerer Text 🎬 "),
  empty: "",
};

describe.for(FORMATS)("readMetadata() of %s", (format) => {
  test("gives back every kind of text and value", async () => {
    const metadata = {
      ...PROMPTS,
      seed: 42,
      shift: 3.25,
      nested: { a: [1, null, true] },
      hash: "sha256:00ff",
    };
    const file = await encode(format, metadata);
    expect(readMetadata(file)).toEqual(metadata);
    expect(probe(file).comment).toMatch(/^[\x20-\x7e]+$/);
  });

  test("is an empty object when nothing was to be kept", async () => {
    expect(readMetadata(await encode(format, {}))).toEqual({});
  });

  test("shows as the comment in ffmpeg, where the format has one", async () => {
    const file = await encode(format, { seed: 7 });
    const args = ["-i", "file", "-f", "ffmetadata", "out.txt"];
    const [text] = await runtime.run(args, { inputs: { file }, outputs: ["out.txt"] });
    if (format === "png") return; // ffmpeg 5 reads PNG text as metadata of the frame
    expect(new TextDecoder().decode(text)).toMatch(/comment=\{"seed":7\}/i);
  });
});

describe("probe() of damaged and foreign files", () => {
  const files = new Map<VideoFormat, Uint8Array>();
  beforeAll(async () => {
    for (const format of FORMATS) files.set(format, await encode(format, PROMPTS));
  });

  test.for(FORMATS)(
    "a %s cut off anywhere is an InputError or still readable, never another error",
    (format) => {
      const file = files.get(format)!;
      let errors = 0;
      for (let length = 0; length < file.length; length += 1 + Math.floor(file.length / 400)) {
        errors += isInputError(() => probe(file.subarray(0, length))) ? 1 : 0;
      }
      expect(errors).toBeGreaterThan(0);
    },
  );

  test.for(FORMATS)(
    "a %s with flipped bytes is an InputError or still readable, never another error",
    (format) => {
      const file = files.get(format)!;
      for (let at = 0; at < Math.min(file.length, 3000); at++) {
        const damaged = file.slice();
        damaged[at] = ~damaged[at]! & 0xff;
        isInputError(() => probe(damaged));
      }
    },
  );

  test("says what it expected of something else", () => {
    expect(() => probe(new TextEncoder().encode("hello"))).toThrow(/expected MP4, WebM, GIF or PNG/);
    expect(() => probe(new Uint8Array())).toThrow(InputError);
    expect(() => probe(files.get("mp4")!.subarray(0, 200))).toThrow(/MP4 file is truncated or damaged/);
  });

  test("readMetadata() of a video with a comment that is not ours is null", async () => {
    const source = ["-f", "lavfi", "-i", "color=size=32x16:duration=0.2"];
    const [file] = await runtime.run([...source, "-metadata", "comment=my holiday", "x.mp4"], {
      outputs: ["x.mp4"],
    });
    expect(probe(file!).comment).toBe("my holiday");
    expect(readMetadata(file!)).toBeNull();
  });
});

/** True when `action` throws an InputError, false when it does not throw; rethrows everything else. */
function isInputError(action: () => unknown): boolean {
  try {
    action();
    return false;
  } catch (error) {
    if (error instanceof InputError) return true;
    throw error;
  }
}
