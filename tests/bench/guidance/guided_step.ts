// What a guided step costs: the perturbed pass by itself, and where it goes on from the conditional pass's hidden states.
// Predicted is the share of blocks in front of the first perturbed one. Times are the shortest of several: they are
// compared with each other, and what else a machine does only adds to them.
//   guidance steps gpu [frames=33] [seconds=90] [repetitions=2]: the 1.3B shape at 832x480, random weights
//   guidance steps cpu [frames=17] [seconds=90] [repetitions=5]: weft-nano
import { parseWanTransformerConfig } from "../../../src/dit/transformer_config.ts";
import { OnnxWanTransformer } from "../../../src/dit/onnx_transformer.ts";
import { WanTransformer3DModel } from "../../../src/dit/transformer_wan.ts";
import { Gpu } from "../../../src/gpu/gpu.ts";
import { startDawn } from "../../../src/cli/dawn_node.ts";
import type { ForwardPass, PassPerturbation } from "../../../src/guiders/guider.ts";
import { openOrtInNode } from "../../../src/onnx/ort_runtime_node.ts";
import { createOnnxDenoiser } from "../../../src/pipelines/onnx_denoiser.ts";
import type { Denoiser, DenoiserOptions } from "../../../src/pipelines/denoiser.ts";
import { initialNoise } from "../../../src/pipelines/noise.ts";
import { createWebgpuDenoiser } from "../../../src/pipelines/webgpu_denoiser.ts";
import { openCheckpoint } from "../../../src/weights/checkpoint.ts";
import { openFolderSource } from "../../../src/weights/folder_source_node.ts";
import { readJson } from "../../../src/weights/json_file.ts";
import type { TimeBox } from "../time_box.ts";
import { randomCheckpoint, WAN_1_3B } from "../random_checkpoint.ts";

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

/** How much to time. */
export interface GuidedStepOptions {
  readonly numLatentFrames: number;
  /** Of each time, besides one to warm up. */
  readonly repetitions: number;
  /** No row is begun that would not end in time. */
  readonly time: TimeBox;
}

/** weft-nano on the CPU, at 128x128. */
export async function guidedStepsOnCpu(options: GuidedStepOptions): Promise<GuidedStepRow[]> {
  const source = openFolderSource("models/weft-nano");
  const config = parseWanTransformerConfig(await readJson(source, "transformer_fewstep/config.json"));
  const ort = await openOrtInNode({ provider: "wasm" });
  const checkpoint = await openCheckpoint(source, "transformer_fewstep");
  const transformer = await OnnxWanTransformer.load(ort, checkpoint, { config });
  const size = { numLatentFrames: options.numLatentFrames, latentHeight: 16, latentWidth: 16 };
  const shape = { layers: config.num_layers, textDim: config.text_dim, size };
  const rows = await timeAll(shape, options, (denoiser) => createOnnxDenoiser(transformer, denoiser));
  await transformer.dispose();
  return rows;
}

/** The shape of Wan 2.1 1.3B with random weights on the GPU, at 832x480. */
export async function guidedStepsOnGpu(options: GuidedStepOptions): Promise<GuidedStepRow[]> {
  const gpu = await Gpu.open({ gpu: startDawn() });
  const dtype = gpu.capabilities.f16 ? "f16" : "f32";
  const load = { config: WAN_1_3B, dtype, storage: "stored" } as const;
  const transformer = await WanTransformer3DModel.load(gpu, randomCheckpoint("f16"), load);
  const size = { numLatentFrames: options.numLatentFrames, latentHeight: 60, latentWidth: 104 };
  const shape = { layers: WAN_1_3B.num_layers, textDim: WAN_1_3B.text_dim, size };
  const rows = await timeAll(shape, options, (denoiser) => createWebgpuDenoiser(gpu, transformer, denoiser));
  transformer.dispose();
  gpu.dispose();
  return rows;
}

interface Shape {
  readonly layers: number;
  readonly textDim: number;
  readonly size: DenoiserOptions["size"];
}

/** Where the first perturbed layer lies, as a share of all: the middle first, in case time is short. */
const SHARES = [0.5, 0.25, 0.75, 0];

async function timeAll<T>(
  { layers, textDim, size }: Shape,
  { repetitions, time }: GuidedStepOptions,
  create: (options: DenoiserOptions) => Promise<Denoiser<T>>,
): Promise<GuidedStepRow[]> {
  const numTokens = 20;
  const data = Float32Array.from({ length: numTokens * textDim }, (_, i) => 0.1 * Math.sin(i));
  const embeds = { conditional: { data, numTokens, maxSequenceLength: 64 } };
  const rows: GuidedStepRow[] = [];
  let longest = 0;
  for (const [name, firstLayer, perturbation] of SHARES.flatMap((share) => perturbationsAt(share, layers))) {
    if (!time.fits(longest)) break;
    const begun = time.left;
    const denoiser = await create({ size, embeds, perturbation });
    const timed = (passes: readonly ForwardPass[]): Promise<number> =>
      timeStep(denoiser, { size, passes, repetitions });
    const conditional = await timed(["conditional"]);
    const alone = await timed(["perturbed"]);
    const shared = (await timed(["conditional", "perturbed"])) - conditional;
    denoiser.dispose();
    const saved = 1 - shared / alone;
    const predicted = firstLayer / layers;
    rows.push({ perturbation: name, firstLayer, conditional, alone, shared, saved, predicted });
    console.log(JSON.stringify(rows.at(-1)));
    longest = Math.max(longest, begun - time.left);
  }
  return rows;
}

function perturbationsAt(share: number, layers: number): [string, number, PassPerturbation][] {
  const first = Math.floor(share * layers);
  return [
    ["3 heads, u = 0.5", first, headsOf(first, { heads: [0, 1, 2], strength: 0.5 })],
    ["whole layer, u = 1", first, headsOf(first, { strength: 1 })],
    ["skipped block", first, { kind: "skipped_blocks", layers: [first] }],
  ];
}

function headsOf(
  layer: number,
  { heads, strength }: { heads?: number[]; strength: number },
): PassPerturbation {
  return { kind: "heads", heads: [{ layers: [layer], strength, ...(heads && { heads }) }] };
}

interface TimedStep extends Pick<GuidedStepOptions, "repetitions"> {
  readonly size: DenoiserOptions["size"];
  readonly passes: readonly ForwardPass[];
}

async function timeStep<T>(denoiser: Denoiser<T>, { size, passes, repetitions }: TimedStep): Promise<number> {
  const { numLatentFrames, latentHeight: height, latentWidth: width } = size;
  const latents = denoiser.upload(
    initialNoise({ seed: 1, channels: 16, numLatentFrames, height, width }),
    "latents",
  );
  const times: number[] = [];
  for (let i = 0; i <= repetitions; i++) {
    const start = performance.now();
    const step = denoiser.begin(0);
    for (const pass of passes) await step.forward(pass, { latents, timestep: 700 });
    await step.finish({});
    if (i > 0) times.push(performance.now() - start);
  }
  denoiser.free(latents);
  return Math.min(...times);
}
