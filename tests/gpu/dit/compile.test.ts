// Kernels begin to compile while the prompt is encoded: `compile` asks for all that a first step then uses.
import { expect, test } from "vitest";
import { freeGeometry } from "../../../src/dit/geometry.ts";
import { freeTextContext } from "../../../src/dit/text_context.ts";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { linearCombine } from "../../../src/ops/linear_combine.ts";
import { freeTensor, uploadTensor } from "../../../src/tensor/tensor.ts";
import { loadSmallWan, randomPrompt, SMALL_WAN } from "../../reference/small_wan.ts";
import { useGpu } from "../device.ts";

const gpu = useGpu();
const SIZE = { numLatentFrames: 2, latentHeight: 4, latentWidth: 6 };

test("compile() asks for every kernel of a text and a step, and leaves no memory in use", async () => {
  const model = await loadSmallWan(gpu());
  const { usedBytes } = gpu().memory.use;
  const geometry = model.createGeometry(SIZE);
  const prompt = randomPrompt(1);
  model.compile(geometry, prompt.numTokens);
  const asked = gpu().pipelines.size;
  expect(asked).toBeGreaterThan(9);

  const text = await model.createTextContext(prompt, geometry);
  const shape = [SMALL_WAN.in_channels, SIZE.numLatentFrames, SIZE.latentHeight, SIZE.latentWidth];
  const noise = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => Math.sin(i));
  const latents = uploadTensor(gpu(), { label: "latents", dtype: "f32", shape }, noise);
  const recorder = new Recorder(gpu(), "step");
  const tensor = model.forward(recorder, { latents, timestep: 500, text, geometry });
  linearCombine(recorder, [{ tensor, coefficient: 1 }]);
  await recorder.submit();
  expect(gpu().pipelines.size).toBe(asked);

  freeTensor(gpu(), latents);
  freeTextContext(gpu(), text);
  freeGeometry(geometry);
  expect(gpu().memory.use.usedBytes).toBe(usedBytes);
  model.dispose();
});
