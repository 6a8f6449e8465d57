// Entry of the dedicated worker that runs ffmpeg in the browser.
import coreUrl from "@ffmpeg/core?url";
import wasmUrl from "@ffmpeg/core/wasm?url";
import {
  messageOf,
  serveFfmpeg,
  type CoreMessage,
  type CoreRequest,
  type CreateFfmpegCore,
} from "./ffmpeg_core.ts";

const post = (message: CoreMessage, transfer: ArrayBuffer[]): void => postMessage(message, { transfer });

async function main(): Promise<void> {
  // The core reads the address of its wasm file from the hash of this one, and fetches it.
  const wasmURL = new URL(wasmUrl, location.href).href;
  const mainScriptUrlOrBlob = `${coreUrl}#${btoa(JSON.stringify({ wasmURL }))}`;
  const module = (await import(/* @vite-ignore */ coreUrl)) as { default: CreateFfmpegCore };
  const serve = serveFfmpeg(await module.default({ mainScriptUrlOrBlob }), post);
  addEventListener("message", (event: MessageEvent<CoreRequest>) => serve(event.data));
  post({ type: "ready" }, []);
}

main().catch((error: unknown) => post({ type: "failed", id: null, message: messageOf(error) }, []));
