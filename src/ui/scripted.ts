// Rendering from a script that drives this page (puppeteer, playwright; `weft render --host chromium`), as `weft` on
// globalThis:
//
//   await page.goto(`${server}/#scripted`);             // "#scripted": no visible page, nothing loaded by itself
//   await page.waitForFunction(() => "weft" in globalThis);
//   await page.evaluate(() => weft.describe());          // ServiceDescription
//   await page.exposeFunction("onWeftEvent", (event) => …); // optional, before render
//   const job = await page.evaluate((r) => weft.render(r), { modelUrl: "/models/weft-nano", prompt: "…", format: "mp4" });
//   await page.evaluate(() => weft.openTabs({ count: 1, payload: "f16" })); // optional: helper tabs for the renders after it
//   Buffer.from(job.file, "base64");                     // job.settings, job.seconds, job.mimeType, job.contactSheet
//   await page.evaluate(() => weft.cancel());            // render then rejects with "AbortError: …"
import type { RenderClient } from "../parallel/render_endpoint.ts";
import type { DivisionWish } from "../parallel/render_division.ts";
import type {
  RenderRequest,
  RenderResult,
  ServiceDescription,
  ServiceEvent,
} from "../parallel/render_protocol.ts";
import type { PageCrew } from "./page_crew.ts";

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
  /** Opens tabs that share every render from now on, and resolves when they are ready. */
  openTabs(tabs: ScriptedTabs): Promise<void>;
  /** Stops the job that runs. */
  cancel(): void;
}

/** Helper tabs, and how renders are shared with them. */
export interface ScriptedTabs extends DivisionWish {
  readonly count: number;
}

/** Makes the object over a client; `openCrew` opens the tab's crew, which tells of changes. */
export function createScriptedWeft(
  client: RenderClient,
  openCrew: (onChange: () => void) => Promise<PageCrew>,
): ScriptedWeft {
  let loadedUrl: string | undefined;
  let abort: AbortController | undefined;
  let shared: { readonly crew: PageCrew; readonly wish: DivisionWish } | undefined;
  return {
    describe: () => client.describe(),
    async render({ modelUrl: given, ...request }) {
      abort = new AbortController();
      const modelUrl = new URL(given, document.baseURI).href; // the worker's own base is another
      if (modelUrl !== loadedUrl) {
        await client.load(modelUrl, report);
        loadedUrl = modelUrl;
      }
      const jobId = crypto.randomUUID();
      const crew = shared && { ...shared.crew.begin({ id: jobId, prompt: request.prompt }), ...shared.wish };
      const call = { jobId, signal: abort.signal, onEvent: report, crew };
      const result = await client.render(request, call).finally(() => shared?.crew.end());
      const contactSheet = result.contactSheet && (await toBase64(result.contactSheet));
      return { ...result, file: await toBase64(result.file), contactSheet };
    },
    async openTabs({ count, ...wish }) {
      let changed = (): void => undefined;
      const crew = await openCrew(() => changed());
      const ready = new Promise<void>((resolve) => {
        changed = () => {
          if (crew.names.length >= count) resolve();
        };
      });
      for (let i = 0; i < count; i++) if (!crew.openTab()) throw new Error("The browser opened no tab.");
      if (count > 0) await ready;
      shared = { crew, wish };
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
