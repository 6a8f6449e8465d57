// The line about the model: how much there is to download, how much is kept, and the button that removes it.
import type { DownloadSize, ModelSummary } from "../parallel/render_protocol.ts";
import { byId, element } from "./dom.ts";
import { formatBytes } from "./format.ts";

/** The few small files that every visit reads are not worth a button. */
const WORTH_REMOVING_BYTES = 500_000;

/** Shows the model. `onRemove` is called when the visitor wants the cached files gone. */
export function showModel(
  summary: ModelSummary,
  { cachedBytes, onRemove }: { readonly cachedBytes: number; readonly onRemove: () => void },
): void {
  const name = new URL(summary.location).pathname.split("/").filter(Boolean).at(-1) ?? summary.location;
  const place = byId("model", HTMLElement);
  place.replaceChildren(
    element("p", { textContent: name, title: summary.location }),
    element("p", { className: "note", textContent: describeDownload(summary.downloads) }),
  );
  if (cachedBytes < WORTH_REMOVING_BYTES) return;
  const remove = element("button", { type: "button", className: "link", textContent: "remove" });
  remove.ariaLabel = "Remove the cached model files";
  remove.addEventListener("click", onRemove);
  const kept = `${formatBytes(cachedBytes)} cached in this browser · `;
  place.append(element("p", { className: "note", id: "cache" }, kept, remove));
}

/** Shows why there is no model. */
export function showModelError(message: string): void {
  byId("model", HTMLElement).replaceChildren(
    element("p", { className: "dot missing", textContent: message }),
  );
}

function describeDownload(downloads: ModelSummary["downloads"]): string {
  if (downloads === undefined) return "Size unknown; it is downloaded when a video is made.";
  const first = downloads.fewstep ?? downloads.base;
  const extra =
    downloads.fewstep && missing(downloads.base) > 0 ? baseOnly(downloads.base, downloads.fewstep) : "";
  if (missing(first) === 0) return `Ready, nothing to download${extra}.`;
  return `${formatBytes(missing(first))} to download with the first video${extra}.`;
}

function baseOnly(base: DownloadSize, fewstep: DownloadSize): string {
  return missing(fewstep) === 0 ? ` (guided sampling: ${formatBytes(missing(base))})` : "";
}

function missing({ total, cached }: DownloadSize): number {
  return Math.max(0, total - cached);
}
