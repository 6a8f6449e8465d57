// Whether the borders of clips show in videos that several workers rendered: prompt after prompt with `weft render
// --workers`, then the change from frame to frame at clip borders against other places (src/metrics/clip_borders.ts).
//   bench.mjs borders out=DIR [workers=4] [frames=49] [prompts=8] [seconds=600] [options of weft render]
// The command line is dist/cli/main.js, or what WEFT_MAIN names. A prompt whose video is in DIR is not rendered again.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { bordersTable } from "../../src/cli/eval_borders.ts";
import { type BorderedVideo, compareBorders } from "../../src/metrics/clip_borders.ts";
import { VideoMeter } from "../../src/metrics/video_meter.ts";
import { createNodeFfmpeg } from "../../src/video/ffmpeg_node.ts";
import { readFrames } from "../../src/video/read_frames.ts";

const PROMPTS = [
  "a large shiny red ball bounces on grass in daylight, static camera",
  "a small blue cube spins on sand at sunset, static camera",
  "a yellow cone rises on snow in daylight, static camera",
  "a large matte green cylinder rolls left on water, static camera",
  "a shiny purple ring circles a white ball on a checkered floor, static camera",
  "a small orange pyramid falls on grass at night, static camera",
  "a pink cube grows on a checkered floor at sunset, the camera pans left",
  "a black ball bounces on sand under clouds, the camera orbits right",
  "a small cyan ball rolls right on snow in daylight, static camera",
  "a large green ring spins on grass under clouds, the camera zooms in",
  "a white pyramid shrinks on sand in daylight, static camera",
  "a shiny red cone bounces on water at sunset, static camera",
];

interface Wish {
  readonly out: string;
  readonly workers: number;
  readonly frames: number;
  readonly prompts: number;
  readonly seconds: number;
  /** For `weft render`. */
  readonly options: readonly string[];
}

/** Renders, measures and prints. */
export async function studyBorders(args: readonly string[]): Promise<void> {
  const wish = wishOf(args);
  mkdirSync(wish.out, { recursive: true });
  const until = performance.now() + 1000 * wish.seconds;
  const videos: BorderedVideo[] = [];
  for (const [index, prompt] of PROMPTS.slice(0, wish.prompts).entries()) {
    const file = join(wish.out, `${index}.mp4`);
    if (!existsSync(file) && performance.now() > until) break;
    const borders = render(prompt, file, { ...wish, seed: index + 1 });
    videos.push({ borders, pairs: await pairsOf(file) });
    console.log(`${prompt}: clips begin at latent frames ${borders.join(", ")}`);
  }
  const report = compareBorders(videos);
  if (report === undefined) throw new Error("The videos are too short for these clips: ask for more frames.");
  console.log(`\n${bordersTable(report, videos.length)}`);
  console.log(JSON.stringify(report));
}

/** First latent frames of all clips but the first. */
function render(
  prompt: string,
  file: string,
  { workers, frames, seed, options }: Wish & { seed: number },
): number[] {
  const notes = `${file}.json`;
  if (!existsSync(file) || !existsSync(notes)) {
    const main = resolve(process.env["WEFT_MAIN"] ?? "dist/cli/main.js");
    const size = ["--frames", String(frames), "--seed", String(seed), "--workers", String(workers)];
    const args = [main, "render", prompt, ...size, ...options, "--out", file, "--json", "--quiet"];
    writeFileSync(notes, execFileSync(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] }));
  }
  const { workers: report } = JSON.parse(readFileSync(notes, "utf8")) as {
    workers: { clips: readonly { start: number }[] };
  };
  const starts = new Set(report.clips.map(({ start }) => start));
  return [...starts].filter((start) => start > 0).sort((a, b) => a - b);
}

async function pairsOf(file: string): Promise<BorderedVideo["pairs"]> {
  const ffmpeg = createNodeFfmpeg();
  try {
    const meter = new VideoMeter();
    for await (const batch of readFrames(ffmpeg, readFileSync(file))) meter.write(batch);
    return meter.pairs;
  } finally {
    ffmpeg.dispose();
  }
}

function wishOf(args: readonly string[]): Wish {
  const values = new Map(
    args.map((arg) => {
      const [name = "", value = ""] = arg.split("=", 2);
      return [name, value];
    }),
  );
  const number = (name: string, standard: number): number => Number(values.get(name) ?? standard);
  return {
    out: values.get("out") ?? "borders",
    workers: number("workers", 4),
    frames: number("frames", 49),
    prompts: number("prompts", 8),
    seconds: number("seconds", 600),
    options: args.filter((arg) => !/^(out|workers|frames|prompts|seconds)=/.test(arg)),
  };
}
