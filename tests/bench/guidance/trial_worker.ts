// A process that renders and measures trials for trial_farm.ts: the model is loaded once. Nothing is encoded.
import { setFlagsFromString } from "node:v8";
import { beginScore } from "../../../src/cli/eval_video.ts";
import { measuredValues } from "../../../src/cli/eval_table.ts";
import { startDawn } from "../../../src/cli/dawn_node.ts";
import { Gpu } from "../../../src/gpu/gpu.ts";
import { VideoMeter } from "../../../src/metrics/video_meter.ts";
import { chooseOrtTarget, type OrtRuntime } from "../../../src/onnx/ort_runtime.ts";
import { openOrtInNode } from "../../../src/onnx/ort_runtime_node.ts";
import { openScorer } from "../../../src/onnx/scorer.ts";
import type { Latents } from "../../../src/pipelines/decode_latents.ts";
import { WanPipeline } from "../../../src/pipelines/wan_pipeline.ts";
import { openFolderSource } from "../../../src/weights/folder_source_node.ts";
import { serveFarm } from "../process_farm.ts";
import { promptOf } from "./prompts.ts";
import { denoiseTogether } from "./render_together.ts";
import type { Trial, Values } from "./trial.ts";
import type { TrialGroup } from "./trial_farm.ts";
import { openWholeDecoder, type WholeDecoder } from "./whole_decoder.ts";

interface Tools {
  readonly pipeline: WanPipeline;
  readonly judge: Parameters<typeof beginScore>[1]["judge"];
  /** The decoder for latents of a shape; the next shape's replaces it. */
  readonly decoderFor: (shape: Latents["shape"]) => Promise<WholeDecoder>;
}

/** Serves until the farm closes the channel. */
export async function runTrialWorker([
  model = "",
  engine = "",
  judgeOn = "",
]: readonly string[]): Promise<void> {
  const tools = await openTools(model, engine === "onnx", judgeOn === "gpu");
  await serveFarm<TrialGroup, readonly Values[]>((trials) => measureTrials(tools, trials));
}

/** The processes are what is parallel. */
const ONE_THREAD = { provider: "wasm", numThreads: 1 } as const;
/** V8's budget for WebAssembly that never is optimized (src/onnx/ort_runtime_node.ts says why). */
const NEVER_OPTIMIZED = "--wasm-tiering-budget=2000000000";

async function openTools(model: string, onCpu: boolean, judgeOnGpu: boolean): Promise<Tools> {
  // Where one bundle of onnxruntime serves judge and decoder, the judge's session compiles it.
  if (!onCpu) setFlagsFromString(NEVER_OPTIMIZED);
  const source = openFolderSource(model);
  const gpu = onCpu ? undefined : await Gpu.open({ gpu: startDawn() });
  const target = gpu ? chooseOrtTarget(gpu) : ONE_THREAD;
  const ort = await openOrtInNode(target.provider === "wasm" ? ONE_THREAD : target);
  const pipeline = await WanPipeline.open({
    source,
    openGpu: gpu && (async () => gpu),
    openOrt: async () => ort,
  });
  const scorer = await openScorer(source, async () => (judgeOnGpu ? ort : await openOrtInNode(ONE_THREAD)));
  return {
    pipeline,
    judge: scorer ? { scorer, tokenizer: pipeline.files.tokenizer } : undefined,
    decoderFor: decoders(pipeline, ort),
  };
}

function decoders(pipeline: WanPipeline, ort: OrtRuntime): Tools["decoderFor"] {
  let opened: { readonly key: string; readonly decoder: WholeDecoder } | undefined;
  return async (shape) => {
    const key = shape.join();
    if (opened?.key === key) return opened.decoder;
    await opened?.decoder.release();
    opened = { key, decoder: await openWholeDecoder(pipeline.files, ort, shape) };
    return opened.decoder;
  };
}

async function measureTrials(tools: Tools, trials: readonly Trial[]): Promise<Values[]> {
  const start = performance.now();
  const videos = await denoiseTogether(tools.pipeline, trials);
  const denoising = (performance.now() - start) / 1000 / trials.length;
  const values: Values[] = [];
  for (const [index, { prompt }] of trials.entries()) {
    const latents = videos[index];
    if (latents) values.push(rounded({ ...(await measure(tools, promptOf(prompt), latents)), denoising }));
  }
  return values;
}

/** The measures of a video, and the seconds they took. */
async function measure(
  { judge, decoderFor }: Tools,
  prompt: string,
  latents: Latents,
): Promise<Record<string, number>> {
  const meter = new VideoMeter();
  const score = beginScore(prompt, { judge });
  const decoder = await decoderFor(latents.shape);
  const begun = performance.now();
  const frames = await decoder.decode(latents);
  const decoded = performance.now();
  meter.write(frames);
  const looked = performance.now();
  await score?.write(frames);
  const judging = (performance.now() - looked) / 1000;
  const scored = score?.finish();
  const measured = measuredValues({
    file: "",
    prompt,
    metrics: meter.finish(),
    ...(scored && { score: scored }),
  });
  return { ...measured, decoding: (decoded - begun) / 1000, measuring: (looked - decoded) / 1000, judging };
}

function rounded(values: Record<string, number>): Values {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, Number(value.toPrecision(6))]),
  );
}
