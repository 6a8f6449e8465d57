// What a guided step costs: the perturbed pass by itself, and where it goes on from the conditional pass's hidden states.
// Predicted is the share of blocks in front of the first perturbed one. Times are the shortest of several: they are
// compared with each other, and what else a machine does only adds to them.
import { parseWanTransformerConfig } from "../../src/dit/transformer_config.ts";
import { OnnxWanTransformer } from "../../src/dit/onnx_transformer.ts";
import { WanTransformer3DModel } from "../../src/dit/transformer_wan.ts";
import { Gpu } from "../../src/gpu/gpu.ts";
import { startDawn } from "../../src/cli/dawn_node.ts";
import type { ForwardPass, PassPerturbation } from "../../src/guiders/guider.ts";
import { openOrtInNode } from "../../src/onnx/ort_runtime_node.ts";
import { createOnnxDenoiser } from "../../src/pipelines/onnx_denoiser.ts";
import type { Denoiser, DenoiserOptions } from "../../src/pipelines/denoiser.ts";
import { initialNoise } from "../../src/pipelines/noise.ts";
import { createWebgpuDenoiser } from "../../src/pipelines/webgpu_denoiser.ts";
import { openCheckpoint } from "../../src/weights/checkpoint.ts";
import { openFolderSource } from "../../src/weights/folder_source_node.ts";
import { readJson } from "../../src/weights/json_file.ts";
import { randomCheckpoint, WAN_1_3B } from "./random_checkpoint.ts";

/** Milliseconds of a step. */
export interface GuidedStepRow {
  readonly perturbation: string;
  readonly firstLayer: number;
  readonly conditional: number;
  /** The perturbed pass without and with sharing. */
  readonly alone: number;
  readonly shared: number;
  /** Share of the perturbed pass that sharing saves. */
  readonly saved: number;
  readonly predicted: number;
}

const REPETITIONS = 5;

/** weft-nano on the CPU: 17 frames of 128x128. */
export async function guidedStepsOnCpu(): Promise<GuidedStepRow[]> {
  const source = openFolderSource("models/weft-nano");
  const config = parseWanTransformerConfig(await readJson(source, "transformer_fewstep/config.json"));
  const ort = await openOrtInNode({ provider: "wasm" });
  const checkpoint = await openCheckpoint(source, "transformer_fewstep");
  const transformer = await OnnxWanTransformer.load(ort, checkpoint, { config });
  const size = { numLatentFrames: 5, latentHeight: 16, latentWidth: 16 };
  const rows = await timeAll({ layers: config.num_layers, textDim: config.text_dim, size }, (options) =>
    createOnnxDenoiser(transformer, options),
  );
  await transformer.dispose();
  return rows;
}

/** The shape of Wan 2.1 1.3B with random weights on the GPU: 81 frames of 832x480. */
export async function guidedStepsOnGpu(): Promise<GuidedStepRow[]> {
  const gpu = await Gpu.open({ gpu: startDawn() });
  const dtype = gpu.capabilities.f16 ? "f16" : "f32";
  const options = { config: WAN_1_3B, dtype, storage: "stored" } as const;
  const transformer = await WanTransformer3DModel.load(gpu, randomCheckpoint("f16"), options);
  const size = { numLatentFrames: 21, latentHeight: 60, latentWidth: 104 };
  const rows = await timeAll({ layers: WAN_1_3B.num_layers, textDim: WAN_1_3B.text_dim, size }, (denoiser) =>
    createWebgpuDenoiser(gpu, transformer, denoiser),
  );
  transformer.dispose();
  gpu.dispose();
  return rows;
}

interface Shape {
  readonly layers: number;
  readonly textDim: number;
  readonly size: DenoiserOptions["size"];
}

async function timeAll<T>(
  { layers, textDim, size }: Shape,
  create: (options: DenoiserOptions) => Promise<Denoiser<T>>,
): Promise<GuidedStepRow[]> {
  const numTokens = 20;
  const data = Float32Array.from({ length: numTokens * textDim }, (_, i) => 0.1 * Math.sin(i));
  const embeds = { conditional: { data, numTokens, maxSequenceLength: 64 } };
  const rows: GuidedStepRow[] = [];
  for (const share of [0, 0.25, 0.5, 0.75]) {
    const firstLayer = Math.floor(share * layers);
    const perturbations: readonly (readonly [string, PassPerturbation])[] = [
      ["3 heads, u = 0.5", headsOf(firstLayer, { heads: [0, 1, 2], strength: 0.5 })],
      ["whole layer, u = 1", headsOf(firstLayer, { strength: 1 })],
      ["skipped block", { kind: "skipped_blocks", layers: [firstLayer] }],
    ];
    for (const [name, perturbation] of perturbations) {
      const denoiser = await create({ size, embeds, perturbation });
      const conditional = await timeStep(denoiser, size, ["conditional"]);
      const alone = await timeStep(denoiser, size, ["perturbed"]);
      const shared = (await timeStep(denoiser, size, ["conditional", "perturbed"])) - conditional;
      const predicted = firstLayer / layers;
      rows.push({
        perturbation: name,
        firstLayer,
        conditional,
        alone,
        shared,
        saved: 1 - shared / alone,
        predicted,
      });
      denoiser.dispose();
    }
  }
  return rows;
}

function headsOf(
  layer: number,
  { heads, strength }: { heads?: number[]; strength: number },
): PassPerturbation {
  return { kind: "heads", heads: [{ layers: [layer], strength, ...(heads && { heads }) }] };
}

async function timeStep<T>(
  denoiser: Denoiser<T>,
  { numLatentFrames, latentHeight: height, latentWidth: width }: DenoiserOptions["size"],
  passes: readonly ForwardPass[],
): Promise<number> {
  const latents = denoiser.upload(
    initialNoise({ seed: 1, channels: 16, numLatentFrames, height, width }),
    "latents",
  );
  const times: number[] = [];
  for (let i = 0; i <= REPETITIONS; i++) {
    const start = performance.now();
    const step = denoiser.begin(0);
    for (const pass of passes) await step.forward(pass, { latents, timestep: 700 });
    await step.finish({});
    if (i > 0) times.push(performance.now() - start);
  }
  denoiser.free(latents);
  return Math.min(...times);
}
