// The line that says what there is to compute with, before anything is downloaded.
import type { ServiceDescription } from "../parallel/render_protocol.ts";
import { deviceName } from "../pipelines/render_metadata.ts";
import { byId, element } from "./dom.ts";
import { formatMemory } from "./format.ts";

/** Shows what renders are computed with, or that there is nothing; what to do about it is said where the prompt is. */
export function showCapability(description: ServiceDescription): void {
  const { gpu, compute, crossOriginIsolated } = description;
  const place = byId("capability", HTMLElement);
  if (compute === undefined) {
    place.replaceChildren(element("p", { className: "dot missing", textContent: "No WebGPU here" }));
    return;
  }
  const isFast = compute.name === "webgpu" && !compute.capabilities.software;
  place.replaceChildren(
    element("p", { className: isFast ? "dot" : "dot slow", textContent: deviceName(compute) }),
    element("p", { className: "note", textContent: factsOf(description).join(" · ") }),
  );
  const note = (textContent: string): void => place.append(element("p", { textContent }));
  if (compute.name === "onnx") {
    const why = gpu.available ? "This browser's adapter is software" : "There is no graphics adapter here";
    note(`${why}, so videos are computed on the processor: they take a while.`);
  } else if (compute.capabilities.software) {
    note("This adapter is software: it works, but a video takes minutes rather than seconds.");
  }
  if (!crossOriginIsolated) {
    note(
      "This page is not cross-origin isolated, so onnxruntime uses one thread; weft serve sends the headers.",
    );
  }
}

function factsOf({ compute, threads }: ServiceDescription): string[] {
  if (compute?.name !== "webgpu") return ["f32", "onnxruntime in WebAssembly"];
  const { f16, maxBufferBytes } = compute.capabilities;
  return [
    `f16 ${f16 ? "yes" : "no"}`,
    `buffers up to ${formatMemory(maxBufferBytes)}`,
    `${threads} ${threads === 1 ? "thread" : "threads"}`,
  ];
}
