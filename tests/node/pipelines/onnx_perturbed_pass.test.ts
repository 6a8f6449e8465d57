// The perturbed pass of the denoiser on the CPU: against the transformer's f64 twin, and sharing the conditional pass's
// beginning exactly. The GPU's is held to the same in tests/gpu/pipelines/perturbed_pass.test.ts.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OnnxWanTransformer } from "../../../src/dit/onnx_transformer.ts";
import type { ForwardPass, PassPerturbation } from "../../../src/guiders/guider.ts";
import { openOrtInNode } from "../../../src/onnx/ort_runtime_node.ts";
import { createOnnxDenoiser } from "../../../src/pipelines/onnx_denoiser.ts";
import { openCheckpoint } from "../../../src/weights/checkpoint.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { matchDeviation } from "../../reference/match_deviation.ts";
import { normalNumbers, randomWan, randomWanSource } from "../../reference/random_wan.ts";
import { randomPrompt, SMALL_WAN } from "../../reference/small_wan.ts";
import { transformer as twin, type TransformerProblem } from "../../reference/transformer_wan.ts";

const SHAPE = [SMALL_WAN.in_channels, 3, 6, 8] as const;
const SIZE = { numLatentFrames: 3, latentHeight: 6, latentWidth: 8 };
const LATENTS = normalNumbers(
  SHAPE.reduce((a, b) => a * b),
  8,
);
const TIMESTEP = 700;
const LAST = SMALL_WAN.num_layers - 1;
const weights = randomWan(SMALL_WAN, 7);
const prompt = randomPrompt(5);

let model: OnnxWanTransformer;
beforeAll(async () => {
  const checkpoint = await openCheckpoint(randomWanSource(weights), "transformer");
  const ort = await openOrtInNode({ provider: "wasm" });
  model = await OnnxWanTransformer.load(ort, checkpoint, { config: SMALL_WAN });
});
afterAll(() => model.dispose());

async function run(passes: readonly ForwardPass[], perturbation?: PassPerturbation): Promise<Float32Array[]> {
  const denoiser = await createOnnxDenoiser(model, {
    size: SIZE,
    embeds: { conditional: prompt },
    perturbation,
  });
  const step = denoiser.begin(0);
  const results: Float32Array[] = [];
  for (const pass of passes) results.push(await step.forward(pass, { latents: LATENTS, timestep: TIMESTEP }));
  return results;
}

function wanted(problem: Pick<TransformerProblem, "strength" | "skippedBlocks">): Float64Array {
  const text = new Float32Array(prompt.maxSequenceLength * SMALL_WAN.text_dim);
  text.set(prompt.data);
  return twin({
    config: SMALL_WAN,
    weight: (name) => weights.get(name)?.data ?? [],
    latents: LATENTS,
    shape: SHAPE,
    timestep: TIMESTEP,
    text,
    ...problem,
  }).velocity;
}

describe.each<[string, PassPerturbation, Parameters<typeof wanted>[0]]>([
  [
    "one head",
    { kind: "heads", heads: [{ layers: [LAST], heads: [1], strength: 0.4 }] },
    { strength: (layer, head) => (layer === LAST && head === 1 ? 0.4 : 0) },
  ],
  [
    "a whole layer at u = 1",
    { kind: "heads", heads: [{ layers: [LAST], strength: 1 }] },
    { strength: (layer) => Number(layer === LAST) },
  ],
  ["a skipped block", { kind: "skipped_blocks", layers: [LAST] }, { skippedBlocks: [LAST] }],
])("perturbing %s", (_name, perturbation, problem) => {
  test("gives the twin's velocity, alone and after the conditional pass", async () => {
    const [alone] = await run(["perturbed"], perturbation);
    const [conditional, shared] = await run(["conditional", "perturbed"], perturbation);
    expect(relativeL2(alone!, wanted(problem))).toBeLessThan(1e-4);
    expect(relativeL2(conditional!, wanted({}))).toBeLessThan(1e-4);
    expect(shared).toEqual(alone);
    expect(relativeL2(alone!, wanted({}))).toBeGreaterThan(1e-3);
  });
});

test("u = 0 is no perturbation", async () => {
  const perturbation: PassPerturbation = { kind: "heads", heads: [{ layers: [LAST], strength: 0 }] };
  expect(await run(["perturbed"], perturbation)).toEqual(await run(["conditional"]));
});

test("deviations are matched as diffusers does", async () => {
  const denoiser = await createOnnxDenoiser(model, { size: SIZE, embeds: { conditional: prompt } });
  const [x, reference] = [normalNumbers(500, 1).map((value) => 3 * value), normalNumbers(500, 2)];
  const matched = denoiser.begin(0).matchDeviation(x, { reference, share: 0.7 });
  expect(relativeL2(matched, matchDeviation(x, reference, 0.7))).toBeLessThan(1e-6);
});
