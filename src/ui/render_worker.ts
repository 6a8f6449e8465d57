// The worker that owns engine, pipeline, decoder and encoder. Wiring only; the work is parallel/render_service.ts.
// Its name ends in the engine that the page's address asks for: ui/render_host.ts.
import { version } from "../../package.json";
import { Gpu } from "../gpu/gpu.ts";
import { openOrtInBrowser } from "../onnx/ort_runtime_browser.ts";
import { exposeRenderService } from "../parallel/render_endpoint.ts";
import { RenderKeeper } from "../parallel/render_keeper.ts";
import { createRenderService } from "../parallel/render_service.ts";
import { ENGINE_WISHES } from "../pipelines/engine.ts";
import { WanPipeline } from "../pipelines/wan_pipeline.ts";
import { createBrowserFfmpeg } from "../video/ffmpeg_browser.ts";

const service = createRenderService({
  openPipeline: (source, engine) =>
    WanPipeline.open({
      source,
      openGpu: engine === "webgpu" ? () => Gpu.open() : undefined,
      openOrt: openOrtInBrowser,
    }),
  engine: ENGINE_WISHES.find((wish) => self.name.endsWith(` ${wish}`)),
  ffmpeg: createBrowserFfmpeg(),
  version,
  keeper: "storage" in navigator ? new RenderKeeper() : undefined, // not in an insecure context
});
exposeRenderService(service);
