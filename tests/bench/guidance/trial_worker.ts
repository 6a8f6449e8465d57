// A process that renders and measures trials for trial_farm.ts: the model is loaded once, and what is asked for comes over
// the process's own channel. Nothing is encoded.
import { setFlagsFromString } from "node:v8";
import { beginScore } from "../../../src/cli/eval_video.ts";
import { measuredValues } from "../../../src/cli/eval_table.ts";
import { startDawn } from "../../../src/cli/dawn_node.ts";
import { Gpu } from "../../../src/gpu/gpu.ts";
import { VideoMeter } from "../../../src/metrics/video_meter.ts";
import { openOrtInNode } from "../../../src/onnx/ort_runtime_node.ts";
import { openScorer } from "../../../src/onnx/scorer.ts";
import type { Latents } from "../../../src/pipelines/decode_latents.ts";
import { WanPipeline } from "../../../src/pipelines/wan_pipeline.ts";
import { openFolderSource } from "../../../src/weights/folder_source_node.ts";
import { promptOf } from "./prompts.ts";
import { denoiseTogether } from "./render_together.ts";
import type { Trial, Values } from "./trial.ts";

/** What the farm sends: trials that share a group. */
export interface TrialRequest {
  readonly trials: readonly Trial[];
}

/** What comes back: first `ready`, then an answer to every request. */
export type TrialAnswer =
  | { readonly type: "ready" }
  | { readonly type: "values"; readonly values: readonly Values[] }
  | { readonly type: "failed"; readonly message: string };

interface Tools {
  readonly pipeline: WanPipeline;
  readonly judge: Parameters<typeof beginScore>[1]["judge"];
}

/** Serves until the farm closes the channel. */
export async function runTrialWorker([model = "", engine = "webgpu"]: readonly string[]): Promise<void> {
  const tools = await openTools(model, engine);
  const answer = (message: TrialAnswer): void => void process.send?.(message);
  process.on("message", ({ trials }: TrialRequest) => {
    measureTrials(tools, trials).then(
      (values) => answer({ type: "values", values }),
      (error: unknown) =>
        answer({ type: "failed", message: error instanceof Error ? (error.stack ?? "") : String(error) }),
    );
  });
  answer({ type: "ready" });
  await new Promise((resolve) => process.once("disconnect", resolve));
}

/** The processes are what is parallel. */
const ONE_THREAD = { provider: "wasm", numThreads: 1 } as const;
/** V8's budget for WebAssembly that never is optimized (src/onnx/ort_runtime_node.ts says why). */
const NEVER_OPTIMIZED = "--wasm-tiering-budget=2000000000";

async function openTools(model: string, engine: string): Promise<Tools> {
  // Where one bundle of onnxruntime serves judge and decoder, the judge's session compiles it.
  if (engine === "webgpu") setFlagsFromString(NEVER_OPTIMIZED);
  const source = openFolderSource(model);
  const pipeline = await WanPipeline.open({
    source,
    openGpu: engine === "onnx" ? undefined : () => Gpu.open({ gpu: startDawn() }),
    openOrt: (target) => openOrtInNode(target.provider === "wasm" ? ONE_THREAD : target),
  });
  const scorer = await openScorer(source, () => openOrtInNode(ONE_THREAD));
  return { pipeline, judge: scorer ? { scorer, tokenizer: pipeline.files.tokenizer } : undefined };
}

async function measureTrials(tools: Tools, trials: readonly Trial[]): Promise<Values[]> {
  const start = performance.now();
  const videos = await denoiseTogether(tools.pipeline, trials);
  const denoising = (performance.now() - start) / 1000 / trials.length;
  const values: Values[] = [];
  for (const [index, trial] of trials.entries()) {
    const latents = videos[index];
    if (latents) values.push(rounded({ ...(await measure(tools, trial.prompt, latents)), denoising }));
  }
  return values;
}

/** The measures of a video. */
async function measure(
  { pipeline, judge }: Tools,
  prompt: number,
  latents: Latents,
): Promise<Record<string, number>> {
  const text = promptOf(prompt);
  const meter = new VideoMeter();
  const score = beginScore(text, { judge });
  let [decoding, measuring, judging] = [0, 0, 0];
  let before = performance.now();
  const lap = (): number => -before + (before = performance.now());
  for await (const batch of pipeline.decode(latents)) {
    decoding += lap();
    meter.write(batch);
    measuring += lap();
    await score?.write(batch);
    judging += lap();
  }
  const scored = score?.finish();
  const measured = measuredValues({
    file: "",
    prompt: text,
    metrics: meter.finish(),
    ...(scored && { score: scored }),
  });
  const seconds = { decoding: decoding / 1000, measuring: measuring / 1000, judging: judging / 1000 };
  return { ...measured, ...seconds };
}

function rounded(values: Record<string, number>): Values {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, Number(value.toPrecision(6))]),
  );
}
