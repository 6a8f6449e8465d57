// Parity of the transformer with diffusers: every activation the fixtures hold, and whole forward passes.
import { describe, expect, it } from "vitest";
import type { WeightStorage } from "../../../src/weights/weight_loader.ts";
import {
  availableFixtures,
  comparableActivation,
  expectedTensors,
  FIXTURES_TITLE,
  fixtureTransformer,
  realTokens,
  type WanFixture,
} from "../../reference/model_fixture.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { hasInt8MatrixUnits } from "../../../src/ops/matrix_units.ts";
import { ADAPTER, ADAPTER_TITLE, FLOAT_TYPES, useGpu } from "../device.ts";
import { type ForwardResult, runForward } from "./run_forward.ts";

const gpu = useGpu();

/** Relative L2 of a forward pass by weight storage (f32 arithmetic): the bounds the project promises. */
const TOLERANCES: Record<"f32" | "f16" | "int8", number> = { f32: 1e-4, f16: 3e-3, int8: 3e-2 };
/** f16 activations and f16 products, sums in f32. */
const F16_ARITHMETIC = 5e-3;
/** Activations and weights rounded to int8: coarser than weights alone. */
const INT8_ARITHMETIC = 6e-2;

async function runFixture(
  name: WanFixture,
  { storage, dtype }: { storage: WeightStorage; dtype: "f32" | "f16" },
): Promise<ForwardResult> {
  const expected = expectedTensors(name);
  const { config, checkpoint } = await fixtureTransformer(name);
  const { shape, data } = expected("p0.initial_noise");
  const inputIds = expected("p0.input_ids").data;
  const numTokens = realTokens(inputIds).length;
  const embeds = expected("p0.prompt_embeds").data.subarray(0, numTokens * config.text_dim);
  return await runForward(gpu(), checkpoint, {
    options: { config, storage, dtype },
    latents: { data, shape: shape.slice(1) as [number, number, number, number] },
    prompt: { data: embeds, numTokens, maxSequenceLength: inputIds.length },
    timestep: 737,
  });
}

describe.each(availableFixtures())(`%s (of ${FIXTURES_TITLE}; ${ADAPTER_TITLE})`, (name) => {
  it("computes every activation and the velocity of diffusers' forward", async () => {
    const expected = expectedTensors(name);
    const { velocity, activations } = await runFixture(name, { storage: "f32", dtype: "f32" });
    const rows = realTokens(expected("p0.input_ids").data).length + 1;
    const { config } = await fixtureTransformer(name);
    const names = ["patch", "temb", "timestep_proj", "text", "block0.attn1", "block0.attn2", "block0.ffn"];
    for (let i = 0; i < config.num_layers; i++) names.push(`block${i}`);
    for (const activation of names) {
      const reference = comparableActivation(activation, expected(`forward.${activation}`), rows);
      expect([activation, relativeL2(activations.get(activation) ?? [], reference) < TOLERANCES.f32]).toEqual(
        [activation, true],
      );
    }
    expect(relativeL2(velocity, expected("p0.forward_t737").data)).toBeLessThan(TOLERANCES.f32);
  });

  it.each(["f16", "int8"] as const)("stays within bounds with %s weights", async (storage) => {
    const { velocity } = await runFixture(name, { storage, dtype: "f32" });
    expect(relativeL2(velocity, expectedTensors(name)("p0.forward_t737").data)).toBeLessThan(
      TOLERANCES[storage],
    );
  });

  it.each(FLOAT_TYPES.filter((dtype) => dtype === "f16"))(
    "stays within bounds with %s arithmetic",
    async (dtype) => {
      const { velocity } = await runFixture(name, { storage: "f16", dtype });
      expect(relativeL2(velocity, expectedTensors(name)("p0.forward_t737").data)).toBeLessThan(
        F16_ARITHMETIC,
      );
    },
  );

  if (hasInt8MatrixUnits(ADAPTER))
    it("stays within bounds with int8 arithmetic", async () => {
      const { velocity } = await runFixture(name, { storage: "int8_rows", dtype: "f16" });
      expect(relativeL2(velocity, expectedTensors(name)("p0.forward_t737").data)).toBeLessThan(
        INT8_ARITHMETIC,
      );
    });
});

it("frees everything it took", async () => {
  const before = gpu().memory.use.usedBytes;
  await runFixture("wan_tiny", { storage: "f32", dtype: "f32" });
  expect(gpu().memory.use.usedBytes).toBe(before);
});
