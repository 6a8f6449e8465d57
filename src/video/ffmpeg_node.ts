// ffmpeg in Node: @ffmpeg/core in a worker thread, so that Ctrl-C and progress stay responsive.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import type { CoreMessage } from "./ffmpeg_core.ts";
import { createFfmpegRuntime, type FfmpegRuntime, type StartFfmpegWorker } from "./ffmpeg_runtime.ts";
import type { FfmpegWorkerData } from "./ffmpeg_worker_node.ts";
// oxlint-disable-next-line import/default -- with its query it is another module, whose default is the text
import workerSource from "./ffmpeg_worker_node.ts?node_worker";

/** An ffmpeg for Node. Nothing starts before the first use; an idle one does not keep the process alive. */
export function createNodeFfmpeg(): FfmpegRuntime {
  return createFfmpegRuntime(startWorker);
}

const startWorker: StartFfmpegWorker = (onMessage, onCrash) => {
  const require = createRequire(import.meta.url);
  const files: FfmpegWorkerData = {
    coreUrl: pathToFileURL(require.resolve("@ffmpeg/core")).href,
    wasmPath: require.resolve("@ffmpeg/core/wasm"),
  };
  const url = new URL(`data:text/javascript,${encodeURIComponent(workerSource)}`);
  const worker = new Worker(url, { workerData: files, name: "weft-ffmpeg" });
  let ended = false;
  worker.on("message", (message: CoreMessage) => onMessage(message));
  worker.on("error", (error) => onCrash(error.message));
  worker.on("exit", (code) => {
    if (!ended) onCrash(`the thread ended with code ${code}`);
  });
  return {
    post: (request, transfer) => worker.postMessage(request, transfer),
    terminate: () => {
      ended = true;
      void worker.terminate();
    },
    keepAlive: (busy) => (busy ? worker.ref() : worker.unref()),
  };
};
