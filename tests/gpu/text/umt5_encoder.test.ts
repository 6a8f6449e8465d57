import { expect, it } from "vitest";
import { encodeTokens } from "../../../src/text/umt5_encoder.ts";
import {
  expectedTensors,
  fixtureTextEncoder,
  realTokens,
  WAN_FIXTURES,
} from "../../reference/model_fixture.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { useGpu } from "../device.ts";

const gpu = useGpu();

/** f32 arithmetic against torch's f32; bf16 weights are exact in f16 but for subnormals. */
const TOLERANCE = 1e-4;

it.each(WAN_FIXTURES)("encodes the prompts of %s as transformers does", async (name) => {
  const expected = expectedTensors(name);
  const { config, checkpoint } = await fixtureTextEncoder(name);
  const ids = realTokens(expected("p0.input_ids").data);
  const [embeds] = await encodeTokens(gpu(), [ids], { checkpoint, config, storage: "stored" });
  const { data } = expected("p0.prompt_embeds");
  expect(relativeL2(embeds ?? [], data.subarray(0, ids.length * config.d_model))).toBeLessThan(TOLERANCE);
  expect(data.subarray(ids.length * config.d_model).every((value) => value === 0)).toBe(true);
});

it("encodes two prompts of different lengths in one pass", async () => {
  const { config, checkpoint } = await fixtureTextEncoder("wan_tiny");
  const ids = realTokens(expectedTensors("wan_tiny")("p0.input_ids").data);
  const options = { checkpoint, config, storage: "stored" } as const;
  const [alone] = await encodeTokens(gpu(), [[1]], options);
  const both = await encodeTokens(gpu(), [ids, [1]], options);
  expect(both[1]).toEqual(alone);
});

it("stops between layers when it is cancelled", async () => {
  const { config, checkpoint } = await fixtureTextEncoder("wan_tiny");
  const controller = new AbortController();
  const run = encodeTokens(gpu(), [[5, 1]], {
    checkpoint,
    config,
    storage: "stored",
    signal: controller.signal,
    onLayer: () => controller.abort(),
  });
  await expect(run).rejects.toThrow(expect.objectContaining({ name: "AbortError" }));
});
