// Seconds and memory of the long-video study, by length: whether time grows in proportion to the length, and memory not.
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BufferPool } from "../../src/gpu/buffer_pool.ts";
import type { WanPipeline } from "../../src/pipelines/wan_pipeline.ts";
import { denoiseStudy, type StudyModel } from "./long_video_render.ts";
import { settingByName } from "./long_video_settings.ts";
import { gpuMilliseconds, median } from "./median.ts";
import type { TimeBox } from "./time_box.ts";

/** Times of one setting's denoising, or of the decoder, at one length. */
export interface TimeRow {
  readonly what: string;
  readonly frames: number;
  /** The first run at this length, in which kernels are compiled. */
  readonly firstSeconds: number;
  /** Median of the later ones. */
  readonly seconds: number;
  readonly runs: number;
  /** What a frame beyond the shortest length takes. */
  readonly millisecondsPerFrame: number | null;
  /** GPU time of one run by timestamps; null without them, and for the decoder. */
  readonly gpuSeconds: number | null;
  /** The most GPU memory that the pool gave out besides the weights; null where it is not the pool's. */
  readonly peakMegabytes: number | null;
  /** What the driver counts on the card by now; null without an NVIDIA driver. */
  readonly cardMegabytes: number | null;
  readonly rssMegabytes: number;
}

/** How much to measure. */
export interface TimeOptions {
  readonly out: string;
  readonly lengths: readonly number[];
  readonly names: readonly string[];
  readonly box: TimeBox;
  /** Opens the pipeline once more, on a GPU that takes timestamps: they slow it down. Undefined on the CPU. */
  readonly openProfiled: (() => Promise<WanPipeline>) | undefined;
}

/** Something that is timed at several lengths. */
interface Subject {
  readonly what: string;
  readonly runs: number;
  readonly memory: BufferPool | undefined;
  /** Makes what runs at a length; what that takes is not timed. */
  readonly prepare: (frames: number) => Promise<() => Promise<unknown>>;
  readonly gpuSeconds: (frames: number) => Promise<number | null>;
}

const RUNS = 5;

/** Times all settings and the decoder; rows are printed and written as they come. */
export async function timeLongVideos(
  pipeline: WanPipeline,
  model: StudyModel,
  options: TimeOptions,
): Promise<TimeRow[]> {
  const profiled = await options.openProfiled?.();
  const memory = pipeline.engine.name === "webgpu" ? pipeline.gpu.memory : undefined;
  const jobOf = (name: string, frames: number) => ({ setting: settingByName(name), frames, prompt: 0 });
  const settings = options.names.map((name): Subject => ({
    what: name,
    runs: RUNS,
    memory,
    prepare: async (frames) => () => denoiseStudy(pipeline, model, jobOf(name, frames)),
    gpuSeconds: async (frames) => {
      if (profiled === undefined) return null;
      profiled.gpu.profiler?.reset();
      await denoiseStudy(profiled, model, jobOf(name, frames));
      return gpuMilliseconds(profiled.gpu) / 1000;
    },
  }));
  const decoder: Subject = {
    what: "decoder",
    runs: 3,
    memory: undefined,
    prepare: async (frames) => {
      const { latents } = await denoiseStudy(pipeline, model, jobOf("full", frames));
      return async () => {
        for await (const _ of pipeline.decode(latents));
      };
    },
    gpuSeconds: async () => null,
  };
  const rows: TimeRow[] = [];
  for (const subject of [...settings, decoder]) {
    await timeLengths(subject, options, (row) => {
      rows.push(row);
      console.log(JSON.stringify(row));
      writeFileSync(join(options.out, "time.json"), JSON.stringify(rows, undefined, 1));
    });
  }
  await profiled?.dispose();
  return rows;
}

/** Shortest first, so that memory which the driver never takes back tells each length's. */
async function timeLengths(
  { what, runs, memory, prepare, gpuSeconds }: Subject,
  { lengths, box }: TimeOptions,
  onRow: (row: TimeRow) => void,
): Promise<void> {
  let shortest: { readonly frames: number; readonly seconds: number } | undefined;
  for (const frames of lengths.toSorted((a, b) => a - b)) {
    if (!box.fits(0)) return console.log(`The time is over before ${what} at ${frames} frames.`);
    const run = await prepare(frames);
    const firstSeconds = await secondsOf(run);
    memory?.trim();
    memory?.resetPeak();
    const weights = memory?.use.usedBytes ?? 0;
    const later: number[] = [];
    do later.push(await secondsOf(run));
    while (later.length < runs && box.fits(later[0] ?? 0));
    const seconds = median(later);
    const more = shortest && (seconds - shortest.seconds) / (frames - shortest.frames);
    shortest ??= { frames, seconds };
    onRow({
      what,
      frames,
      firstSeconds,
      seconds,
      runs: later.length,
      millisecondsPerFrame: more === undefined ? null : 1000 * more,
      gpuSeconds: await gpuSeconds(frames),
      peakMegabytes: memory ? (memory.use.peakBytes - weights) / 1e6 : null,
      cardMegabytes: cardMegabytes(),
      rssMegabytes: process.memoryUsage().rss / 1e6,
    });
  }
}

async function secondsOf(run: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await run();
  return (performance.now() - started) / 1000;
}

/** Memory in use on the first card, by anybody. */
function cardMegabytes(): number | null {
  try {
    const asked = ["--query-gpu=memory.used", "--format=csv,noheader,nounits", "--id=0"];
    const said = execFileSync("nvidia-smi", asked, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    return Number(said) * 1.048576;
  } catch {
    return null;
  }
}
