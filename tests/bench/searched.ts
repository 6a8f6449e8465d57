// What masks found by a search cost and save with weft-nano: for several thresholds the plan's density, PSNR and SSIM of
// decoded frames to those of full attention, what the model's judge thinks of both, and seconds of both.
//   bench.mjs searched out=DIR [model=DIR] [engine=onnx] [videos=6] [searches=4] [steps=0,1,2,3] [thresholds=0.1,0.2] [frames=33]
//     [states=FILE, measured before]
// Writes DIR/attention_T.json for every threshold T, as `weft search-masks` would.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chooseMasks, planOfMasks } from "../../src/attention/mask_choice.ts";
import type { AttentionPlan } from "../../src/attention/plan.ts";
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
import { median } from "./median.ts";

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
const THRESHOLDS = "0.05,0.1,0.15,0.2,0.3,0.4";

/** Runs the study. */
export async function searchedMasks(args: readonly string[]): Promise<void> {
  const value = (name: string, otherwise: string): string =>
    args.find((arg) => arg.startsWith(`${name}=`))?.slice(name.length + 1) ?? otherwise;
  const out = value("out", "dist/searched");
  mkdirSync(out, { recursive: true });
  const pipeline = await WanPipeline.open({
    source: openFolderSource(value("model", "models/weft-nano")),
    openGpu: value("engine", "webgpu") === "onnx" ? undefined : () => Gpu.open({ gpu: startDawn() }),
    openOrt: openOrtInNode,
  });
  const asked = value("frames", "");
  const numFrames = asked === "" ? undefined : Number(asked);
  const searched = SEARCHED.slice(0, Number(value("searches", "4")));
  const renders = searched.map((prompt, seed) => pipeline.resolve({ prompt, seed, numFrames }));
  const started = performance.now();
  const gpu = await Gpu.open({ gpu: startDawn() });
  const measured = value("states", "");
  const { candidates, states } =
    measured === ""
      ? await measureMasks(pipeline, {
          gpu,
          renders,
          steps: value("steps", "0,1,2,3").split(",").map(Number),
          known: new Map(),
          onState: () => undefined,
        })
      : readStates(measured, renders);
  gpu.dispose();
  const searchSeconds = (performance.now() - started) / 1000;
  console.log(`${states.size} states, ${candidates.length} candidates, ${searchSeconds.toFixed(1)} s`);
  writeFileSync(join(out, "states.json"), JSON.stringify({ candidates, states: [...states] }));
  const judge = await openJudge(pipeline.files);
  const judged = JUDGED.slice(0, Number(value("videos", "6")));
  const dense = await renderAll(pipeline, { prompts: judged, numFrames, judge });
  const rows = [];
  for (const threshold of value("thresholds", THRESHOLDS).split(",").map(Number)) {
    const layers = chooseMasks([...states.values()], candidates, { threshold, per: "head" });
    const plan = planOfMasks(layers, candidates, renders[0]?.numLatentFrames ?? 1);
    const sparse = await renderAll(pipeline, { prompts: judged, numFrames, judge, attention: plan });
    const meters = sparse.videos.map((video, index) => {
      const meter = new ReferenceMeter();
      const reference = dense.videos[index] ?? [];
      for (const [at, batch] of video.entries()) {
        const other = reference[at];
        if (other) meter.write(batch, other);
      }
      return meter.finish();
    });
    rows.push({
      threshold,
      density: mean(layers.map((layer) => layer.density)),
      worstLayerError: Math.max(...layers.map(({ error }) => error)),
      psnr: mean(meters.map(({ psnr }) => psnr)),
      worstVideo: Math.min(...meters.map(({ psnr }) => psnr)),
      ssim: mean(meters.map(({ ssim }) => ssim)),
      fitsFull: dense.fits,
      fitsSearched: sparse.fits,
      secondsFull: dense.seconds,
      secondsSearched: sparse.seconds,
    });
    console.log(JSON.stringify(rows.at(-1))); // a run that is cut has said something
    writeFileSync(
      join(out, `attention_${threshold}.json`),
      JSON.stringify({ ...plan, layers }, undefined, 1),
    );
  }
  console.table(rows);
  writeFileSync(join(out, "searched.json"), JSON.stringify({ searchSeconds, rows }, undefined, 1));
  await pipeline.dispose();
}

interface Judging {
  readonly prompts: readonly string[];
  readonly numFrames: number | undefined;
  readonly judge: Judge;
  readonly attention?: AttentionPlan;
}

/** States that were measured before: this bench's states.json, or what an interrupted `weft search-masks` left. */
function readStates(path: string, [render]: readonly RenderSettings[]): MeasuredMasks {
  if (render === undefined) throw new Error("There is no render.");
  const { states, results } = JSON.parse(readFileSync(path, "utf8"));
  return { candidates: candidatesFor(render), states: new Map(states ?? results) };
}

function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

async function renderAll(
  pipeline: WanPipeline,
  { prompts, numFrames, judge, attention }: Judging,
): Promise<{ videos: FrameBatch[][]; seconds: number; fits: number }> {
  const videos: FrameBatch[][] = [];
  const scores: number[] = [];
  const seconds: number[] = [];
  for (const [index, prompt] of prompts.entries()) {
    const settings = pipeline.resolve({ prompt, seed: 100 + index, numFrames, attention });
    if (index === 0) await pipeline.denoise(settings); // compiles
    const before = performance.now();
    const { latents } = await pipeline.denoise(settings);
    seconds.push((performance.now() - before) / 1000);
    const frames: FrameBatch[] = [];
    const score = judge(prompt);
    for await (const batch of pipeline.decode(latents)) {
      frames.push(batch);
      await score?.write(batch);
    }
    videos.push(frames);
    scores.push(score?.finish()?.total ?? NaN);
  }
  return { videos, seconds: median(seconds), fits: mean(scores) };
}
