// A worker that computes for a render of another worker. Wiring only; the work is parallel/helper_service.ts.
// Its name ends in the engine that the page's address asks for, as the render worker's does.
import * as Comlink from "comlink";
import { createHelperService, type HelperApi } from "../parallel/helper_service.ts";
import { ENGINE_WISHES } from "../pipelines/engine.ts";
import { createBrowserFfmpeg } from "../video/ffmpeg_browser.ts";
import { openBrowserPipeline } from "./browser_pipeline.ts";

const service = createHelperService({
  openPipeline: openBrowserPipeline,
  engine: ENGINE_WISHES.find((wish) => self.name.endsWith(` ${wish}`)),
  ffmpeg: createBrowserFfmpeg(),
});
const exposed: HelperApi = {
  describe: () => service.describe(),
  help: (call, onEvent) => service.help(call, onEvent),
  stop: () => service.stop(),
};
Comlink.expose(exposed);
