// A process of the long-video study's farm: renders and measures one video after another, with the model loaded once.
import { startDawn } from "../../src/cli/dawn_node.ts";
import { Gpu } from "../../src/gpu/gpu.ts";
import { openOrtInNode } from "../../src/onnx/ort_runtime_node.ts";
import { WanPipeline } from "../../src/pipelines/wan_pipeline.ts";
import { openFolderSource } from "../../src/weights/folder_source_node.ts";
import { openJudge } from "./judge.ts";
import {
  denoiseStudy,
  measureStudy,
  readStudyModel,
  type StudyJob,
  type StudyMeasures,
} from "./long_video_render.ts";
import { settingByName } from "./long_video_settings.ts";
import { serveFarm } from "./process_farm.ts";

/** One video to be made. */
export interface QualityTask extends Pick<StudyJob, "frames" | "prompt"> {
  /** Name of a setting. */
  readonly setting: string;
  /** Whether it is only denoised, so that its kernels are compiled. */
  readonly isWarmUp?: true;
}

/** One rendered and measured video. */
export interface QualityRow extends QualityTask, Omit<StudyMeasures, "seconds"> {
  readonly seconds: StudyMeasures["seconds"] & { readonly denoise: number };
}

/** The processes are what is parallel. */
const ONE_THREAD = { provider: "wasm", numThreads: 1 } as const;

/** Serves until the farm closes the channel. A warm-up gives null. */
export async function runQualityWorker([model = "", engine = ""]: readonly string[]): Promise<void> {
  const source = openFolderSource(model);
  const pipeline = await WanPipeline.open({
    source,
    openGpu: engine === "onnx" ? undefined : () => Gpu.open({ gpu: startDawn() }),
    openOrt: (target) => openOrtInNode(target.provider === "wasm" ? ONE_THREAD : target),
  });
  const judge = await openJudge(pipeline.files, ONE_THREAD);
  const study = await readStudyModel(source);
  await serveFarm<QualityTask, QualityRow | null>(async ({ setting, frames, prompt, isWarmUp }) => {
    const job = { setting: settingByName(setting), frames, prompt };
    const { latents, seconds } = await denoiseStudy(pipeline, study, job);
    if (isWarmUp) return null;
    const found = await measureStudy(pipeline, latents, { frames, prompt, judge });
    return { ...found, setting, frames, prompt, seconds: { ...found.seconds, denoise: seconds } };
  });
}
