// Holds the f64 twin of the transformer against diffusers, and the random transformers against its names and shapes.
import { expect, test, vi } from "vitest";
import { parseWanTransformerConfig } from "../../../src/dit/transformer_config.ts";
import { readFixtureJson, readFixtureTensors } from "../../reference/fixture_tensors.ts";
import { relativeError } from "../../reference/linear_algebra.ts";
import {
  availableFixtures,
  expectedTensors,
  FIXTURES_TITLE,
  fixtureTransformer,
  type WanFixture,
} from "../../reference/model_fixture.ts";
import { wanShapes } from "../../reference/random_wan.ts";
import { transformer, type TransformerAnswer } from "../../reference/transformer_wan.ts";

vi.setConfig({ testTimeout: 60_000 }); // plain loops: they take as long as the machine is busy

/** diffusers computes in f32. */
const TOLERANCE = 1e-5;

async function runTwin(name: WanFixture, prompt: number): Promise<TransformerAnswer> {
  const expected = expectedTensors(name);
  const { config, checkpoint } = await fixtureTransformer(name);
  const weights = new Map<string, Float32Array>();
  for (const tensor of checkpoint.names) weights.set(tensor, await checkpoint.readF32(tensor));
  const noise = expected(`p${prompt}.initial_noise`);
  return transformer({
    config,
    weight: (tensor) => weights.get(tensor)!,
    latents: noise.data,
    shape: noise.shape.slice(1) as [number, number, number, number],
    timestep: 737,
    text: expected(`p${prompt}.prompt_embeds`).data,
  });
}

test.each(availableFixtures())(
  `the twin computes diffusers' velocity and activations of %s (of ${FIXTURES_TITLE})`,
  async (name) => {
    const expected = expectedTensors(name);
    const { velocity, activations } = await runTwin(name, 0);
    expect(relativeError(velocity, expected("p0.forward_t737").data)).toBeLessThan(TOLERANCE);
    const { config } = await fixtureTransformer(name);
    const names = ["temb", "timestep_proj", "text", "block0.attn1", "block0.attn2", "block0.ffn"];
    for (let i = 0; i < config.num_layers; i++) names.push(`block${i}`);
    for (const activation of names) {
      const error = relativeError(activations.get(activation)!, expected(`forward.${activation}`).data);
      expect([activation, error < TOLERANCE]).toEqual([activation, true]);
    }
    const { shape, data } = expected("forward.patch"); // [1, D, T, h, w]
    const [, columns = 0] = shape;
    const rows = data.length / columns;
    const patch = Float64Array.from(data, (_, i) => data[(i % columns) * rows + Math.floor(i / columns)]!);
    expect(relativeError(activations.get("patch")!, patch)).toBeLessThan(TOLERANCE);
  },
);

test("the twin computes diffusers' velocity for another prompt of wan_tiny", async () => {
  const { velocity } = await runTwin("wan_tiny", 1);
  expect(relativeError(velocity, expectedTensors("wan_tiny")("p1.forward_t737").data)).toBeLessThan(
    TOLERANCE,
  );
});

test("wanShapes() lists the tensors of diffusers' files", () => {
  const tiny = parseWanTransformerConfig(readFixtureJson("wan_tiny/transformer/config.json"));
  const file = readFixtureTensors("wan_tiny/transformer/diffusion_pytorch_model.safetensors");
  const shapes = [...file].map(([name, { shape }]) => [name, shape]);
  expect(new Map(wanShapes(tiny))).toEqual(new Map(shapes as [string, number[]][]));
  const config = parseWanTransformerConfig(readFixtureJson("wan_head128/transformer/config.json"));
  const index = readFixtureJson("wan_head128/transformer/diffusion_pytorch_model.safetensors.index.json") as {
    weight_map: Record<string, string>;
  };
  expect(
    wanShapes(config)
      .map(([name]) => name)
      .sort(),
  ).toEqual(Object.keys(index.weight_map).sort());
});
