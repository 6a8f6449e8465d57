// How often a workgroup of attention_subgroup_matrix.wgsl would start again in weft-nano, because the largest logit of its
// sample of keys is too small. The operands are those of the model's own renders, as the adapter computes them, or
// SwiftShader; the kernel's rule is followed on the CPU, so no matrix units are needed.
//   bench.mjs restarts [variant=student|base] [frames=33] [attention=full|long] [prompts=4] [steps=0,1,2,3 looked at]
//     [of=30, steps of a base render] [every=1, n: each nth tile of 64 queries] [model=DIR] [json=FILE]
// "long" is the plan that long videos get. Of the base model's two passes the one with the prompt is looked at.
import { writeFileSync } from "node:fs";
import { openHost } from "../../src/cli/adapter_node.ts";
import { freeGeometry } from "../../src/dit/geometry.ts";
import { freeTextContext } from "../../src/dit/text_context.ts";
import { WanTransformer3DModel } from "../../src/dit/transformer_wan.ts";
import { Gpu } from "../../src/gpu/gpu.ts";
import { openOrtInNode } from "../../src/onnx/ort_runtime_node.ts";
import { denoiseUpTo } from "../../src/pipelines/mask_search.ts";
import { withLongVideoPlan } from "../../src/pipelines/model_attention.ts";
import { readTransformerConfig } from "../../src/pipelines/model_files.ts";
import type { RenderSettings } from "../../src/pipelines/render_options.ts";
import { WanPipeline } from "../../src/pipelines/wan_pipeline.ts";
import { freeTensor, uploadTensor } from "../../src/tensor/tensor.ts";
import { openCheckpoint } from "../../src/weights/checkpoint.ts";
import { openFolderSource } from "../../src/weights/folder_source_node.ts";
import { AttentionWatch, type SeenAttention } from "./attention_watch.ts";
import { RestartTally } from "./restart_tally.ts";

const PROMPTS = [
  "a large shiny red ball bounces on grass in daylight, static camera",
  "a big blue cube spins on a checkered floor at sunset, the camera orbits left",
  "a small shiny yellow pyramid rises on water at night",
  "a large matte green cylinder rolls right on snow, the camera pans right",
];

/** Runs the study. */
export async function studyRestarts(args: readonly string[]): Promise<void> {
  const host = await openHost();
  if (host.type === "elsewhere") {
    process.exitCode = host.code;
    return;
  }
  const value = (name: string, otherwise: string): string =>
    args.find((arg) => arg.startsWith(`${name}=`))?.slice(name.length + 1) ?? otherwise;
  const gpu = await Gpu.open({ gpu: host.gpu });
  const pipeline = await WanPipeline.open({
    source: openFolderSource(value("model", "models/weft-nano")),
    openGpu: gpu.capabilities.software ? undefined : () => Gpu.open({ gpu: host.gpu }),
    openOrt: openOrtInNode,
  });
  const steps = value("steps", "0,1,2,3").split(",").map(Number);
  const tally = new RestartTally(Number(value("every", "1")));
  for (const [seed, prompt] of PROMPTS.slice(0, Number(value("prompts", "4"))).entries()) {
    const settings = await settingsOf(pipeline, { prompt, seed }, value);
    await measureRender({ pipeline, gpu, settings, steps, tally });
  }
  console.table(tally.rows());
  const file = value("json", "");
  if (file !== "") writeFileSync(file, JSON.stringify({ arguments: args, rows: tally.rows() }, null, 1));
  await pipeline.dispose();
  gpu.dispose();
}

async function settingsOf(
  pipeline: WanPipeline,
  { prompt, seed }: { readonly prompt: string; readonly seed: number },
  value: (name: string, otherwise: string) => string,
): Promise<RenderSettings> {
  const variant = value("variant", "student");
  if (!["student", "base"].includes(variant)) {
    throw new Error(`The variant must be student or base, not "${variant}".`);
  }
  const base = variant === "base" && { numInferenceSteps: Number(value("of", "30")), guidanceScale: 2.5 };
  const settings = pipeline.resolve({ prompt, seed, numFrames: Number(value("frames", "33")), ...base });
  const attention = value("attention", "full");
  if (attention === "long") return await withLongVideoPlan(settings, pipeline.files);
  if (attention === "full") return settings;
  throw new Error(`The attention must be full or long, not "${attention}".`);
}

interface Measured {
  readonly pipeline: WanPipeline;
  /** Where the operands are computed. */
  readonly gpu: Gpu;
  readonly settings: RenderSettings;
  readonly steps: readonly number[];
  readonly tally: RestartTally;
}

async function measureRender({ pipeline, gpu, settings, steps, tally }: Measured): Promise<void> {
  const { latents, denoised } = await denoiseUpTo(pipeline, settings, { steps });
  if (latents.size < steps.length) {
    throw new Error(`The steps must be from 0 to ${settings.numInferenceSteps - 1}, not ${steps.join()}.`);
  }
  const transformer = await loadTransformer(pipeline, gpu, settings);
  const { numLatentFrames, height, width, attention } = settings;
  const size = { numLatentFrames, latentHeight: height / 8, latentWidth: width / 8 };
  const geometry = transformer.createGeometry(size, attention);
  const text = await transformer.createTextContext(denoised.prompt, geometry);
  const ofText = new Map(text.keysValues.map(({ k }, layer) => [k.buffer, layer]));
  for (const [step, data] of latents) {
    const spec = { label: "latents", dtype: "f32", shape: denoised.latents.shape } as const;
    const sample = uploadTensor(gpu, spec, data);
    const watch = new AttentionWatch(gpu, `step ${step}`);
    const timestep = denoised.timesteps[step] ?? 0;
    const velocity = transformer.forward(watch, { latents: sample, timestep, step, text, geometry });
    watch.release(velocity.buffer);
    await watch.submit();
    const own: SeenAttention[] = []; // of the layer whose attention over the text comes next
    for (const seen of watch.seen) {
      const layer = ofText.get(seen.keys);
      if (layer === undefined) {
        own.push(seen);
        continue;
      }
      for (const { operands } of own.splice(0)) tally.add({ kind: "self", layer }, await operands);
      tally.add({ kind: "text", layer }, await seen.operands);
    }
    freeTensor(gpu, sample);
    console.log(`${settings.prompt.slice(0, 24)}…, step ${step}; so far: ${tally.summary()}`);
  }
  freeTextContext(gpu, text);
  freeGeometry(geometry);
  transformer.dispose();
}

async function loadTransformer(
  { files }: WanPipeline,
  gpu: Gpu,
  { transformerFolder: folder }: RenderSettings,
): Promise<WanTransformer3DModel> {
  const { software, f16 } = gpu.capabilities;
  return await WanTransformer3DModel.load(gpu, await openCheckpoint(files.source, folder), {
    config: await readTransformerConfig(files, folder),
    storage: software ? "f32" : "stored",
    dtype: f16 ? "f16" : "f32",
  });
}
