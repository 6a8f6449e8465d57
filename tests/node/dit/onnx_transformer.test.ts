// Parity of the CPU's transformer with diffusers: every activation the fixtures hold, and whole forward passes.
import { describe, expect, it } from "vitest";
import { openOrtInNode } from "../../../src/onnx/ort_runtime_node.ts";
import {
  availableFixtures,
  comparableActivation,
  expectedTensors,
  FIXTURES_TITLE,
  fixtureTransformer,
  realTokens,
} from "../../reference/model_fixture.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { runOnnxForward } from "../../reference/onnx_forward.ts";

const TOLERANCE = 1e-5;

describe.each(availableFixtures())(`%s (of ${FIXTURES_TITLE})`, (name) => {
  it("computes every activation and the velocity of diffusers' forward", async () => {
    const ort = await openOrtInNode({ provider: "wasm" });
    const expected = expectedTensors(name);
    const { config, checkpoint } = await fixtureTransformer(name);
    const { shape, data } = expected("p0.initial_noise");
    const inputIds = expected("p0.input_ids").data;
    const numTokens = realTokens(inputIds).length;
    const { velocity, activations } = await runOnnxForward(ort, checkpoint, {
      config,
      latents: { data, shape: shape.slice(1) as [number, number, number, number] },
      prompt: {
        data: expected("p0.prompt_embeds").data.subarray(0, numTokens * config.text_dim),
        numTokens,
        maxSequenceLength: inputIds.length,
      },
      timestep: 737,
    });
    const names = ["patch", "temb", "timestep_proj", "text", "block0.attn1", "block0.attn2", "block0.ffn"];
    for (let i = 0; i < config.num_layers; i++) names.push(`block${i}`);
    for (const activation of names) {
      const reference = comparableActivation(activation, expected(`forward.${activation}`), numTokens + 1);
      const error = relativeL2(activations.get(activation) ?? [], reference);
      expect([activation, error, error < TOLERANCE]).toEqual([activation, error, true]);
    }
    expect(relativeL2(velocity, expected("p0.forward_t737").data)).toBeLessThan(TOLERANCE);
  });
});
