// ffmpeg in the browser: @ffmpeg/core (two files beside the bundle, 32 MB, cached by the browser) in a
// dedicated module worker.
import type { CoreMessage } from "./ffmpeg_core.ts";
import { createFfmpegRuntime, type FfmpegRuntime, type StartFfmpegWorker } from "./ffmpeg_runtime.ts";

/** An ffmpeg for a page or a worker of it. Nothing is loaded before the first use. */
export function createBrowserFfmpeg(): FfmpegRuntime {
  return createFfmpegRuntime(startWorker);
}

const startWorker: StartFfmpegWorker = (onMessage, onCrash) => {
  const worker = new Worker(new URL("./ffmpeg_worker.ts", import.meta.url), {
    type: "module",
    name: "weft-ffmpeg",
  });
  worker.addEventListener("message", (event: MessageEvent<CoreMessage>) => onMessage(event.data));
  worker.addEventListener("error", (event) => onCrash(event.message || "its script did not load"));
  return {
    post: (request, transfer) => worker.postMessage(request, [...transfer]),
    terminate: () => worker.terminate(),
    keepAlive: () => undefined,
  };
};
