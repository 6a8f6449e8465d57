// The embedded decoder on a GPU device shared with our kernels, against the same decoder on the CPU. On hardware
// adapters only: SwiftShader needs most of a minute to compile onnxruntime's convolutions.
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { openCheckpoint } from "../../../src/weights/checkpoint.ts";
import { openFolderSource } from "../../../src/weights/folder_source_node.ts";
import { checkDecoder } from "../../device/decoder_check.ts";
import { useGpu } from "../device.ts";

const gpu = useGpu();

test.runIf(process.env["WEFT_TEST_ADAPTER"] === "hardware")(
  "the webgpu provider decodes as the wasm provider does",
  async () => {
    const model = openFolderSource(fileURLToPath(new URL("../../../models/weft-nano", import.meta.url)));
    const checkpoint = await openCheckpoint(model, "vae");
    const size = { latentHeight: 16, latentWidth: 16, numLatentFrames: 3 };
    const check = await checkDecoder({ device: gpu().device, checkpoint, ...size });
    console.info(check);
    expect(check.maxDifference).toBeLessThan(1e-3);
    expect(check.maxLevels).toBeLessThanOrEqual(1);
  },
);
