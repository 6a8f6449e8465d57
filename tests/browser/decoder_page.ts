// The page of decoder.test.ts: hands its questions to a worker, where onnxruntime lives in the product too. Not a test.
import type { DecoderAnswer, DecoderQuestion } from "./decoder_page_worker.ts";

const worker = new Worker(new URL("./decoder_page_worker.ts", import.meta.url), { type: "module" });

/** What the test calls through page.evaluate. */
export function ask(question: DecoderQuestion): Promise<DecoderAnswer> {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<DecoderAnswer>) => resolve(data);
    worker.onerror = (event) => reject(new Error(event.message));
    worker.postMessage(question);
  });
}

Object.assign(globalThis, { ask });
