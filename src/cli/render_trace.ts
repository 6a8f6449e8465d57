// `--trace` on one device: the stages and steps of a run, and every kernel on the GPU, as a timeline.

import { writeFile } from "node:fs/promises";
import type { Gpu } from "../gpu/gpu.ts";
import type { ProfiledDispatch } from "../gpu/profiler.ts";
import type { PipelineEvent, Stage } from "../pipelines/events.ts";
import { TraceEvents } from "../util/trace_events.ts";

/** A kernel's run on the GPU's own clock. */
interface Span extends ProfiledDispatch {
  /** Milliseconds. */
  readonly start: number;
  readonly end: number;
}

/** A device's kernels, and what to add to its clock to get ours. */
interface DeviceSpans {
  readonly spans: Span[];
  offset: number;
}

/** A timeline; begins when it is made. */
export class RenderTrace {
  readonly #path: string;
  readonly #now: () => number;
  readonly #events = new TraceEvents();
  readonly #devices: DeviceSpans[] = [];
  readonly #beganAt: number;
  #stage: { readonly name: Stage; readonly at: number } | undefined;
  #part = { done: 0, at: 0 };

  /** @param now milliseconds, for tests */
  constructor(path: string, now: () => number = () => performance.now()) {
    this.#path = path;
    this.#now = now;
    this.#beganAt = now();
  }

  /** Adds what a pipeline tells. */
  add(event: PipelineEvent): void {
    const at = this.#time();
    if (event.type === "stage") {
      this.#endStage(at);
      this.#stage = { name: event.stage, at };
      this.#part = { done: 0, at };
    } else if (event.type === "progress" && event.unit !== "bytes" && event.done >= this.#part.done + 1) {
      const done = Math.floor(event.done);
      const name = `${event.unit.slice(0, -1)} ${done} of ${event.total}`;
      this.#events.box({ name, row: "steps and frames", at: this.#part.at }, at);
      this.#part = { done, at };
    }
  }

  /** Ends a render: what comes next belongs to no stage. */
  endRender(): void {
    this.#endStage(this.#time());
  }

  /** Follows a device's kernels, where it has timestamps and was opened with `profile`. */
  watch(gpu: Gpu): void {
    const device: DeviceSpans = { spans: [], offset: Infinity };
    this.#devices.push(device);
    gpu.profiler?.listen((dispatches, ticks) => {
      if (this.#stage === undefined) return; // not of a render
      dispatches.forEach((dispatch, index) => {
        const [start, end] = [ticks[2 * index], ticks[2 * index + 1]].map((tick) => Number(tick ?? 0n) / 1e6);
        device.spans.push({ ...dispatch, start: start ?? 0, end: end ?? 0 });
      });
      // The GPU's clock began some time ago. What was read back has ended, the last of it just now at best.
      const lastEnd = device.spans.at(-1)?.end ?? 0;
      device.offset = Math.min(device.offset, this.#time() - lastEnd);
    });
  }

  /** Writes the file. */
  async write(): Promise<void> {
    this.endRender();
    for (const { spans, offset } of this.#devices.splice(0)) {
      for (const { label, start, end, flops, bytes } of spans) {
        const milliseconds = Math.max(end - start, 1e-6);
        const args = { kernel: label, TFLOPs: flops / milliseconds / 1e9, GBs: bytes / milliseconds / 1e6 };
        const name = label.replace(/\[.*/, "");
        this.#events.box({ name, row: "GPU", at: start + offset, args }, end + offset);
      }
    }
    await writeFile(this.#path, this.#events.toJson());
  }

  #endStage(at: number): void {
    if (this.#stage) this.#events.box({ name: this.#stage.name, row: "stages", at: this.#stage.at }, at);
    this.#stage = undefined;
  }

  #time(): number {
    return this.#now() - this.#beganAt;
  }
}
