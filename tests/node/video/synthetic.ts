// Frames with known content, reading files back through ffmpeg, and how far two sets of frames are apart.
import type { FfmpegRuntime } from "../../../src/video/ffmpeg_runtime.ts";
import type { FrameBatch } from "../../../src/video/frame_batch.ts";

/** Smooth moving colours, another value in every frame: a lost, doubled or swapped frame shows in PSNR. */
export function syntheticFrames(numFrames: number, width = 64, height = 48, first = 0): FrameBatch {
  const data = new Uint8Array(numFrames * height * width * 4);
  for (let f = 0, i = 0; f < numFrames; f++) {
    const t = (first + f) * 0.45;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        data[i++] = 128 + 100 * Math.sin(x / 17 + t);
        data[i++] = 128 + 100 * Math.cos(y / 13 - t * 0.7);
        data[i++] = 128 + 100 * Math.sin((x + y) / 23 + t * 1.3);
        data[i++] = 255;
      }
    }
  }
  return { width, height, numFrames, data };
}

/** Peak signal to noise over the colour channels, in dB; frames must have one size and number. */
export function psnr(a: Uint8Array, b: Uint8Array): number {
  if (a.length !== b.length) throw new Error(`${a.length} bytes against ${b.length}`);
  let sum = 0;
  for (let i = 0; i < a.length; i++) if (i % 4 !== 3) sum += (a[i]! - b[i]!) ** 2;
  return 10 * Math.log10((255 * 255) / (sum / (a.length * 0.75)));
}

/** Decodes a file to RGBA, all frames one after another, none dropped or doubled. */
export async function decode(ffmpeg: FfmpegRuntime, file: Uint8Array): Promise<Uint8Array> {
  // The default conversion to RGB is fast and 2 grey levels too dark.
  const exact = ["-fps_mode", "passthrough", "-vf", "scale=flags=bicubic+accurate_rnd+full_chroma_int"];
  const args = ["-i", "file", ...exact, "-pix_fmt", "rgba", "-f", "rawvideo", "frames.rgba"];
  const [frames] = await ffmpeg.run(args, { inputs: { file }, outputs: ["frames.rgba"] });
  return frames!;
}

/** Every packet's times in the file's own clock, in seconds; `shown` in order of presentation. */
export async function packetTimes(
  ffmpeg: FfmpegRuntime,
  file: Uint8Array,
): Promise<{ shown: number[]; decoded: number[] }> {
  const lines: string[] = [];
  await ffmpeg.run(["-i", "file", "-c", "copy", "-f", "framecrc", "-"], {
    inputs: { file },
    onLog: (line, stream) => stream === "stdout" && lines.push(line),
  });
  const [num, den] = /^#tb 0: (\d+)\/(\d+)$/m.exec(lines.join("\n"))!.slice(1).map(Number);
  const packets = lines.filter((line) => !line.startsWith("#")).map((line) => line.split(",").map(Number));
  return {
    decoded: packets.map((packet) => (packet[1]! * num!) / den!),
    shown: packets.map((packet) => (packet[2]! * num!) / den!).toSorted((a, b) => a - b),
  };
}
