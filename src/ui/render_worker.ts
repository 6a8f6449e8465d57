// The worker that owns engine, pipeline, decoder and encoder. Wiring only; the work is parallel/render_service.ts.
// Its name ends in the engine that the page's address asks for: ui/render_host.ts.
import { version } from "../../package.json";
import { exposeRenderService } from "../parallel/render_endpoint.ts";
import { RenderKeeper } from "../parallel/render_keeper.ts";
import { createRenderService } from "../parallel/render_service.ts";
import { ENGINE_WISHES } from "../pipelines/engine.ts";
import { createBrowserFfmpeg } from "../video/ffmpeg_browser.ts";
import { openBrowserPipeline } from "./browser_pipeline.ts";

const service = createRenderService({
  openPipeline: openBrowserPipeline,
  engine: ENGINE_WISHES.find((wish) => self.name.endsWith(` ${wish}`)),
  ffmpeg: createBrowserFfmpeg(),
  version,
  keeper: "storage" in navigator ? new RenderKeeper() : undefined, // not in an insecure context
});
exposeRenderService(service);
