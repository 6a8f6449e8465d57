// What masks found by a search cost and save with weft-nano: for several thresholds the plan's density, PSNR and SSIM of
// decoded frames to those of full attention, what the model's judge thinks of both, and seconds of both.
//   bench.mjs searched out=DIR [model=DIR] [engine=onnx] [videos=6] [searches=4] [steps=0,1,2,3] [thresholds=0.1,0.2]
//     [frames=33] [states=FILE, measured before] [seconds=60, no new threshold that would end later]
//     [plan=FILE, what `weft search-masks` wrote, judged instead of a new search]
// Writes DIR/attention_T.json for every threshold T, as `weft search-masks` would.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chooseMasks, planOfMasks } from "../../src/attention/mask_choice.ts";
import type { AttentionPlan } from "../../src/attention/plan.ts";
import { planFromJson } from "../../src/attention/plan_json.ts";
import { startDawn } from "../../src/cli/dawn_node.ts";
import { Gpu } from "../../src/gpu/gpu.ts";
import { ReferenceMeter } from "../../src/metrics/reference_meter.ts";
import { openOrtInNode } from "../../src/onnx/ort_runtime_node.ts";
import { candidatesFor, type MeasuredMasks, measureMasks } from "../../src/pipelines/mask_search.ts";
import type { RenderSettings } from "../../src/pipelines/render_options.ts";
import { WanPipeline } from "../../src/pipelines/wan_pipeline.ts";
import type { FrameBatch } from "../../src/video/frame_batch.ts";
import { openFolderSource } from "../../src/weights/folder_source_node.ts";
import { type Judge, openJudge } from "./judge.ts";
import { gpuMilliseconds, median } from "./median.ts";
import { TimeBox } from "./time_box.ts";

/** As `weft search-masks` without prompts, from seed 0. */
const SEARCHED = [
  "a large shiny red ball bounces on grass in daylight, static camera",
  "a big blue cube spins on a checkered floor at sunset, the camera orbits left",
  "a small shiny yellow pyramid rises on water at night",
  "a large matte green cylinder rolls right on snow, the camera pans right",
];
/** Other sentences and seeds than those the masks were found with. */
const JUDGED = [
  "a big glossy purple ring rolls right on sand under an overcast sky, static camera",
  "a small orange cone falls on grass at dusk, the camera zooms out",
  "a huge cyan sphere approaches the camera on snow at night",
  "a little matte white cube circles in the desert, the camera orbits right",
  "a large shiny green torus spins on the ocean at sunset",
  "a tiny red pyramid jumps on checkered tiles on a cloudy day, the camera pans left",
];
/** The default of `weft search-masks` first. */
const THRESHOLDS = "0.1,0.2,0.05,0.15,0.3,0.4";
/** Denoisings of every video that are timed. */
const RUNS = 3;

type Arguments = (name: string, otherwise: string) => string;

/** Runs the study. */
export async function searchedMasks(args: readonly string[]): Promise<void> {
  const value: Arguments = (name, otherwise) =>
    args.find((arg) => arg.startsWith(`${name}=`))?.slice(name.length + 1) ?? otherwise;
  const out = value("out", "dist/searched");
  const box = new TimeBox(Number(value("seconds", "Infinity")));
  mkdirSync(out, { recursive: true });
  const onGpu = value("engine", "webgpu") !== "onnx";
  const open = (profile: boolean): Promise<WanPipeline> =>
    WanPipeline.open({
      source: openFolderSource(value("model", "models/weft-nano")),
      openGpu: onGpu ? () => Gpu.open({ gpu: startDawn(), profile }) : undefined,
      openOrt: openOrtInNode,
    });
  const pipeline = await open(false);
  const profiled = onGpu ? await open(true) : undefined;
  const found = value("plan", "");
  const plans = found === "" ? searchedPlans(await search(pipeline, value, out), value) : [readPlan(found)];
  const frames = value("frames", "");
  const judging: Judging = {
    prompts: JUDGED.slice(0, Number(value("videos", "6"))),
    numFrames: frames === "" ? undefined : Number(frames),
    judge: await openJudge(pipeline.files),
    profiled,
  };
  const dense = await renderAll(pipeline, judging, undefined);
  const rows = [];
  for (const { threshold, plan, layers } of plans) {
    const started = performance.now();
    const sparse = await renderAll(pipeline, judging, plan);
    rows.push({
      threshold,
      density: mean(layers.map((layer) => layer.density)),
      worstLayerError: Math.max(...layers.map(({ error }) => error)),
      ...compare(sparse, dense),
    });
    console.log(JSON.stringify(rows.at(-1))); // a run that is cut has said something
    writeFileSync(
      join(out, `attention_${threshold}.json`),
      JSON.stringify({ ...plan, layers }, undefined, 1),
    );
    writeFileSync(join(out, "searched.json"), JSON.stringify(rows, undefined, 1));
    if (!box.fits((performance.now() - started) / 1000)) break;
  }
  console.table(rows);
  await profiled?.dispose();
  await pipeline.dispose();
}

/** A plan, what it was allowed to cost and what it does layer by layer. */
interface FoundPlan {
  readonly threshold: number;
  readonly plan: AttentionPlan;
  readonly layers: readonly { readonly density: number; readonly error: number }[];
}

/** One plan for every threshold asked for, chosen when its turn comes. */
function* searchedPlans(
  { candidates, states, numLatentFrames }: SearchedMasks,
  value: Arguments,
): Generator<FoundPlan> {
  for (const threshold of value("thresholds", THRESHOLDS).split(",").map(Number)) {
    const layers = chooseMasks([...states.values()], candidates, { threshold, per: "head" });
    yield { threshold, layers, plan: planOfMasks(layers, candidates, numLatentFrames) };
  }
}

/** A file of `weft search-masks`, which says of itself what a search here would. */
function readPlan(path: string): FoundPlan {
  const text = readFileSync(path, "utf8");
  const { threshold, byLayer } = JSON.parse(text).search;
  return { threshold, layers: byLayer, plan: planFromJson(text, path) };
}

/** What a search measured. */
interface SearchedMasks extends MeasuredMasks {
  readonly numLatentFrames: number;
}

/** Measures all masks, on WebGPU whatever renders, or reads what was measured before. */
async function search(pipeline: WanPipeline, value: Arguments, out: string): Promise<SearchedMasks> {
  const asked = value("frames", "");
  const numFrames = asked === "" ? undefined : Number(asked);
  const searched = SEARCHED.slice(0, Number(value("searches", "4")));
  const renders = searched.map((prompt, seed) => pipeline.resolve({ prompt, seed, numFrames }));
  const [first] = renders;
  if (first === undefined) throw new Error("There is nothing to search with: searches is 1 to 4.");
  const { numLatentFrames } = first;
  const file = value("states", "");
  if (file !== "") return { ...readStates(file, first), numLatentFrames };
  const started = performance.now();
  const gpu = await Gpu.open({ gpu: startDawn() });
  const steps = value("steps", "0,1,2,3").split(",").map(Number);
  const options = { gpu, renders, steps, known: new Map(), onState: () => undefined };
  const { candidates, states } = await measureMasks(pipeline, options);
  gpu.dispose();
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${states.size} states, ${candidates.length} candidates, ${seconds} s`);
  writeFileSync(join(out, "states.json"), JSON.stringify({ candidates, states: [...states] }));
  return { candidates, states, numLatentFrames };
}

/** States that were measured before: this bench's states.json, or what an interrupted `weft search-masks` left. */
function readStates(path: string, render: RenderSettings): MeasuredMasks {
  const { states, results } = JSON.parse(readFileSync(path, "utf8"));
  return { candidates: candidatesFor(render), states: new Map(states ?? results) };
}

interface Judging {
  readonly prompts: readonly string[];
  readonly numFrames: number | undefined;
  readonly judge: Judge;
  /** The same pipeline on a GPU that takes timestamps; they slow it down. */
  readonly profiled: WanPipeline | undefined;
}

/** The videos of one plan. */
interface Renders {
  readonly videos: readonly FrameBatch[][];
  /** Medians of one denoising. */
  readonly seconds: number;
  readonly gpuSeconds: number | null;
  /** Of the judge, mean. */
  readonly fits: number;
}

async function renderAll(
  pipeline: WanPipeline,
  { prompts, numFrames, judge, profiled }: Judging,
  attention: AttentionPlan | undefined,
): Promise<Renders> {
  const videos: FrameBatch[][] = [];
  const [scores, seconds, gpuSeconds]: [number[], number[], number[]] = [[], [], []];
  for (const [index, prompt] of prompts.entries()) {
    const settings = pipeline.resolve({ prompt, seed: 100 + index, numFrames, attention });
    if (index === 0) await pipeline.denoise(settings); // compiles
    for (let run = 1; run < RUNS; run++) seconds.push(await secondsOf(() => pipeline.denoise(settings)));
    const started = performance.now();
    const { latents } = await pipeline.denoise(settings);
    seconds.push((performance.now() - started) / 1000);
    if (profiled) {
      profiled.gpu.profiler?.reset();
      await profiled.denoise(settings);
      gpuSeconds.push(gpuMilliseconds(profiled.gpu) / 1000);
    }
    const frames: FrameBatch[] = [];
    const score = judge(prompt);
    for await (const batch of pipeline.decode(latents)) {
      frames.push(batch);
      await score?.write(batch);
    }
    videos.push(frames);
    scores.push(score?.finish()?.total ?? NaN);
  }
  return {
    videos,
    seconds: median(seconds),
    gpuSeconds: gpuSeconds.length > 0 ? median(gpuSeconds) : null,
    fits: mean(scores),
  };
}

/** How near the sparse videos are to the dense ones, and what both took. */
function compare(sparse: Renders, dense: Renders): Record<string, number | null> {
  const meters = sparse.videos.map((video, index) => {
    const meter = new ReferenceMeter();
    for (const [at, batch] of video.entries()) {
      const other = dense.videos[index]?.[at];
      if (other) meter.write(batch, other);
    }
    return meter.finish();
  });
  return {
    psnr: mean(meters.map(({ psnr }) => psnr)),
    worstVideo: Math.min(...meters.map(({ psnr }) => psnr)),
    ssim: mean(meters.map(({ ssim }) => ssim)),
    fitsFull: dense.fits,
    fitsSearched: sparse.fits,
    secondsFull: dense.seconds,
    secondsSearched: sparse.seconds,
    gpuSecondsFull: dense.gpuSeconds,
    gpuSecondsSearched: sparse.gpuSeconds,
  };
}

async function secondsOf(run: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await run();
  return (performance.now() - started) / 1000;
}

function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}
