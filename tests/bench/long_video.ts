// The long-video study: weft-nano far beyond the frames it was trained on, with full attention and with dual-scope
// attention under every anchor rule and position rule. Seconds and memory first, then what the frames look like.
//   bench.mjs long time out=DIR              seconds and memory by length, nothing else running
//   bench.mjs long quality processes=14 out=DIR  measures of src/metrics, by several processes on one card, or on cards=0,1;
//                                            the same command goes on where it was
//   bench.mjs long merge out=DIR             what is known as tables, and contact sheets as PNG
//   bench.mjs long memory                    GPU memory of a forward pass by length, recorded but not run
// More: seconds=200 (no new video that would end later), model=DIR, engine=onnx (the CPU), decoder=wasm (time only),
// frames=33,129, prompts=2, settings="full;coverage, true", settings=all.
import { mkdirSync } from "node:fs";
import { startDawn } from "../../src/cli/dawn_node.ts";
import { Gpu } from "../../src/gpu/gpu.ts";
import { openOrtInNode } from "../../src/onnx/ort_runtime_node.ts";
import { WanPipeline } from "../../src/pipelines/wan_pipeline.ts";
import { openFolderSource } from "../../src/weights/folder_source_node.ts";
import { longVideoMemory } from "./long_video_memory.ts";
import { tellQuality } from "./long_video_merge.ts";
import { measureQuality } from "./long_video_quality.ts";
import { PROMPTS, readStudyModel } from "./long_video_render.ts";
import { COMPARED, DEFAULT_SETTING, SETTINGS } from "./long_video_settings.ts";
import { parseCards } from "./process_farm.ts";
import { timeLongVideos } from "./long_video_time.ts";
import { runQualityWorker } from "./long_video_worker.ts";
import { TimeBox } from "./time_box.ts";

const TIMED = ["full", DEFAULT_SETTING, "coverage, vrpr"];

/** Runs what the arguments ask for. */
export async function longVideos(args: readonly string[]): Promise<void> {
  const [mode = "time", ...rest] = args;
  const value = (name: string, otherwise: string): string =>
    rest.find((arg) => arg.startsWith(`${name}=`))?.slice(name.length + 1) ?? otherwise;
  const out = value("out", "dist/long");
  mkdirSync(out, { recursive: true });
  const source = openFolderSource(value("model", "models/weft-nano"));
  const lengths = value("frames", "33,129,257,513").split(",").map(Number);
  const namesOr = (names: readonly string[]): string[] => value("settings", names.join(";")).split(";");
  const onGpu = value("engine", "webgpu") !== "onnx";
  const open = (profile = false): Promise<WanPipeline> =>
    WanPipeline.open({
      source,
      openGpu: onGpu ? () => Gpu.open({ gpu: startDawn(), profile }) : undefined,
      openOrt: (target) => openOrtInNode(value("decoder", "") === "wasm" ? { provider: "wasm" } : target),
    });
  const model = await readStudyModel(source);
  const box = new TimeBox(Number(value("seconds", "Infinity")));
  const compared = value("settings", "") === "all" ? SETTINGS.map(({ name }) => name) : namesOr(COMPARED);
  switch (mode) {
    case "worker":
      return await runQualityWorker(rest);
    case "merge":
      return await tellQuality(out, model, compared);
    case "memory":
      return console.table(await longVideoMemory(source, { lengths, names: namesOr(TIMED) }));
    case "time": {
      const pipeline = await open();
      const openProfiled = onGpu ? () => open(true) : undefined;
      const options = { out, lengths, names: namesOr(TIMED), box, openProfiled };
      console.table(await timeLongVideos(pipeline, model, options));
      return await pipeline.dispose();
    }
    case "quality": {
      await measureQuality({
        out,
        model: value("model", "models/weft-nano"),
        engine: value("engine", "webgpu"),
        processes: Number(value("processes", "14")),
        cards: parseCards(value("cards", "")),
        lengths,
        names: compared,
        prompts: Number(value("prompts", String(PROMPTS.length))),
        box,
      });
      return await tellQuality(out, model, compared);
    }
    default:
      throw new Error(`There is no "long ${mode}": there are time, quality, merge and memory.`);
  }
}
