// The line that says what there is to compute with, before anything is downloaded.
import type { ServiceDescription } from "../parallel/render_protocol.ts";
import { byId, element } from "./dom.ts";
import { formatMemory } from "./format.ts";

/** Shows the adapter, or what is missing and what to do. */
export function showCapability({ gpu, threads, crossOriginIsolated }: ServiceDescription): void {
  const place = byId("capability", HTMLElement);
  if (!gpu.available) {
    place.replaceChildren(
      element("p", { className: "dot missing", textContent: "No WebGPU here" }),
      element("p", { className: "note", textContent: gpu.reason }),
    );
    return;
  }
  const { description, vendor, architecture, software, f16, maxBufferBytes } = gpu.capabilities;
  const name = description || [vendor, architecture].filter(Boolean).join(" ") || "unnamed adapter";
  const facts = [
    f16 ? "16-bit floats" : "32-bit floats only",
    `buffers to ${formatMemory(maxBufferBytes)}`,
    `${threads} CPU ${threads === 1 ? "thread" : "threads"}`,
  ];
  place.replaceChildren(
    element("p", { className: software ? "dot slow" : "dot", textContent: name }),
    element("p", { className: "note", textContent: facts.join(" · ") }),
  );
  const note = (textContent: string): void => place.append(element("p", { textContent }));
  if (software) {
    note("This adapter is software: it works, but a video takes minutes rather than seconds.");
  }
  if (!crossOriginIsolated) {
    note(
      "This page is not cross-origin isolated, so decoding uses one thread; weft serve sends the headers.",
    );
  }
}
