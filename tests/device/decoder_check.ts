// Decodes the same random latents through onnxruntime's webgpu provider, on a device that it shares with us, and
// through its wasm provider, and compares. For any machine: SwiftShader at tiny sizes, a real GPU at real ones.
import { openOrtInNode } from "../../src/onnx/ort_runtime_node.ts";
import type { OrtTarget } from "../../src/onnx/ort_runtime.ts";
import { createTaehvDecoder, type DecodedVideo } from "../../src/onnx/taehv_decoder.ts";
import type { TaehvCheckpoint, TaehvConfigJson } from "../../src/onnx/taehv_config.ts";

/** What to decode. */
export interface DecoderCheckOptions {
  readonly device: GPUDevice;
  readonly checkpoint: TaehvCheckpoint;
  readonly config?: TaehvConfigJson;
  readonly latentHeight: number;
  readonly latentWidth: number;
  readonly numLatentFrames: number;
}

/** How far the providers are apart, and how long they took. */
export interface DecoderCheck {
  /** Largest difference of a colour in [0, 1]. */
  readonly maxDifference: number;
  /** Largest difference of a byte. */
  readonly maxLevels: number;
  readonly webgpu: DecodeTimes;
  readonly wasm: DecodeTimes;
}

interface DecodeTimes {
  readonly createMs: number;
  /** The first latent frame compiles the shaders. */
  readonly latentFrameMs: readonly number[];
}

/** Runs both and compares. Half-way the state is read and written back, so the hand-over is compared too. */
export async function checkDecoder(options: DecoderCheckOptions): Promise<DecoderCheck> {
  const gpu = await decodeAll(options, { provider: "webgpu", device: options.device });
  const cpu = await decodeAll(options, { provider: "wasm" });
  let [maxDifference, maxLevels] = [0, 0];
  for (const [k, frame] of gpu.decoded.entries()) {
    const other = cpu.decoded[k]!;
    for (const [i, value] of frame.video.entries())
      maxDifference = Math.max(maxDifference, Math.abs(value - other.video[i]!));
    for (const [i, value] of frame.frames.data.entries())
      maxLevels = Math.max(maxLevels, Math.abs(value - other.frames.data[i]!));
  }
  return { maxDifference, maxLevels, webgpu: gpu.times, wasm: cpu.times };
}

async function decodeAll(
  { checkpoint, config, latentHeight, latentWidth, numLatentFrames }: DecoderCheckOptions,
  target: OrtTarget,
): Promise<{ decoded: DecodedVideo[]; times: DecodeTimes }> {
  const ort = await openOrtInNode(target);
  const start = performance.now();
  const decoder = await createTaehvDecoder({ checkpoint, config, ort, latentHeight, latentWidth });
  const createMs = performance.now() - start;
  const size = decoder.config.latentChannels * latentHeight * latentWidth;
  const [decoded, latentFrameMs]: [DecodedVideo[], number[]] = [[], []];
  for (let index = 0; index < numLatentFrames; index++) {
    if (index > 0 && index === numLatentFrames >> 1) {
      const state = await decoder.readState();
      await decoder.reset();
      await decoder.writeState(state);
    }
    const latentFrame = Float32Array.from(
      { length: size },
      (_, i) => 1.5 * Math.sin((i + index * size) * 12.9898),
    );
    const before = performance.now();
    decoded.push(await decoder.decodeFloat(latentFrame));
    latentFrameMs.push(performance.now() - before);
  }
  await decoder.dispose();
  return { decoded, times: { createMs, latentFrameMs } };
}
