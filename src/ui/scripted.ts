// Rendering from a script that drives this page (puppeteer, playwright; `weft render --host chromium`), as `weft` on
// globalThis:
//
//   await page.goto(`${server}/#scripted`);             // "#scripted": no visible page, nothing loaded by itself
//   await page.waitForFunction(() => "weft" in globalThis);
//   await page.evaluate(() => weft.describe());          // ServiceDescription
//   await page.exposeFunction("onWeftEvent", (event) => …); // optional, before render
//   const job = await page.evaluate((r) => weft.render(r), { modelUrl: "/models/weft-nano", prompt: "…", format: "mp4" });
//   Buffer.from(job.file, "base64");                     // job.settings, job.seconds, job.mimeType, job.contactSheet
//   await page.evaluate(() => weft.cancel());            // render then rejects with "AbortError: …"
import type { RenderClient } from "../parallel/render_endpoint.ts";
import type {
  RenderRequest,
  RenderResult,
  ServiceDescription,
  ServiceEvent,
} from "../parallel/render_protocol.ts";

/** A job; `modelUrl` may be relative to the page. */
type ScriptedRequest = Omit<RenderRequest, "jobId"> & { readonly modelUrl: string };

/** A result as JSON can carry it: the files as base64. */
type ScriptedResult = Omit<RenderResult, "file" | "contactSheet"> & {
  readonly file: string;
  readonly contactSheet: string | undefined;
};

/** What `globalThis.weft` offers. Previews are left out of the events. */
export interface ScriptedWeft {
  describe(): Promise<ServiceDescription>;
  /** Loads the model when it is not the one in use, then renders. Events go to `globalThis.onWeftEvent` if there is one. */
  render(request: ScriptedRequest): Promise<ScriptedResult>;
  /** Stops the job that runs. */
  cancel(): void;
}

/** Makes the object over a client. */
export function createScriptedWeft(client: RenderClient): ScriptedWeft {
  let loadedUrl: string | undefined;
  let abort: AbortController | undefined;
  return {
    describe: () => client.describe(),
    async render({ modelUrl: given, ...request }) {
      abort = new AbortController();
      const modelUrl = new URL(given, document.baseURI).href; // the worker's own base is another
      if (modelUrl !== loadedUrl) {
        await client.load(modelUrl, report);
        loadedUrl = modelUrl;
      }
      const result = await client.render(request, { signal: abort.signal, onEvent: report });
      const contactSheet = result.contactSheet && (await toBase64(result.contactSheet));
      return { ...result, file: await toBase64(result.file), contactSheet };
    },
    cancel: () => abort?.abort(),
  };
}

function report(event: ServiceEvent): void {
  const { onWeftEvent } = globalThis as { onWeftEvent?: (event: ServiceEvent) => void };
  if (event.type !== "preview") onWeftEvent?.(event);
}

async function toBase64(bytes: Uint8Array): Promise<string> {
  const reader = new FileReader();
  const loaded = new Promise<void>((resolve) =>
    reader.addEventListener("load", () => resolve(), { once: true }),
  );
  // The bytes were transferred from the worker, so no shared memory is behind them.
  reader.readAsDataURL(new Blob([bytes as Uint8Array<ArrayBuffer>]));
  await loaded;
  const dataUrl = typeof reader.result === "string" ? reader.result : "";
  return dataUrl.slice(dataUrl.indexOf(",") + 1);
}
