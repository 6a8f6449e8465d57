// The worker that owns GPU, pipeline, decoder and encoder. Wiring only; the work is parallel/render_service.ts.
import { version } from "../../package.json";
import { Gpu } from "../gpu/gpu.ts";
import { openOrtInBrowser } from "../onnx/ort_runtime_browser.ts";
import { exposeRenderService } from "../parallel/render_endpoint.ts";
import { createRenderService } from "../parallel/render_service.ts";
import { WanPipeline } from "../pipelines/wan_pipeline.ts";
import { createBrowserFfmpeg } from "../video/ffmpeg_browser.ts";

const service = createRenderService({
  openPipeline: (source) =>
    WanPipeline.open({ source, openGpu: () => Gpu.open(), openOrt: openOrtInBrowser }),
  ffmpeg: createBrowserFfmpeg(),
  version,
});
exposeRenderService(service);
