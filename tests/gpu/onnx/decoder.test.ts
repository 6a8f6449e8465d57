// The decoder on a GPUDevice shared with our kernels, against the same decoder on the CPU.
import { expect, test } from "vitest";
import { checkDecoder } from "../../device/decoder_check.ts";
import { openProjectFile } from "../../node/onnx/taehv_checkpoints.ts";
import { useGpu } from "../device.ts";

const gpu = useGpu();

test("the webgpu provider decodes as the wasm provider does", async () => {
  const checkpoint = await openProjectFile("tests/fixtures/taehv_tiny/taehv.safetensors");
  const size = { latentHeight: 3, latentWidth: 5, numLatentFrames: 2 };
  const check = await checkDecoder({ device: gpu().device, checkpoint, ...size });
  expect(check.maxDifference).toBeLessThan(1e-4);
  expect(check.maxLevels).toBeLessThanOrEqual(1);
});
