// The long-video study: weft-nano far beyond the 33 frames it was trained on, with full attention and with dual-scope
// attention under every anchor rule and position rule. Seconds and memory first, then what the frames look like.
//   bench.mjs long time out=DIR            seconds and peak memory by length, nothing else running
//   bench.mjs long quality part=0/4 out=DIR  measures of src/metrics, a share of the settings
//   bench.mjs long memory                  GPU memory of a forward pass by length, recorded but not run
//   bench.mjs long merge out=DIR           the parts as tables, and contact sheets as PNG
// More: engine=onnx (the CPU), frames=33,129, prompts=2, settings="full;coverage, true".
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { anchorCoverage } from "../../src/attention/frame_sets.ts";
import { startDawn } from "../../src/cli/dawn_node.ts";
import { Gpu } from "../../src/gpu/gpu.ts";
import { VideoMeter } from "../../src/metrics/video_meter.ts";
import { openOrtInNode } from "../../src/onnx/ort_runtime_node.ts";
import { trainedLatentFrames } from "../../src/pipelines/model_attention.ts";
import { openModel } from "../../src/pipelines/model_files.ts";
import { WanPipeline } from "../../src/pipelines/wan_pipeline.ts";
import { encodePng } from "../../src/video/png_image.ts";
import { openFolderSource } from "../../src/weights/folder_source_node.ts";
import { type Judge, openJudge } from "./judge.ts";
import { longVideoMemory } from "./long_video_memory.ts";
import { settingByName, SETTINGS, type Setting } from "./long_video_settings.ts";
import { median } from "./median.ts";
import { composeSheet, Thumbnails } from "./thumbnails.ts";

const MODEL = "models/weft-nano";
const PROMPTS = [
  { prompt: "a large shiny red ball bounces on grass in daylight, static camera", seed: 7 },
  { prompt: "a big blue cube spins on a checkered floor at sunset, the camera orbits left", seed: 2 },
  { prompt: "a small shiny yellow pyramid rises on water at night", seed: 5 },
];
const LENGTHS = [33, 129, 257, 513];
const TIMED = ["full", "coverage, true", "coverage, vrpr"];
/** Of weft-nano. */
const LAYERS = 12;

/** One rendered and measured video. */
interface Row {
  readonly setting: string;
  readonly frames: number;
  readonly prompt: number;
  readonly denoiseSeconds: number;
  readonly decodeSeconds: number;
  /** The most GPU memory in use while denoising, weights included; 0 on the CPU. */
  readonly peakGpuMegabytes: number;
  /** The process's largest resident set so far. */
  readonly rssMegabytes: number;
  readonly metrics?: Readonly<Record<string, number | null>>;
  /** RGB thumbnails, base64. */
  readonly thumbnails?: string;
}

/** Runs what the arguments ask for. */
export async function longVideos(args: readonly string[]): Promise<void> {
  const [mode = "time"] = args;
  const value = (name: string, otherwise: string): string =>
    args.find((arg) => arg.startsWith(`${name}=`))?.slice(name.length + 1) ?? otherwise;
  const out = value("out", "dist/long");
  mkdirSync(out, { recursive: true });
  const lengths = value("frames", LENGTHS.join()).split(",").map(Number);
  const prompts = Number(value("prompts", "2"));
  const source = openFolderSource(value("model", MODEL));
  if (mode === "merge") return await merge(out, trainedLatentFrames((await openModel(source)).settings));
  if (mode === "memory") {
    const names = value("settings", TIMED.join(";")).split(";");
    console.table(await longVideoMemory(source, { lengths, names }));
    return;
  }
  const pipeline = await WanPipeline.open({
    source,
    openGpu: value("engine", "webgpu") === "onnx" ? undefined : () => Gpu.open({ gpu: startDawn() }),
    openOrt: (target) => openOrtInNode(value("decoder", "") === "wasm" ? { provider: "wasm" } : target),
  });
  if (mode === "time") {
    const rows = await timeAll(pipeline, lengths, value("settings", TIMED.join(";")).split(";"));
    writeFileSync(join(out, "time.json"), JSON.stringify(rows));
    console.table(rows);
  } else {
    const [part = 0, parts = 1] = value("part", "0/1").split("/").map(Number);
    const names = value("settings", SETTINGS.map(({ name }) => name).join(";")).split(";");
    const judge = await openJudge(pipeline.files);
    const rows: Row[] = [];
    // Longest first and dealt out in turn, so that the parts end together.
    const jobs = lengths
      .toSorted((a, b) => b - a)
      .flatMap((frames) =>
        Array.from({ length: prompts }, (_, prompt) =>
          names.map((name) => ({ frames, prompt, name })),
        ).flat(),
      )
      .filter((_, index) => index % parts === part);
    for (const { frames, prompt, name } of jobs) {
      rows.push(await render(pipeline, settingByName(name), { frames, prompt, judge }));
      writeFileSync(join(out, `part_${part}.json`), JSON.stringify(rows));
      const { thumbnails: _, ...row } = rows.at(-1) as Row;
      console.log(JSON.stringify(row));
    }
  }
  await pipeline.dispose();
}

async function timeAll(
  pipeline: WanPipeline,
  lengths: readonly number[],
  names: readonly string[],
): Promise<Row[]> {
  const rows: Row[] = [];
  for (const name of names) {
    const setting = settingByName(name);
    await render(pipeline, setting, { frames: 33, prompt: 0 }); // compiles
    for (const frames of lengths) {
      const runs: Row[] = [];
      for (let i = 0; i < 3; i++) {
        runs.push(await render(pipeline, setting, { frames, prompt: 0 }));
        if (runs.some((run) => run.denoiseSeconds > 60)) break;
      }
      const [first] = runs as [Row];
      rows.push({
        ...first,
        denoiseSeconds: median(runs.map((run) => run.denoiseSeconds)),
        decodeSeconds: median(runs.map((run) => run.decodeSeconds)),
      });
      console.log(JSON.stringify(rows.at(-1))); // a run that is cut has said something
    }
  }
  return rows;
}

async function render(
  pipeline: WanPipeline,
  setting: Setting,
  { frames, prompt, judge }: { frames: number; prompt: number; judge?: Judge },
): Promise<Row> {
  const measure = judge !== undefined;
  const asked = PROMPTS[prompt] ?? PROMPTS[0];
  if (asked === undefined) throw new Error("There are no prompts.");
  const { settings: model } = pipeline.files;
  const attention = setting.plan({
    numLatentFrames: (frames - 1) / 4 + 1,
    trainedFrames: trainedLatentFrames(model),
    steps: (model.fewstep?.sigmas.length ?? 5) - 1,
    layers: LAYERS,
  });
  const settings = pipeline.resolve({ ...asked, numFrames: frames, attention });
  const memory = pipeline.engine.name === "webgpu" ? pipeline.gpu.memory : undefined;
  memory?.trim();
  memory?.resetPeak();
  const started = performance.now();
  const { latents } = await pipeline.denoise(settings);
  const denoised = performance.now();
  const peakGpuMegabytes = (memory?.use.peakBytes ?? 0) / 1e6;
  const meter = new VideoMeter();
  const score = judge?.(asked.prompt);
  const thumbnails = new Thumbnails(frames);
  let rss = 0;
  let measuring = 0;
  for await (const batch of pipeline.decode(latents)) {
    const before = performance.now();
    if (measure) {
      meter.write(batch);
      thumbnails.write(batch);
      await score?.write(batch);
    }
    measuring += performance.now() - before;
    rss = Math.max(rss, process.memoryUsage().rss);
  }
  const row: Row = {
    setting: setting.name,
    frames,
    prompt,
    denoiseSeconds: (denoised - started) / 1000,
    decodeSeconds: (performance.now() - denoised - measuring) / 1000,
    peakGpuMegabytes,
    rssMegabytes: rss / 1e6,
  };
  if (!measure) return row;
  const { dynamic, loop, flicker, drift, sharpness, sharpnessKept } = meter.finish();
  const metrics = {
    fits: score?.finish()?.total ?? null,
    flow: dynamic?.flow ?? null,
    difference: dynamic?.difference ?? null,
    still: dynamic?.stillShare ?? null,
    loop: loop?.score ?? null,
    flicker: flicker ?? null,
    drift: drift?.mean ?? null,
    driftLast: drift?.last ?? null,
    sharpness: sharpness ?? null,
    sharpnessKept: sharpnessKept ?? null,
  };
  return { ...row, metrics, thumbnails: thumbnails.base64() };
}

/** Tables for people, and one contact sheet of the first prompt for every length: a row for each setting. */
async function merge(out: string, trainedFrames: number): Promise<void> {
  const rows = readdirSync(out)
    .filter((name) => /^part_\d+\.json$/.test(name))
    .flatMap((name) => JSON.parse(readFileSync(join(out, name), "utf8")) as Row[]);
  for (const frames of LENGTHS) {
    const ofLength = rows.filter((row) => row.frames === frames);
    if (ofLength.length === 0) continue;
    const names = SETTINGS.map(({ name }) => name).filter((name) =>
      ofLength.some((row) => row.setting === name),
    );
    console.log(`\n${frames} frames, mean of ${new Set(ofLength.map(({ prompt }) => prompt)).size} prompts`);
    console.table(Object.fromEntries(names.map((name) => [name, meanOf(ofLength, name)])));
    for (const prompt of new Set(ofLength.map((row) => row.prompt))) {
      const strips = names.flatMap(
        (name) => ofLength.find((row) => row.setting === name && row.prompt === prompt)?.thumbnails ?? [],
      );
      writeFileSync(join(out, `sheet_${frames}_${prompt}.png`), await encodePng(composeSheet(strips)));
    }
  }
  const rest = rows.map((row) => ({ ...row, thumbnails: undefined }));
  writeFileSync(join(out, "rows.json"), JSON.stringify({ coverage: coverages(trainedFrames), rows: rest }));
}

function meanOf(rows: readonly Row[], name: string): Record<string, number> {
  const found = rows.filter(({ setting }) => setting === name);
  const keys = Object.keys(found[0]?.metrics ?? {});
  return Object.fromEntries(
    keys.map((key) => {
      const values = found.flatMap(({ metrics }) => metrics?.[key] ?? []);
      return [key, Number((values.reduce((a, b) => a + b, 0) / values.length).toPrecision(4))];
    }),
  );
}

/** Frames that never were an anchor, by setting and length: what few steps leave out. */
function coverages(trainedFrames: number): Record<string, Record<string, string>> {
  return Object.fromEntries(
    SETTINGS.map(({ name, plan }) => [
      name,
      Object.fromEntries(
        LENGTHS.map((frames) => {
          const numLatentFrames = (frames - 1) / 4 + 1;
          const made = plan({ numLatentFrames, trainedFrames, steps: 4, layers: LAYERS });
          if (!made) return [frames, "all"];
          const size = { numFrames: numLatentFrames, steps: 4, layers: LAYERS, heads: 4 };
          const { counts, missing } = anchorCoverage(made, size);
          return [frames, `${counts.length - missing.length} of ${counts.length}`];
        }),
      ),
    ]),
  );
}
