// Parity of the transformer with diffusers: every activation the fixtures hold, and whole forward passes.
import { describe, expect, it } from "vitest";
import { freeGeometry } from "../../../src/dit/geometry.ts";
import { freeTextContext } from "../../../src/dit/text_context.ts";
import { WanTransformer3DModel } from "../../../src/dit/transformer_wan.ts";
import { Recorder } from "../../../src/gpu/recorder.ts";
import {
  createTensor,
  freeTensor,
  readTensor,
  type Tensor,
  tensorBytes,
  uploadTensor,
} from "../../../src/tensor/tensor.ts";
import type { WeightStorage } from "../../../src/weights/weight_loader.ts";
import {
  expectedTensors,
  fixtureTransformer,
  realTokens,
  WAN_FIXTURES,
  type WanFixture,
} from "../../reference/model_fixture.ts";
import { relativeL2 } from "../../reference/relative_l2.ts";
import { useGpu } from "../device.ts";

const gpu = useGpu();

/** Relative L2 of a forward pass by weight storage (f32 arithmetic): the bounds the project promises. */
const TOLERANCES: Record<Exclude<WeightStorage, "stored">, number> = { f32: 1e-4, f16: 3e-3, int8: 3e-2 };
/** f16 activations and f16 products, sums in f32. */
const F16_ARITHMETIC = 5e-3;

interface ForwardResult {
  readonly velocity: Float32Array;
  readonly activations: ReadonlyMap<string, Float32Array>;
}

async function runForward(
  name: WanFixture,
  { storage, dtype }: { storage: WeightStorage; dtype: "f32" | "f16" },
): Promise<ForwardResult> {
  const expected = expectedTensors(name);
  const { config, checkpoint } = await fixtureTransformer(name);
  const model = await WanTransformer3DModel.load(gpu(), checkpoint, { config, storage, dtype });
  const noise = expected("p0.initial_noise");
  const [, channels = 0, frames = 0, height = 0, width = 0] = noise.shape;
  const geometry = model.createGeometry({
    numLatentFrames: frames,
    latentHeight: height,
    latentWidth: width,
  });
  const maxSequenceLength = expected("p0.input_ids").data.length;
  const numTokens = realTokens(expected("p0.input_ids").data).length;
  const data = expected("p0.prompt_embeds").data.subarray(0, numTokens * config.text_dim);
  const text = await model.createTextContext({ data, numTokens, maxSequenceLength }, geometry);
  const shape = [channels, frames, height, width];
  const latents = uploadTensor(gpu(), { label: "latents", dtype: "f32", shape }, noise.data);

  const recorder = new Recorder(gpu(), "forward");
  const copies = new Map<string, Tensor>();
  const probe = (activation: string, tensor: Tensor): void => {
    const copy = createTensor(gpu(), tensor);
    recorder.copy({ buffer: tensor.buffer, offset: tensor.offset, size: tensorBytes(tensor) }, copy);
    copies.set(activation, copy);
  };
  const velocity = model.forward(recorder, { latents, timestep: 737, text, geometry, probe });
  recorder.keep(velocity.buffer);
  await recorder.submit();
  const activations = new Map<string, Float32Array>();
  for (const [activation, copy] of copies) {
    activations.set(activation, await readTensor(gpu(), copy));
    freeTensor(gpu(), copy);
  }
  const result = { velocity: await readTensor(gpu(), velocity), activations };
  for (const tensor of [velocity, latents]) freeTensor(gpu(), tensor);
  freeTextContext(gpu(), text);
  freeGeometry(gpu(), geometry);
  model.dispose();
  return result;
}

/** Our [tokens, D] against diffusers' layout: channel-first for the patches, padded rows repeated for the text. */
function comparable(
  activation: string,
  { shape, data }: { shape: readonly number[]; data: Float32Array },
  rows: number,
): Float32Array {
  if (activation === "patch") {
    const channels = shape[1] ?? 0;
    const tokens = data.length / channels;
    return Float32Array.from(
      { length: data.length },
      (_, i) => data[(i % channels) * tokens + Math.floor(i / channels)] ?? NaN,
    );
  }
  return activation === "text" ? data.subarray(0, rows * (shape[2] ?? 0)) : data;
}

describe.each(WAN_FIXTURES)("%s", (name) => {
  it("computes every activation and the velocity of diffusers' forward", async () => {
    const expected = expectedTensors(name);
    const { velocity, activations } = await runForward(name, { storage: "f32", dtype: "f32" });
    const rows = realTokens(expected("p0.input_ids").data).length + 1;
    const { config } = await fixtureTransformer(name);
    const names = ["patch", "temb", "timestep_proj", "text", "block0.attn1", "block0.attn2", "block0.ffn"];
    for (let i = 0; i < config.num_layers; i++) names.push(`block${i}`);
    for (const activation of names) {
      const reference = comparable(activation, expected(`forward.${activation}`), rows);
      expect([activation, relativeL2(activations.get(activation) ?? [], reference) < TOLERANCES.f32]).toEqual(
        [activation, true],
      );
    }
    expect(relativeL2(velocity, expected("p0.forward_t737").data)).toBeLessThan(TOLERANCES.f32);
  });

  it.each(["f16", "int8"] as const)("stays within bounds with %s weights", async (storage) => {
    const { velocity } = await runForward(name, { storage, dtype: "f32" });
    expect(relativeL2(velocity, expectedTensors(name)("p0.forward_t737").data)).toBeLessThan(
      TOLERANCES[storage],
    );
  });

  it("stays within bounds with f16 arithmetic, where the adapter has it", async () => {
    if (!gpu().capabilities.f16) return;
    const { velocity } = await runForward(name, { storage: "f16", dtype: "f16" });
    expect(relativeL2(velocity, expectedTensors(name)("p0.forward_t737").data)).toBeLessThan(F16_ARITHMETIC);
  });
});

it("frees everything it took", async () => {
  const before = gpu().memory.use.usedBytes;
  await runForward("wan_tiny", { storage: "f32", dtype: "f32" });
  expect(gpu().memory.use.usedBytes).toBe(before);
});
