import { expect, it } from "vitest";
import { openOrtInNode } from "../../../src/onnx/ort_runtime_node.ts";
import { encodeTokensWithOnnx } from "../../../src/pipelines/onnx_text_encoder.ts";
import {
  expectedTensors,
  fixtureTextEncoder,
  realTokens,
  WAN_FIXTURES,
} from "../../reference/model_fixture.ts";
import { relativeL2 } from "../../reference/compare.ts";

const TOLERANCE = 1e-5;

it.each(WAN_FIXTURES)(
  "encodes the prompts of %s as transformers does, alone and beside others",
  async (name) => {
    const ort = await openOrtInNode({ provider: "wasm" });
    const expected = expectedTensors(name);
    const { config, checkpoint } = await fixtureTextEncoder(name);
    const ids = realTokens(expected("p0.input_ids").data);
    const layers: number[] = [];
    const embeds = await encodeTokensWithOnnx(ort, [[1], ids], {
      checkpoint,
      config,
      onLayer: (done) => layers.push(done),
    });
    const reference = expected("p0.prompt_embeds").data.subarray(0, ids.length * config.d_model);
    expect(relativeL2(embeds[1] ?? [], reference)).toBeLessThan(TOLERANCE);
    expect(embeds[0]?.length).toBe(config.d_model);
    expect(layers.at(-1)).toBe(config.num_layers);
  },
);

it("refuses a table of embeddings of another size than the config's", async () => {
  const ort = await openOrtInNode({ provider: "wasm" });
  const { config, checkpoint } = await fixtureTextEncoder("wan_tiny");
  const options = { checkpoint, config: { ...config, vocab_size: 100 } };
  await expect(encodeTokensWithOnnx(ort, [[5, 1]], options)).rejects.toThrow(
    /"shared.weight" is mis-shaped: it is \[148, 48\], the model's config asks for \[100, 48\]/,
  );
});

it("stops between layers when it is cancelled", async () => {
  const ort = await openOrtInNode({ provider: "wasm" });
  const { config, checkpoint } = await fixtureTextEncoder("wan_tiny");
  const controller = new AbortController();
  const { signal } = controller;
  const options = { checkpoint, config, signal, onLayer: () => controller.abort() };
  const run = encodeTokensWithOnnx(ort, [[5, 1]], options);
  await expect(run).rejects.toThrow(expect.objectContaining({ name: "AbortError" }));
});
