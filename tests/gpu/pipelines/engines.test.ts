// Both engines make the same latents, step by step, whatever the tokens attend to and however guidance is made.
import { afterAll, beforeAll, expect, test } from "vitest";
import type { AttentionPlan } from "../../../src/attention/plan.ts";
import { dualScope, full, tile } from "../../../src/attention/plan_constructors.ts";
import { startDawn } from "../../../src/cli/dawn_node.ts";
import { Gpu } from "../../../src/gpu/gpu.ts";
import { openOrtInNode } from "../../../src/onnx/ort_runtime_node.ts";
import type { RenderOptions } from "../../../src/pipelines/render_options.ts";
import { WanPipeline } from "../../../src/pipelines/wan_pipeline.ts";
import { fixtureSource } from "../../reference/model_fixture.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { useGpu } from "../device.ts";

useGpu(); // keeps Dawn alive for this file

const TOLERANCE = 2e-6;
/** What a case must change of the plainest run's latents, to say anything. */
const EFFECT = 10 * TOLERANCE;
const VIDEO = { prompt: "a cat", numFrames: 21, height: 32, width: 48, numInferenceSteps: 4, seed: 5 };

const softPag: AttentionPlan = {
  ...full(),
  perturbations: [
    { layers: [0], heads: [1], strength: 0.6 },
    { layers: [1], strength: 1 },
  ],
};
const mixed: AttentionPlan = {
  ...tile(2),
  rules: { ...tile(2).rules, ...dualScope({ window: 1, anchors: 1 }).rules },
  overrides: [{ layers: [0, 1], heads: [1], rule: "dual_scope" }],
};

const CASES: readonly (readonly [string, Partial<RenderOptions>])[] = [
  ["full", { attention: full() }],
  ["tile", { attention: tile(2) }],
  [
    "dual-scope with biases by timestep and compressed anchors",
    {
      attention: dualScope({
        window: 1,
        anchors: 2,
        localBias: 10,
        globalBias: 10,
        anchorPositions: { kind: "clamped", max: 2 },
      }),
    },
  ],
  ["SoftPAG", { attention: softPag }],
  ["heads with rules of their own", { attention: mixed }],
  ["full with guidance", { guidanceScale: 3, negativePrompt: "blurry" }],
  [
    "guidance away from weakened heads, rescaled",
    {
      guidanceScale: 2,
      perturbedGuidance: {
        scale: 1.5,
        perturbation: { kind: "heads", heads: [{ layers: [1], heads: [0], strength: 1 }] },
      },
      guidanceRescale: 0.7,
    },
  ],
  [
    "guidance away from skipped blocks",
    { perturbedGuidance: { scale: 2, perturbation: { kind: "skipped_blocks", layers: [1] } } },
  ],
  [
    "prompts along the video",
    { laterPrompts: [{ prompt: "a red cat on grass", fromFrame: 13 }], promptBlendFrames: 4 },
  ],
];

let pipelines: readonly WanPipeline[] = [];
beforeAll(async () => {
  const common = { source: fixtureSource("wan_tiny"), openOrt: openOrtInNode };
  const openGpu = (): Promise<Gpu> => Gpu.open({ gpu: startDawn() });
  const webgpu = await WanPipeline.open({ ...common, openGpu, arithmetic: "f32", storage: "f32" });
  pipelines = [webgpu, await WanPipeline.open(common)];
});
afterAll(async () => {
  for (const pipeline of pipelines) await pipeline.dispose();
});

/** The latents of the first case. */
let plain: Float32Array | undefined;

test.each(CASES)(
  "%s",
  async (_name, options) => {
    const [webgpu = [], onnx = []] = await Promise.all(
      pipelines.map((pipeline) => stepsOf(pipeline, options)),
    );
    expect(onnx.length).toBe(4);
    for (const [step, latents] of onnx.entries()) {
      expect(relativeL2(latents, webgpu[step] ?? []), `step ${step + 1}`).toBeLessThan(TOLERANCE);
    }
    const last = onnx.at(-1) ?? new Float32Array();
    if (plain) expect(relativeL2(last, plain), "effect").toBeGreaterThan(EFFECT);
    plain ??= last;
  },
  60_000,
);

test("a run of one engine goes on with the other", async () => {
  const [webgpu, onnx] = pipelines as [WanPipeline, WanPipeline];
  const settings = webgpu.resolve({ ...VIDEO, guidanceScale: 1 });
  const whole = await webgpu.denoise(settings);
  let resume: Parameters<typeof onnx.denoise>[1] = {};
  await webgpu.denoise(settings, {
    onStep: (state) => {
      if (state.step === 2) resume = { resume: state };
    },
  });
  const { latents } = await onnx.denoise(settings, resume);
  expect(relativeL2(latents.data, whole.latents.data)).toBeLessThan(TOLERANCE);
}, 60_000);

/** The latents after every step. */
async function stepsOf(pipeline: WanPipeline, options: Partial<RenderOptions>): Promise<Float32Array[]> {
  const steps: Float32Array[] = [];
  const settings = pipeline.resolve({ ...VIDEO, guidanceScale: 1, ...options });
  await pipeline.denoise(settings, {
    onStep: ({ slots }) => void steps.push(slots.get("sample") ?? new Float32Array()),
  });
  return steps;
}
