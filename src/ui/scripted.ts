// Rendering from a script that drives this page (`weft render --host chromium`, puppeteer, playwright), as `weft` on
// globalThis; what goes in and out: parallel/scripted_protocol.ts.
//
//   await page.goto(`${server}/#scripted`);             // "#scripted": no visible page, nothing loaded by itself
//   await page.waitForFunction(() => "weft" in globalThis);
//   await page.evaluate(() => weft.describe());          // ServiceDescription
//   await page.exposeFunction("onWeftEvent", (event) => …);   // optional: progress, and previews for who asks for them
//   await page.exposeFunction("onWeftTensor", (tensor) => …); // for renders with `dump`, which wait for it
//   await page.evaluate((m) => weft.load(m), { model: "/models/weft-nano" });
//   const job = await page.evaluate((r) => weft.render(r), { prompt: "…", format: "mp4" });
//   await page.evaluate(() => weft.openTabs({ count: 1, payload: "f16" })); // optional: helper tabs for the renders after it
//   Buffer.from(job.file, "base64");                     // job.settings, job.seconds, job.mimeType, job.contactSheet
//   await page.evaluate(() => weft.cancel());            // render then rejects with "AbortError: …"
import type { DivisionWish } from "../parallel/render_division.ts";
import type { RenderClient } from "../parallel/render_endpoint.ts";
import type { ServiceEvent } from "../parallel/render_protocol.ts";
import type { PreviewEvent, ScriptedListeners, ScriptedWeft } from "../parallel/scripted_protocol.ts";
import type { DumpPart } from "../pipelines/dump.ts";
import { fromBase64, toBase64 } from "./base64.ts";
import type { PageCrew } from "./page_crew.ts";

/** Makes the object over a client; `openCrew` opens the tab's crew, which tells of changes. */
export function createScriptedWeft(
  client: RenderClient,
  openCrew: (onChange: () => void) => Promise<PageCrew>,
): ScriptedWeft {
  let abort: AbortController | undefined;
  let shared: { readonly crew: PageCrew; readonly wish: DivisionWish } | undefined;
  return {
    describe: () => client.describe(),
    load: ({ model, vae, ...wishes }) =>
      client.load({ ...wishes, model: absolute(model), vae: vae && absolute(vae) }, report),
    async render({ noise: given, ...request }) {
      abort = new AbortController();
      const jobId = crypto.randomUUID();
      const crew = shared && { ...shared.crew.begin({ id: jobId, prompt: request.prompt }), ...shared.wish };
      const sink = request.dump && reportTensor;
      const call = { jobId, signal: abort.signal, onEvent: report, sink, crew };
      const noise = given && { ...given, data: new Float32Array(fromBase64(given.data).buffer) };
      const result = await client.render({ ...request, noise }, call).finally(() => shared?.crew.end());
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
    deviceUse: () => client.deviceUse(),
    cancel: () => abort?.abort(),
  };
}

/** The worker's own base is another. */
function absolute(url: string): string {
  return new URL(url, document.baseURI).href;
}

function report(event: ServiceEvent): void {
  const { onWeftEvent } = globalThis as ScriptedListeners;
  if (event.type === "preview") void reportPreview(event, onWeftEvent);
  else onWeftEvent?.(event);
}

async function reportPreview(event: PreviewEvent, listener: ScriptedListeners["onWeftEvent"]): Promise<void> {
  listener?.({ ...event, frames: await Promise.all(event.frames.map(toBase64)) });
}

/** The render waits until the script has it, so that tensors do not pile up here. */
async function reportTensor({ data, ...rest }: DumpPart): Promise<void> {
  const { onWeftTensor } = globalThis as ScriptedListeners;
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const dtype = data instanceof Int32Array ? "i32" : "f32";
  await onWeftTensor?.({ ...rest, dtype, data: await toBase64(bytes) });
}
