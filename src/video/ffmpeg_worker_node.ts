// Entry of the worker thread that runs ffmpeg in Node. Bundled to a text by `?node_worker` (vite.config.ts).
import { readFile } from "node:fs/promises";
import { parentPort, workerData } from "node:worker_threads";
import { messageOf, serveFfmpeg, type CoreMessage, type CreateFfmpegCore } from "./ffmpeg_core.ts";

/** Where the two files of @ffmpeg/core are; given by ffmpeg_node.ts. */
export interface FfmpegWorkerData {
  readonly coreUrl: string;
  readonly wasmPath: string;
}

const post = (message: CoreMessage, transfer: ArrayBuffer[]): void =>
  parentPort?.postMessage(message, transfer);

async function main(): Promise<void> {
  const { coreUrl, wasmPath } = workerData as FfmpegWorkerData;
  // The core believes to be in a browser worker and looks for these two at start.
  Object.assign(globalThis, { self: globalThis, location: { href: coreUrl } });
  const module = (await import(/* @vite-ignore */ coreUrl)) as { default: CreateFfmpegCore };
  const core = await module.default({ wasmBinary: await readFile(wasmPath) });
  parentPort?.on("message", serveFfmpeg(core, post));
  post({ type: "ready" }, []);
}

main().catch((error: unknown) => post({ type: "failed", id: null, message: messageOf(error) }, []));
