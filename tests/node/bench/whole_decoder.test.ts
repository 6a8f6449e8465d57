// The guidance study decodes a video in one run; its frames must be those of the decoder that streams.
import { expect, test } from "vitest";
import { openOrtInNode } from "../../../src/onnx/ort_runtime_node.ts";
import { initialNoise } from "../../../src/pipelines/noise.ts";
import type { Latents } from "../../../src/pipelines/decode_latents.ts";
import { WanPipeline } from "../../../src/pipelines/wan_pipeline.ts";
import { openFolderSource } from "../../../src/weights/folder_source_node.ts";
import { openWholeDecoder } from "../../bench/guidance/whole_decoder.ts";

test("all latent frames at once give the frames that streaming gives", async () => {
  const ort = await openOrtInNode({ provider: "wasm" });
  const source = openFolderSource("models/weft-nano");
  const pipeline = await WanPipeline.open({ source, openOrt: async () => ort });
  const shape: Latents["shape"] = [16, 3, 4, 6];
  const data = initialNoise({ seed: 1, channels: 16, numLatentFrames: 3, height: 4, width: 6 });
  const decoder = await openWholeDecoder(pipeline.files, ort, shape);
  const whole = await decoder.decode({ data, shape });
  const streamed: number[] = [];
  for await (const batch of pipeline.decode({ data, shape })) streamed.push(...batch.data);
  expect(whole).toMatchObject({ width: 48, height: 32, numFrames: 9 });
  expect(whole.data).toHaveLength(streamed.length);
  const apart = streamed.reduce(
    (most, value, i) => Math.max(most, Math.abs(value - (whole.data[i] ?? NaN))),
    0,
  );
  expect(apart).toBeLessThanOrEqual(1); // a level, where rounding decides
  expect(new Set(streamed).size).toBeGreaterThan(20);
  await decoder.release();
  await pipeline.dispose();
});
