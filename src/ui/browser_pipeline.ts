// The pipeline of a worker in a browser: a model behind a URL, held as was asked for.
import { Gpu } from "../gpu/gpu.ts";
import { openOrtInBrowser } from "../onnx/ort_runtime_browser.ts";
import type { ModelRequest } from "../parallel/render_protocol.ts";
import type { DecoderFile } from "../pipelines/decode_latents.ts";
import type { EngineName } from "../pipelines/engine.ts";
import { WanPipeline } from "../pipelines/wan_pipeline.ts";
import type { FileSource } from "../weights/file_source.ts";
import { openUrlSource } from "../weights/url_source.ts";

/** Opens the model in `source`, and what computes it. Throws as `WanPipeline.open`. */
export async function openBrowserPipeline(
  source: FileSource,
  engine: EngineName,
  { vae, weights, arithmetic, maxMemory, profile }: ModelRequest,
): Promise<WanPipeline> {
  return await WanPipeline.open({
    source,
    openGpu: engine === "webgpu" ? () => Gpu.open({ memoryCapBytes: maxMemory, profile }) : undefined,
    openOrt: openOrtInBrowser,
    decoder: vae === undefined ? undefined : decoderAt(vae),
    storage: weights,
    arithmetic,
  });
}

function decoderAt(url: string): DecoderFile {
  const folder = new URL(".", url).href;
  return {
    source: openUrlSource(folder),
    path: decodeURIComponent(new URL(url).pathname.split("/").pop() ?? ""),
  };
}
