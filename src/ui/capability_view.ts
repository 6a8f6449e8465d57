// The line that says what there is to compute with, before anything is downloaded.
import type { ServiceDescription } from "../parallel/render_protocol.ts";
import { adapterName } from "../pipelines/render_metadata.ts";
import { byId, element } from "./dom.ts";
import { formatMemory } from "./format.ts";

/** Shows the adapter, or that there is none; what to do about it is said where the prompt is. */
export function showCapability({ gpu, threads, crossOriginIsolated }: ServiceDescription): void {
  const place = byId("capability", HTMLElement);
  if (!gpu.available) {
    place.replaceChildren(element("p", { className: "dot missing", textContent: "No WebGPU here" }));
    return;
  }
  const { software, f16, maxBufferBytes } = gpu.capabilities;
  const facts = [
    `f16 ${f16 ? "yes" : "no"}`,
    `buffers up to ${formatMemory(maxBufferBytes)}`,
    `${threads} ${threads === 1 ? "thread" : "threads"}`,
  ];
  place.replaceChildren(
    element("p", { className: software ? "dot slow" : "dot", textContent: adapterName(gpu.capabilities) }),
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
