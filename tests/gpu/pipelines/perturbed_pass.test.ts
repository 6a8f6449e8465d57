// The perturbed pass of the WebGPU denoiser: against the transformer's f64 twin, and sharing the conditional pass's
// beginning exactly.
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { dualScope } from "../../../src/attention/plan_constructors.ts";
import { parseWanTransformerConfig } from "../../../src/dit/transformer_config.ts";
import { WanTransformer3DModel } from "../../../src/dit/transformer_wan.ts";
import { Recorder } from "../../../src/gpu/recorder.ts";
import type { ForwardPass, PassPerturbation } from "../../../src/guiders/guider.ts";
import type { DenoiserOptions } from "../../../src/pipelines/denoiser.ts";
import { createWebgpuDenoiser } from "../../../src/pipelines/webgpu_denoiser.ts";
import type { Tensor } from "../../../src/tensor/tensor.ts";
import { openCheckpoint } from "../../../src/weights/checkpoint.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { readFixtureJson } from "../../reference/fixture_tensors.ts";
import { normalNumbers, randomWan, randomWanSource } from "../../reference/random_wan.ts";
import { transformer as twin, type TransformerProblem } from "../../reference/transformer_wan.ts";
import { useGpu } from "../device.ts";

const gpu = useGpu();

const LAYERS = 4;
const HEADS = 3;
const config = parseWanTransformerConfig({
  ...(readFixtureJson("wan_head128/transformer/config.json") as Record<string, unknown>),
  num_attention_heads: HEADS,
  attention_head_dim: 32,
  num_layers: LAYERS,
});
const weights = randomWan(config, 7);
const SHAPE = [config.in_channels, 3, 6, 10] as const; // 45 tokens
const LATENTS = normalNumbers(
  SHAPE.reduce((a, b) => a * b),
  8,
);
const TIMESTEP = 700;
const TEXT_ROWS = 8;
const TEXT = { data: normalNumbers(5 * config.text_dim, 9), numTokens: 5, maxSequenceLength: TEXT_ROWS };

const SOFT_HEADS: PassPerturbation = {
  kind: "heads",
  heads: [
    { layers: [2], heads: [0, 2], strength: 0.4 },
    { layers: [3], heads: [1], strength: 1 },
  ],
};
const WHOLE_LAYER: PassPerturbation = { kind: "heads", heads: [{ layers: [1], strength: 1 }] };
const NO_STRENGTH: PassPerturbation = { kind: "heads", heads: [{ layers: [1, 2], strength: 0 }] };
const FIRST_LAYER: PassPerturbation = { kind: "heads", heads: [{ layers: [0], heads: [1], strength: 0.5 }] };
const SKIPPED: PassPerturbation = { kind: "skipped_blocks", layers: [1, 3] };

let model: WanTransformer3DModel;
beforeAll(async () => {
  const checkpoint = await openCheckpoint(randomWanSource(weights), "transformer");
  model = await WanTransformer3DModel.load(gpu(), checkpoint, { config, storage: "f32", dtype: "f32" });
});
afterAll(() => model.dispose());

/** What a pass gave, and what was recorded for it. */
interface Passed {
  readonly velocity: Float32Array;
  readonly flops: number;
  /** Of tensors. */
  readonly copies: number;
}

/** Runs passes of one step, in this order. */
async function run(
  passes: readonly ForwardPass[],
  options: Pick<DenoiserOptions, "perturbation" | "attention">,
): Promise<Passed[]> {
  const [, numLatentFrames, latentHeight, latentWidth] = SHAPE;
  const size = { numLatentFrames, latentHeight, latentWidth };
  const embeds = { conditional: TEXT };
  const denoiser = await createWebgpuDenoiser(gpu(), model, { size, embeds, ...options });
  const latents = denoiser.upload(LATENTS, "latents");
  const step = denoiser.begin(0);
  const outputs: (Omit<Passed, "velocity"> & { readonly tensor: Tensor })[] = [];
  for (const pass of passes) {
    const dispatch = vi.spyOn(Recorder.prototype, "dispatch");
    const copy = vi.spyOn(Recorder.prototype, "copy");
    const tensor = await step.forward(pass, { latents, timestep: TIMESTEP });
    const flops = dispatch.mock.calls.reduce((sum, [descriptor]) => sum + descriptor.flops, 0);
    const kernels = dispatch.mock.calls.filter(([{ kernel }]) => kernel.stem === "copy_rows");
    const copies = copy.mock.calls.length + kernels.length;
    for (const spy of [dispatch, copy]) spy.mockRestore();
    outputs.push({ tensor: step.combine([{ tensor, coefficient: 1 }], "model_output"), flops, copies });
  }
  await step.finish({});
  const results: Passed[] = [];
  for (const { tensor, ...recorded } of outputs) {
    results.push({ velocity: await denoiser.read(tensor), ...recorded });
    denoiser.free(tensor);
  }
  denoiser.free(latents);
  denoiser.dispose();
  return results;
}

function wanted(problem: Pick<TransformerProblem, "strength" | "skippedBlocks">): Float64Array {
  const text = new Float32Array(TEXT_ROWS * config.text_dim);
  text.set(TEXT.data);
  return twin({
    config,
    weight: (name) => weights.get(name)?.data ?? [],
    latents: LATENTS,
    shape: SHAPE,
    timestep: TIMESTEP,
    text,
    ...problem,
  }).velocity;
}

function strength(layer: number, head: number): number {
  if (layer === 2) return head === 1 ? 0 : 0.4;
  return layer === 3 && head === 1 ? 1 : 0;
}

describe.each<[string, PassPerturbation, Parameters<typeof wanted>[0]]>([
  ["some heads", SOFT_HEADS, { strength }],
  [
    "a whole layer at u = 1, whose attention is the identity",
    WHOLE_LAYER,
    { strength: (l) => Number(l === 1) },
  ],
  ["skipped blocks", SKIPPED, { skippedBlocks: [1, 3] }],
])("perturbing %s", (_name, perturbation, problem) => {
  test("gives the twin's velocity, another than without", async () => {
    const [perturbed] = await run(["perturbed"], { perturbation });
    expect(relativeL2(perturbed!.velocity, wanted(problem))).toBeLessThan(1e-4);
    expect(relativeL2(perturbed!.velocity, wanted({}))).toBeGreaterThan(1e-2);
  });

  test("after the conditional pass goes on from its hidden states, with exactly the same result", async () => {
    const [alone] = await run(["perturbed"], { perturbation });
    const [conditional, shared] = await run(["conditional", "perturbed"], { perturbation });
    expect(shared!.velocity).toEqual(alone!.velocity);
    expect(relativeL2(conditional!.velocity, wanted({}))).toBeLessThan(1e-4);
    expect(shared!.flops).toBeLessThan(alone!.flops);
  });
});

test("u = 0 is no perturbation", async () => {
  const [conditional] = await run(["conditional"], {});
  const [perturbed] = await run(["perturbed"], { perturbation: NO_STRENGTH });
  expect(perturbed!.velocity).toEqual(conditional!.velocity);
});

test("a perturbation of the first block shares nothing, and nothing is copied for it", async () => {
  const [alone] = await run(["perturbed"], { perturbation: FIRST_LAYER });
  const [conditional, perturbed] = await run(["conditional", "perturbed"], { perturbation: FIRST_LAYER });
  expect(perturbed).toEqual(alone);
  expect(conditional!.copies).toBe(0);
  const [copying] = await run(["conditional"], { perturbation: SOFT_HEADS });
  expect(copying!.copies).toBe(1);
});

test("sharing saves the blocks in front of the first perturbed one", async () => {
  const [whole, conditional] = [
    await run(["perturbed"], { perturbation: SOFT_HEADS }),
    await run(["conditional", "perturbed"], { perturbation: SOFT_HEADS }),
  ];
  const saved = 1 - conditional[1]!.flops / whole[0]!.flops;
  // Two of four blocks, and the patches; what is not shared is the timestep's embedding and the head.
  expect(saved).toBeGreaterThan(0.45);
  expect(saved).toBeLessThan(0.52);
});

test("a plan's own perturbations hold in both passes", async () => {
  const attention = {
    ...dualScope({ window: 2, anchors: 1 }),
    perturbations: [{ layers: [1], strength: 1 }],
  };
  const [conditional, perturbed] = await run(["conditional", "perturbed"], {
    attention,
    perturbation: { kind: "heads", heads: [{ layers: [3], strength: 1 }] },
  });
  const own = { strength: (layer: number) => Number(layer === 1) };
  expect(relativeL2(conditional!.velocity, wanted(own))).toBeLessThan(1e-4);
  const both = { strength: (layer: number) => Number(layer === 1 || layer === 3) };
  expect(relativeL2(perturbed!.velocity, wanted(both))).toBeLessThan(1e-4);
});
